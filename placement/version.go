package placement

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// The version of the cluster: one record of shard 1, told to every store in the answers to its heartbeats, and read by every
// member from its own replica of shard 1.
//
// INVARIANT: it is raised only while every store that is not removed, and every member, is heard and knows the new one. It
// is never lowered, and who does not know it is not let in. So whatever is written because of it is understood by all that
// may come to read it.

// clusterVersion is the version and its record, nil if it was never written.
type clusterVersion struct {
	mu  sync.Mutex
	now version.Number
	raw []byte
}

func (c *clusterVersion) read() (version.Number, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.raw
}

// clusterVersion is the version of the cluster that this leadership goes by.
func (l *leadership) clusterVersion() version.Number {
	v, _ := l.version.read()
	return v
}

// loadVersion reads the record at the beginning of a term. A member that does not know the version must not lead.
func (s *Server) loadVersion(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordClusterVersion)
	if err != nil {
		return err
	}
	n, err := decodeNumber(b)
	if err != nil {
		return fmt.Errorf("record %s: %w", recordClusterVersion, err)
	}
	l.version.now, l.version.raw = max(version.First, version.Number(n)), b
	return l.accepts(version.Ours())
}

// accepts refuses who cannot take part in the cluster.
func (l *leadership) accepts(r version.Range) error {
	v, known := l.clusterVersion(), r.Known()
	if known.Has(v) {
		return nil
	}
	return &shard.VersionError{Cluster: uint64(v), Oldest: uint64(known.Oldest), Newest: uint64(known.Newest)}
}

// VersionOf reads the version of the cluster from a replica of shard 1, 0 if it holds none. Every member applies the log of
// shard 1, so each learns it without asking.
func VersionOf(get func(shard.Key) ([]byte, bool, error)) (version.Number, error) {
	n, err := numberOf(get, recordClusterVersion)
	return version.Number(n), err
}

// finalize tells the cluster's version and who is in the way of the next one, and raises it if it is asked to and nobody is.
func (s *Server) finalize(ctx context.Context, l *leadership, o *beat.VersionOrder, dry bool) (*beat.Outcome, error) {
	raise := o.Raise && !dry
	if raise { // nobody is let in between the look at those that there are and the write: see Register and JoinMember
		if err := s.writes.enter(ctx); err != nil {
			return nil, err
		}
		defer s.writes.leave()
	}
	st := s.versionStatus(ctx, l)
	out := &beat.Outcome{Version: st}
	if !raise || st.Target == st.Version || len(st.InTheWay()) > 0 {
		return out, nil
	}
	_, old := l.version.read()
	b := encodeNumber(uint64(st.Target))
	if err := s.replace(ctx, l, recordClusterVersion, old, b); err != nil {
		return nil, fmt.Errorf("raise the version of the cluster to %s: %w", st.Target, err)
	}
	l.version.mu.Lock()
	l.version.now, l.version.raw = st.Target, b
	l.version.mu.Unlock()
	s.log.Info("the cluster has another version", "version", st.Target, "before", st.Version)
	st.Version = st.Target
	return out, nil
}

// versionStatus asks what everybody knows.
func (s *Server) versionStatus(ctx context.Context, l *leadership) *beat.VersionStatus {
	st := &beat.VersionStatus{Version: l.clusterVersion(), Nodes: append(l.view.programs(), s.memberPrograms(ctx, l)...)}
	st.Target = st.Version
	for _, n := range st.Nodes {
		st.Target = max(st.Target, n.Versions.Known().Newest)
	}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		switch {
		case st.Target == st.Version:
			n.Why = ""
		case n.Why == "" && !n.Versions.Has(st.Target):
			n.Why = fmt.Sprintf("its program knows no version above %s; upgrade it", n.Versions.Known().Newest)
		}
	}
	return st
}

// programs are what the stores said that they know. One that is not heard may come back with any program.
func (v *view) programs() []beat.NodeVersion {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.env.Now()
	var out []beat.NodeVersion
	for _, id := range v.storeIDsLocked() {
		sv := v.stores[id]
		state := v.stateLocked(sv, now)
		if state == beat.Removed {
			continue
		}
		n := beat.NodeVersion{Role: "store", ID: id, Addr: sv.record.addr, Program: sv.last.Version, Versions: sv.last.Versions.Known(), Active: sv.last.Active}
		switch {
		case sv.seen == 0:
			n.Versions, n.Why = version.Range{}, fmt.Sprintf("it was not heard since this member leads placement; start it, or remove it if it is gone for good ('skerry ctl store remove %s')", id)
		case !sv.state.live():
			n.Why = fmt.Sprintf("it is %s; start it, or remove it if it is gone for good ('skerry ctl store remove %s')", state, id)
		case sv.last.Leaving:
			n.Why = "its process is stopping; wait until it is back"
		}
		out = append(out, n)
	}
	return out
}

// programTimeout bounds how long a member may take to say what it knows.
const programTimeout = time.Second

// memberPrograms asks the members, all at once.
func (s *Server) memberPrograms(ctx context.Context, l *leadership) []beat.NodeVersion {
	ids, self := s.shallBe(l), s.meta.Leader().Store
	out := make([]beat.NodeVersion, len(ids))
	tasks := env.NewGroup(s.env, "ask-programs")
	for i, id := range ids {
		n := beat.NodeVersion{Role: "member", ID: id, Addr: s.memberAddr(l, id)}
		if id == self {
			n.Program, n.Versions, n.Active = s.opt.Program, version.Ours(), l.clusterVersion()
			out[i] = n
			continue
		}
		tasks.Add()
		s.env.Go("ask-program", func() {
			defer tasks.Done()
			out[i] = s.memberProgram(ctx, n)
		})
	}
	tasks.Wait()
	return out
}

// memberProgram asks one.
func (s *Server) memberProgram(ctx context.Context, n beat.NodeVersion) beat.NodeVersion {
	n.Why = "nobody knows how to ask it"
	if s.opt.Ask == nil || n.Addr == "" {
		return n
	}
	ctx, cancel := s.env.WithTimeout(ctx, programTimeout)
	defer cancel()
	told, err := s.opt.Ask(ctx, n.Addr)
	switch {
	case err != nil:
		n.Why = fmt.Sprintf("it does not answer; start it, or remove it if it is gone for good ('skerry ctl member remove %d'): %s", uint64(n.ID), err)
	case told.ID != n.ID:
		n.Why = fmt.Sprintf("it is not at %s, where it was last", n.Addr)
	default:
		n.Program, n.Versions, n.Active, n.Why = told.Program, told.Versions.Known(), told.Active, ""
	}
	return n
}
