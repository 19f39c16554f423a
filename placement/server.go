package placement

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Options of a member.
type Options struct {
	Env     env.Env
	Meta    MetaStore
	Members []beat.Member // as this member was told at its start; of the first, all of them
	Logger  *slog.Logger

	// Program is the version of this member's binary, for people.
	Program string
	// Ask asks the node at an address which member is there, and which versions of a cluster its program knows; nil: nobody
	// can be asked.
	Ask func(ctx context.Context, addr string) (beat.NodeVersion, error)
	// Replicas is how many copies of each shard there shall be.
	Replicas int
	// SplitKeys are where the first shards are cut; none makes one shard.
	SplitKeys []shard.Key
	// Coverage counts which rows of the tables of states are taken; nil in production.
	Coverage *fsm.Coverage
	// OnBroken is called when this member met what cannot happen: the process should end. Called with locks held: it must
	// not block.
	OnBroken func(error)
	// Limits bound what is moved at a time; a field that is zero is the default.
	Limits operator.Limits
	// DownAfter is how long a store may be silent before its replicas are replaced; default 30 minutes.
	DownAfter time.Duration
	// Stores is how many stores must have registered before the first shards are made; 0 means Replicas.
	Stores int
}

// Times of a leader's view of stores.
const (
	pollInterval = 200 * time.Millisecond // how soon a change of leadership is noticed
	// A store heartbeat comes every second or so: three missed ones make a store suspect.
	suspectAfter = 4 * time.Second
	// acquaintWait is when to ask a new leader again that has not heard all stores.
	acquaintWait = 500 * time.Millisecond
	downAfter    = 30 * time.Minute // by default
)

// Server is one member of the placement driver. Every member runs one; the one whose replica of shard 1 leads answers,
// the others say who leads. Safe for concurrent use.
type Server struct {
	opt  Options
	env  env.Env
	meta MetaStore
	log  *slog.Logger

	// mu is a leaf: nothing blocks under it.
	mu   sync.Mutex
	lead *leadership // nil while this member does not lead, or has not loaded yet
	// strays counts the writes of leaderships that had ended when the write was done; see write.
	strays int
	// raise serialises the writers of the bounds of ids and timestamps.
	raise gate
	// writes serialises the writers of members' records: each decides from what the one before it wrote.
	writes gate
}

// leadership is everything that a leader knows, from its records and from heartbeats. It ends with the term.
type leadership struct {
	term     uint64
	cluster  shard.ClusterID
	ids      ids
	tso      timestamps
	view     *view
	policy   policy
	safe     safePoints
	gc       gcSetting
	version  clusterVersion
	settings clusterSettings
	// scheduler is the scheduling task's.
	scheduler proposer
	// first is the persisted list of first shards, nil before bootstrap.
	first   []*shard.Descriptor
	created bool
	roster  roster
	// serves is set once the leadership was current; guarded by Server.mu.
	serves bool
}

// New makes a member; Run drives it.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Replicas <= 0 {
		o.Replicas = 3
	}
	o.Stores = max(o.Stores, o.Replicas)
	s := &Server{opt: o, env: o.Env, meta: o.Meta, log: o.Logger}
	s.raise.free, s.writes.free = o.Env.NewEvent("raise"), o.Env.NewEvent("members")
	return s
}

// Run follows the leadership of shard 1, schedules and changes its members while it lasts, until ctx ends.
func (s *Server) Run(ctx context.Context) {
	tasks := env.NewGroup(s.env, "placement-tasks")
	tasks.Add()
	s.env.Go("schedule", func() {
		defer tasks.Done()
		for s.env.Sleep(ctx, scheduleInterval) == nil {
			s.schedule(ctx)
		}
	})
	tasks.Add()
	s.env.Go("members", func() {
		defer tasks.Done()
		for s.env.Sleep(ctx, pollInterval) == nil {
			s.followMembers(ctx)
		}
	})
	defer tasks.Wait()
	for s.env.Sleep(ctx, pollInterval) == nil {
		s.step(ctx)
	}
}

// step does what is due once.
func (s *Server) step(ctx context.Context) {
	term := s.meta.Leading()
	cur := s.current()
	switch {
	case term == 0:
		if cur != nil {
			s.log.Info("placement leadership lost", "term", cur.term)
			s.end()
		}
	case cur == nil || cur.term != term:
		strays := s.end()
		l, err := s.load(ctx, term)
		if err == nil {
			err = s.serve(l, strays)
		}
		if err != nil {
			s.log.Debug("placement cannot load yet", "term", term, "err", err)
			return
		}
		s.log.Info("placement leads", "term", term, "cluster", l.cluster)
	default:
		s.maintain(ctx, cur)
	}
}

