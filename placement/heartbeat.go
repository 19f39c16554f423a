package placement

import (
	"context"
	"fmt"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// Bounds of one answer to a heartbeat: what does not fit comes with the next one.
const (
	maxCreatesPerAnswer = 256
	maxStepsPerAnswer   = 16
	maxHintsPerWrite    = 256
)

// Register gives a new store an id, once for each token: a store that did not hear the answer asks again, and is not to
// leave an id behind that nobody uses and everybody waits for.
func (s *Server) Register(ctx context.Context, n beat.Newcomer) (beat.Registration, error) {
	if n.Addr == "" {
		return beat.Registration{}, &shard.InvalidError{Why: "a store must say where it listens"}
	}
	l, err := s.leading()
	if err != nil {
		return beat.Registration{}, err
	}
	if err := s.writes.enter(ctx); err != nil { // see finalize
		return beat.Registration{}, err
	}
	defer s.writes.leave()
	if err := l.accepts(n.Versions); err != nil {
		return beat.Registration{}, err
	}
	if id, ok := l.view.withToken(n.Token); ok {
		return beat.Registration{Cluster: l.cluster, Store: id, Version: l.clusterVersion()}, s.confirm(ctx, l)
	}
	if other := l.view.liveAt(n.Addr, 0); other != 0 {
		return beat.Registration{}, errAddrTaken(n.Addr, other)
	}
	id, err := s.AllocIDs(ctx, 1)
	if err != nil {
		return beat.Registration{}, err
	}
	r := storeRecord{id: shard.StoreID(id), addr: n.Addr, token: n.Token}
	key := idKey(prefixStore, id)
	if err := s.write(ctx, l, &raw.Command{Conditions: []raw.Condition{unchanged(key, nil)}, Ops: []raw.Op{putOp(key, r.encode())}}); err != nil {
		return beat.Registration{}, fmt.Errorf("register a store under id %d: %w", id, err)
	}
	l.view.loadStore(r)
	s.log.Info("store registered", "store", r.id, "addr", n.Addr, "version", n.Version)
	return beat.Registration{Cluster: l.cluster, Store: r.id, Version: l.clusterVersion()}, nil
}

// errAddrTaken refuses an address for as long as another store is heard from it. A machine that took over the address of
// one that is gone gets it some seconds later, when that one is missed.
func errAddrTaken(addr string, other shard.StoreID) error {
	return &shard.NotReadyError{Shard: shard.MetaID, Why: fmt.Sprintf("%s is the address of %s, which is heard; give each store an address of its own (--advertise)", addr, other)}
}

// Heartbeat takes a store's report and answers what it should know and do.
func (s *Server) Heartbeat(ctx context.Context, r *beat.Report) (*beat.Answer, error) {
	l, err := s.leading()
	if err != nil {
		return nil, err
	}
	if r.Cluster != 0 && r.Cluster != l.cluster {
		return nil, &shard.WrongClusterError{Want: r.Cluster, Have: l.cluster}
	}
	moved, known, removed := l.view.addrChanged(r.Store, r.Addr)
	if !known {
		return nil, &shard.InvalidError{Why: fmt.Sprintf("%s was never registered with this cluster; start it on an empty directory", r.Store)}
	}
	if removed {
		return &beat.Answer{Removed: true}, nil
	}
	if err := l.accepts(r.Versions); err != nil {
		return nil, err
	}
	if err := l.view.checkIdentity(r); err != nil {
		return nil, err
	}
	if moved {
		old, _ := l.view.record(r.Store)
		rec := old
		rec.addr = r.Addr
		if err := s.replaceStore(ctx, l, old, rec); err != nil {
			return nil, fmt.Errorf("record the new address of %s: %w", r.Store, err)
		}
	}
	a := &beat.Answer{NeedFull: l.view.observe(r)}
	a.Now = shard.Millis(s.millis())
	a.SafePoints, _ = l.safe.read()
	a.Version = l.clusterVersion()
	a.Settings, _ = l.settings.read()
	a.Members, a.Stores = s.Members(), l.view.allStores()
	a.Create = l.view.toCreate(r.Store, maxCreatesPerAnswer)
	plans := l.view.plans(r.Store, maxStepsPerAnswer)
	for _, p := range plans {
		in, err := s.instruction(ctx, p)
		if err != nil {
			return nil, err
		}
		a.Instructions = append(a.Instructions, in)
	}
	a.Instructions = append(a.Instructions, l.view.cuts(r.Store, maxStepsPerAnswer-len(a.Instructions))...)
	// The answer carries placement's time: only a leader's counts.
	if err := s.confirm(ctx, l); err != nil {
		return a, err
	}
	l.view.sent(plans)
	return a, nil
}

// instruction gives a step its form on the wire, and a new learner its id.
func (s *Server) instruction(ctx context.Context, p plan) (beat.Instruction, error) {
	in := beat.Instruction{Shard: p.desc.ID, Epoch: p.desc.Epoch, Change: p.step.Change, TransferTo: p.step.TransferTo}
	if p.step.NeedID {
		id, err := s.AllocIDs(ctx, 1)
		if err != nil {
			return in, err
		}
		c := *p.step.Change
		c.Replica.ID = shard.ReplicaID(id)
		in.Change = &c
	}
	return in, nil
}

// maintain does what a leader does without being asked: the first shards, the windows, the hints.
func (s *Server) maintain(ctx context.Context, l *leadership) {
	if err := s.noteMembers(ctx, l); err != nil {
		s.log.Warn("placement", "err", err)
		return
	}
	if err := s.raiseTimestamps(ctx, l, 0); err != nil {
		s.log.Warn("placement", "err", err)
		return
	}
	if l.first == nil {
		if err := s.bootstrap(ctx, l); err != nil {
			s.log.Warn("bootstrap", "err", err)
		}
		return
	}
	if !l.created && l.view.created() {
		key := recordKey(recordCreated)
		if _, err := s.meta.Commit(ctx, &raw.Command{Ops: []raw.Op{putOp(key, encodeNumber(1))}}); err == nil {
			l.created = true
			s.log.Info("all first shards are created", "shards", len(l.first))
		}
	}
	s.saveHints(ctx, l)
}

// saveHints writes descriptors that changed. They are hints for the next leader until the stores report; nothing is
// created or destroyed on their word.
func (s *Server) saveHints(ctx context.Context, l *leadership) {
	ds := l.view.takeUnsaved(maxHintsPerWrite)
	if len(ds) == 0 {
		return
	}
	cmd := &raw.Command{}
	for _, d := range ds {
		cmd.Ops = append(cmd.Ops, putOp(idKey(prefixShard, uint64(d.ID)), d.Append(nil)))
	}
	if _, err := s.meta.Commit(ctx, cmd); err != nil {
		s.log.Debug("hints not written", "err", err)
	}
}

// bootstrap makes the first shards, exactly once in the life of a cluster: when enough stores have registered, their
// descriptors are put if absent. Every store then creates its replicas with the same initial state.
func (s *Server) bootstrap(ctx context.Context, l *leadership) error {
	up := l.view.upStores()
	if len(up) < s.opt.Stores {
		return nil
	}
	n := len(s.opt.SplitKeys) + 1
	first, err := s.AllocIDs(ctx, n*(1+s.opt.Replicas))
	if err != nil {
		return err
	}
	ds := firstShards(s.opt.SplitKeys, operator.Spread(n, s.opt.Replicas, up), first)
	key := recordKey(recordBootstrap)
	if err := s.write(ctx, l, &raw.Command{Conditions: []raw.Condition{unchanged(key, nil)}, Ops: []raw.Op{putOp(key, encodeShards(ds))}}); err != nil {
		return err
	}
	for _, d := range ds {
		l.view.loadShard(d)
	}
	l.view.expect(ds)
	l.first = ds
	s.log.Info("first shards made", "shards", len(ds), "replicas", s.opt.Replicas, "stores", len(up))
	return nil
}

// firstShards builds the descriptors between the split keys, with ids from first on.
func firstShards(at []shard.Key, spread [][]shard.StoreID, first uint64) []*shard.Descriptor {
	out := make([]*shard.Descriptor, len(spread))
	next := first
	id := func() uint64 { next++; return next - 1 }
	for i, stores := range spread {
		d := &shard.Descriptor{ID: shard.ID(id()), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
		if i > 0 {
			d.Range.Start = at[i-1]
		}
		if i < len(at) {
			d.Range.End = at[i]
		}
		for _, st := range stores {
			d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(id()), Store: st, Role: shard.Voter})
		}
		out[i] = d
	}
	return out
}
