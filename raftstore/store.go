package raftstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// placeholder holds a range against other shards.
type placeholder struct {
	shard.Range
	by *reception // nil: a destruction, which takes it over from a reception and keeps it to its own end
}

// Store hosts every replica of one store over one engine. It owns all goroutines of this package; see doc.go for the
// list. Safe for concurrent use.
type Store struct {
	id        shard.StoreID
	opt       Options
	env       env.Env
	engine    *engine.Engine
	transport Transport
	logger    *slog.Logger
	groups    *group.Settings
	metrics   Metrics

	ctx    context.Context // done when the store closes
	cancel context.CancelFunc
	tasks  *env.Group

	workers   []*worker
	sync      *syncLoop
	roused    env.Event // a worker has somebody to tick again
	readers   *readers
	clock     *clock
	live      *liveness
	snapshots *snapshots
	reclaimer *reclaimer
	sizer     *sizer
	scrubber  *scrubber
	stamps    *stamps
	collector *collector
	comparer  *comparer
	pace      *pacer    // of what reads in the background
	trays     sync.Pool // of *tray

	// replicas finds a replica by shard id, from any goroutine; written only by the shard's worker.
	replicas sync.Map // shard.ID -> *replica
	front    front    // of those

	// mu guards what spans shards. It is a leaf: nothing blocks under it.
	mu     sync.Mutex
	shards *shard.Map // of the replicas with data here: they never overlap
	// placeholders hold ranges that are being received or destroyed, by shard.
	placeholders map[shard.ID]placeholder

	roundCtx   atomic.Uint64 // unique contexts of read rounds
	memory     *budget.Budget
	shardBytes int64 // of Writes, that one shard may hold
	backlog    *backlog
	space      space
	slow       slowLog
	cancelled  atomic.Int64 // attempts answered "never", see outcome.go
	gens       atomic.Uint64
	safe       atomic.Uint64 // the cluster's safe point, see HearSafePoint
	views      atomic.Uint64 // read views published that did not continue the one before
	unreported atomic.Bool   // a replica has something to report to placement
	hung       atomic.Bool   // the disk owes us a sync for an election timeout (rule 5)
	stall      stall         // the ticker's own
	broke      atomic.Pointer[error]
	condemned  atomic.Bool   // its data were found to differ from those of others, see hearVerdict
	version    atomic.Uint64 // the cluster's, see HearVersion
	bounds     atomic.Pointer[Bounds]
}

// Open recovers every replica of an engine and starts to drive them. The engine stays the caller's to close, after
// Close.
func Open(o Options) (*Store, error) {
	o.setDefaults()
	s := &Store{id: o.Store, opt: o, env: o.Env, engine: o.Engine, transport: o.Transport, logger: o.Logger}
	s.memory = o.Memory
	s.shardBytes = s.memory.Share(budget.Writes) / shardPart
	var err error
	if s.groups, err = group.NewSettings(group.Settings{ElectionTicks: o.ElectionTicks, HeartbeatTicks: o.HeartbeatTicks, TickInterval: o.Tick, MaxDrift: o.MaxDrift}); err != nil {
		return nil, err
	}
	s.backlog = newBacklog(o.MaxQueueTime)
	s.space.store = s
	s.version.Store(uint64(o.Version))
	s.slow.store = s
	s.SetBounds(Bounds{SnapshotBytesPerSecond: o.SnapshotBytesPerSecond, SplitBytes: o.SplitBytes, SplitWork: o.SplitWork, SlowOperation: o.SlowOperation})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.tasks = env.NewGroup(o.Env, "store-tasks")
	s.roused = o.Env.NewEvent("roused")
	s.sync = &syncLoop{store: s, wake: o.Env.NewEvent("sync")}
	s.readers = &readers{store: s}
	s.clock = newClock(o.WallTime)
	s.shards = shard.NewMap()
	s.placeholders = make(map[shard.ID]placeholder)
	s.snapshots = newSnapshots(s)
	s.reclaimer = newReclaimer(s)
	s.sizer = newSizer(s)
	s.scrubber = newScrubber(s)
	s.stamps = &stamps{store: s}
	s.comparer = newComparer(s)
	s.pace = newPacer(o.Env, o.CheckBytesPerSecond)
	s.collector = &collector{store: s, walks: make(map[shard.ID]*collecting)}
	for i := range o.Workers {
		s.workers = append(s.workers, &worker{store: s, index: i, wake: o.Env.NewEvent("worker"),
			replicas: make(map[shard.ID]*replica), dying: make(map[shard.ID]*burial), frozen: make(map[shard.ID]*frozen)})
	}
	if s.live, err = newLiveness(s); err != nil {
		return nil, err
	}
	s.space.look()
	if err := s.recover(); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

func (s *Store) start() {
	for _, w := range s.workers {
		s.goTask("worker", func() { w.run(s.ctx) })
	}
	s.goTask("sync", func() { s.sync.run(s.ctx) })
	s.goTask("ticker", func() { s.runTicker() })
	s.goTask("liveness", func() { s.live.run(s.ctx) })
	s.goTask("reclaim", func() { s.reclaimer.run(s.ctx) })
	s.goTask("sizer", func() { s.sizer.run(s.ctx) })
	if s.opt.CheckEvery > 0 {
		s.goTask("scrub", func() { s.scrubber.run(s.ctx) })
	}
	s.goTask("rest", s.runRest)
	s.goTask("compare", func() { s.comparer.run(s.ctx) })
	if s.opt.LowSpace >= 0 {
		s.goTask("space", s.space.run)
	}
}

// enter keeps Close from returning before leave is called; false if the store is closing already. Whoever uses the
// engine on a goroutine that is not the store's own stands between the two.
func (s *Store) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.tasks.Add()
	return true
}