func (s *Server) current() *leadership {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lead
}

// end ends the leadership that serves, if any, and returns how many strays there were.
func (s *Server) end() (strays int) {
	s.mu.Lock()
	old := s.lead
	s.lead, strays = nil, s.strays
	s.mu.Unlock()
	if old != nil {
		old.view.end()
	}
	return strays
}

// serve lets a leadership serve that was read since there were so many strays.
func (s *Server) serve(l *leadership, strays int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.strays != strays {
		return errors.New("an earlier leadership of this member wrote while the records were read")
	}
	s.lead, l.serves = l, true
	return nil
}

// leading returns the leadership to serve by, or an error that says who leads.
func (s *Server) leading() (*leadership, error) {
	l := s.current()
	if l == nil || s.meta.Leading() != l.term {
		return nil, &shard.NotLeaderError{Shard: shard.MetaID, Leader: s.meta.Leader()}
	}
	return l, nil
}

// confirm proves that the leadership still stands after something was generated, before it is answered.
//
// INVARIANT: ids and timestamps are answered only after this. A deposed leader could otherwise hand out a timestamp
// below one that its successor has already handed out.
func (s *Server) confirm(ctx context.Context, l *leadership) error {
	if bug.LeadWithoutLease.On() {
		return nil
	}
	term, err := s.meta.Confirm(ctx)
	if err == nil && term != l.term {
		err = &shard.NotLeaderError{Shard: shard.MetaID, Leader: s.meta.Leader()}
	}
	return err
}

// load reads the records at the beginning of a term, and makes the cluster's id if there is none.
func (s *Server) load(ctx context.Context, term uint64) (*leadership, error) {
	l := &leadership{term: term}
	cluster, err := s.clusterID(ctx)
	if err != nil {
		return nil, err
	}
	l.cluster = cluster
	if err := s.loadVersion(ctx, l); err != nil {
		return nil, err
	}
	if err := s.loadIDs(ctx, l); err != nil {
		return nil, err
	}
	if err := s.loadTimestamps(ctx, l); err != nil {
		return nil, err
	}
	l.view = newView(s.env, s.opt.Coverage)
	l.view.illegal = s.illegal
	if err := s.loadSettings(ctx, l); err != nil {
		return nil, err
	}
	err = s.scan(ctx, prefixStore, func(v []byte) error {
		r, err := decodeStore(v)
		if err == nil {
			l.view.loadStore(r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.loadShards(ctx, l); err != nil {
		return nil, err
	}
	if err := s.loadPolicy(ctx, l); err != nil {
		return nil, err
	}
	if err := s.loadSafePoints(ctx, l); err != nil {
		return nil, err
	}
	if err := s.loadGC(ctx, l); err != nil {
		return nil, err
	}
	l.scheduler = schedule.New(term, s.limits(l))
	if err := s.loadMembers(ctx, l); err != nil {
		return nil, err
	}
	// Before anything is served: who takes part is on record.
	return l, s.noteMembers(ctx, l)
}

// loadShards reads the first shards, and the hints about what became of them.
func (s *Server) loadShards(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordBootstrap)
	if err != nil {
		return err
	}
	if b != nil {
		if l.first, err = decodeShards(b); err != nil {
			return fmt.Errorf("record %s: %w", recordBootstrap, err)
		}
	}
	created, err := s.get(ctx, recordCreated)
	if err != nil {
		return err
	}
	l.created = created != nil
	for _, d := range l.first {
		l.view.loadShard(d)
	}
	if !l.created {
		l.view.expect(l.first)
	}
	return s.scan(ctx, prefixShard, func(v []byte) error {
		d, err := shard.DecodeDescriptor(v)
		if err == nil {
			l.view.loadShard(d)
		}
		return err
	})
}

// Cluster is the cluster's id, zero while this member does not lead.
func (s *Server) Cluster() shard.ClusterID {
	if l := s.current(); l != nil {
		return l.cluster
	}
	return 0
}

// gate lets one task at a time through, and lets others wait where the simulator sees it.
type gate struct {
	mu    sync.Mutex
	taken bool
	free  env.Event
}

// enter waits for the gate. Waiters poll it in turn: a token that another took is passed on by leave.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		if !g.taken {
			g.taken = true
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		if err := g.free.Wait(ctx, pollInterval); err != nil && ctx.Err() != nil {
			return err
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	g.taken = false
	g.mu.Unlock()
	g.free.Wake()
}