func (s *Store) leave() { s.tasks.Done() }

// goTask starts a goroutine that Close waits for. Once the store is closing it does nothing and reports false: then what
// f would have ended is the caller's to end.
func (s *Store) goTask(name string, f func()) bool {
	if !s.enter() {
		return false
	}
	s.env.Go(name, func() {
		defer s.leave()
		f()
	})
	return true
}

// Close stops all goroutines and answers everyone who waits with ErrClosed. What is not yet synced is lost, as in a
// crash: it was promised to nobody.
func (s *Store) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.wakeAll()
	s.tasks.Wait()
	s.sync.abandon()
	for _, w := range s.workers {
		w.stop(shard.ErrClosed)
		w.closeBatches()
	}
	s.snapshots.close()
	return nil
}

func (s *Store) wakeAll() {
	for _, w := range s.workers {
		w.wake.Wake()
	}
	s.sync.wake.Wake()
}

// ID is this store's id.
func (s *Store) ID() shard.StoreID { return s.id }

// worker is the one that drives a shard.
func (s *Store) worker(id shard.ID) *worker { return s.workers[uint64(id)%uint64(len(s.workers))] }

// replica finds the replica of a shard, from any goroutine; nil if there is none.
func (s *Store) replica(id shard.ID) *replica {
	if r := s.front.find(id); r != nil {
		return r
	}
	return s.mapped(id)
}

func (s *Store) mapped(id shard.ID) *replica {
	if v, ok := s.replicas.Load(id); ok {
		return v.(*replica)
	}
	return nil
}

// broken stops the store: going on could damage data. Never retried in place (rule 5).
func (s *Store) broken(what string, err error) {
	e := error(&shard.BrokenError{Store: s.id, Why: what + ": " + err.Error()})
	if !s.broke.CompareAndSwap(nil, &e) {
		return
	}
	s.wakeAll() // the workers answer whoever waits, and end
	s.logger.Error("store stopped", "while", what, "err", err)
	if s.opt.OnBroken != nil {
		told := e
		if !errors.Is(err, shard.ErrClosed) {
			told = &brokenBy{e, err}
		}
		s.env.Go("broken", func() { s.opt.OnBroken(told) })
	}
}

// brokenBy is a BrokenError for whoever ends the process: its code is that of the reason, not that the store has stopped.
type brokenBy struct{ broken, reason error }

func (b *brokenBy) Error() string   { return b.broken.Error() }
func (b *brokenBy) Unwrap() []error { return []error{b.reason, b.broken} }

// stopped reports whether the store is broken or closing: nothing may leave it any more.
func (s *Store) stopped() bool { return s.broke.Load() != nil || s.ctx.Err() != nil }

// Err is why the store stopped, nil while it works.
func (s *Store) Err() error {
	if e := s.broke.Load(); e != nil {
		return *e
	}
	return nil
}

// storeOf tells where a replica of a shard is.
func (s *Store) storeOf(rep shard.ReplicaID, id shard.ID) (shard.StoreID, bool) {
	r := s.replica(id)
	if r == nil {
		return 0, false
	}
	if peers := r.peers.Load(); peers != nil {
		for _, p := range *peers {
			if p.ID == rep {
				return p.Store, true
			}
		}
	}
	return 0, false
}

// setDescriptor makes a replica's new descriptor known to readers, to messages and to the overlap check.
func (s *Store) setDescriptor(r *replica, d *shard.Descriptor) {
	if o := s.opt.Observer; o != nil {
		o.Described(r.id, r.self, d)
	}
	r.desc.Store(d)
	peers := d.Replicas
	r.peers.Store(&peers)
	s.live.know(peers)
	s.mu.Lock()
	_, evicted := s.shards.Insert(d)
	s.mu.Unlock()
	for _, e := range evicted {
		if e.ID != d.ID {
			s.broken("take up "+d.String(), fmt.Errorf("it overlaps %s, which has data here", e))
		}
	}
}

// overlapLocked finds another shard with data, or a placeholder, in a range. Requires mu.
func (s *Store) overlapLocked(id shard.ID, r shard.Range) (shard.ID, bool) {
	for _, d := range s.shards.Overlapping(r) {
		if d.ID != id {
			return d.ID, true
		}
	}
	for _, other := range slices.Sorted(maps.Keys(s.placeholders)) {
		if other != id && s.placeholders[other].Overlaps(r) {
			return other, true
		}
	}
	return 0, false
}
