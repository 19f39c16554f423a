package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// heartbeatInterval is how often placement hears of a store when nothing changed; changes are told within agentPoll.
const heartbeatInterval = time.Second

// addrsRecord keeps the last known addresses of other stores and of placement in the store's directory, so that a
// store that starts while placement is away can still talk to the others.
const addrsRecord = "addresses"

// instructTimeout bounds one step of an operator; placement sends it again.
const instructTimeout = 5 * time.Second

// storeAgent is this node's store: it registers, opens the store, and keeps placement and store in touch.
type storeAgent struct {
	n      *Node
	engine *engine.Engine
	memory *budget.Budget

	mu        sync.Mutex
	ident     engine.Ident
	transport Transport
	store     *raftstore.Store
	heard     bool        // a heartbeat was answered
	heardAt   env.Time    // when the last one was
	settled   bool        // once all replicas here knew a leader, since the start
	told      beat.Report // the counts of the last report, for metrics
	// busy are the shards of which an instruction is under way.
	busy map[shard.ID]bool

	// of the agent's goroutine
	needFull bool
	// reports counts those of this life; answered is the number of the last one that was answered.
	reports, answered uint64
	leaving           bool // placement was told that the node is
	created           []shard.ID
	lastBeat          env.Time
	known             map[shard.StoreID]string
	waits             sparseLog
}

// newStoreAgent opens the store's directory and reads whose it is; start does the rest.
func newStoreAgent(n *Node) (*storeAgent, error) {
	c := n.cfg.Store
	memory := budget.New(c.MemoryBudget)
	e, err := n.openEngine(partStore, engine.Options{CacheBytes: c.CacheBytes, MemTableBytes: c.MemTableBytes, TailBytes: memory.Share(budget.Logs), CapacityBytes: c.CapacityBytes})
	if err != nil {
		return nil, err
	}
	a := &storeAgent{n: n, engine: e, memory: memory, needFull: true, busy: make(map[shard.ID]bool), known: make(map[shard.StoreID]string), waits: newSparseLog(n.env, n.log)}
	if a.ident, _, err = e.Ident(); err != nil {
		_ = e.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return a, nil
}

// start opens the store if its directory has an identity, and begins to talk to placement. The caller closes the agent
// if it fails.
func (a *storeAgent) start() error {
	if a.ident.Cluster != 0 {
		if m := a.n.member; m != nil && m.knownCluster() != 0 && m.knownCluster() != a.ident.Cluster {
			return fault.Errorf(fault.DirCluster, "the store directory belongs to cluster %s as %s, the placement directory beside it to cluster %s: "+
				"one of them is not this node's; move it away, or name the right directory (--data)", a.ident.Cluster, a.ident.Store, m.knownCluster())
		}
		if err := a.openStore(); err != nil {
			return fmt.Errorf("open %s: %w", a.ident.Store, err)
		}
	}
	a.n.goTask("store-agent", a.run)
	return nil
}

// openStore opens the store under its identity.
func (a *storeAgent) openStore() error {
	n, c := a.n, a.n.cfg.Store
	t := n.wire.Transport(a.ident.Store, a.ident.Cluster)
	t.SetMemory(a.memory)
	if err := a.loadAddrs(t); err != nil {
		return err
	}
	s, err := raftstore.Open(raftstore.Options{Env: n.env, Engine: a.engine, Store: a.ident.Store, Transport: t,
		Logger: n.log.With("store", a.ident.Store.String()), Version: a.engine.Version(), Workers: n.workers(c.Workers), Tick: c.Tick,
		SnapshotBytesPerSecond: c.SnapshotBytesPerSecond, SplitBytes: c.splitBytes(), SplitWork: c.splitWork(), SlowOperation: c.slowOperation(), LogEntries: c.LogEntries,
		CheckEvery: c.CheckEvery, CheckBytesPerSecond: c.CheckBytesPerSecond,
		Memory: a.memory, LowSpace: c.LowSpace, Timestamps: timestamps{n}, Observer: n.observer("store"), Coverage: n.cfg.Coverage, OnBroken: n.broken})
	if err != nil {
		t.Close()
		return err
	}
	n.server.SetCluster(a.ident.Cluster)
	n.server.AddStore(s)
	a.mu.Lock()
	a.transport, a.store = t, s
	a.mu.Unlock()
	n.goByCompareEvery(s)
	a.goBySettings() // a member beside it may have heard of some
	return nil
}

func (a *storeAgent) open() *raftstore.Store {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store
}

func (a *storeAgent) joined() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.heard
}

func (a *storeAgent) close() error {
	a.mu.Lock()
	s, t := a.store, a.transport
	a.mu.Unlock()
	var err error
	if s != nil {
		t.Close()
		err = s.Close()
	}
	return errors.Join(err, a.engine.Close())
}

// run is the agent's goroutine.
func (a *storeAgent) run() {
	n := a.n
	for {
		if a.open() == nil {
			a.register()
		} else {
			a.splitGrown()
			if a.due() {
				a.heartbeat()
			}
		}
		pause := agentPoll
		if a.joined() {
			pause = 2 * agentPoll // nothing waits for it any more but what placement is told
		}
		if n.env.Sleep(n.ctx, pause) != nil {
			return
		}
	}
}

func (a *storeAgent) due() bool {
	return a.needFull || a.leaving != a.n.leaving.Load() || len(a.created) > 0 || a.store.Unreported() || a.n.env.Now().Sub(a.lastBeat) >= heartbeatInterval
}

// register asks placement for an id, once in the life of a directory.
func (a *storeAgent) register() {
	var reg beat.Registration
	token, err := tokenOf(a.n.env, a.engine)
	if err != nil {
		a.n.broken(err)
		return
	}
	err = a.n.dir.ask(a.n.ctx, func(ctx context.Context, p rpc.Placement) error {
		var err error
		reg, err = p.Register(ctx, beat.Newcomer{Addr: a.n.addr, Version: a.n.cfg.Version, Versions: version.Ours(), Token: token})
		return err
	})
	if versionRefused(err) {
		a.n.broken(fmt.Errorf("register a store: %w", err))
		return
	}
	if err != nil {
		a.waits.info("store is not registered yet: placement does not answer; see --join, and the placement members' logs", "err", err)
		return
	}
	a.ident = engine.Ident{Cluster: reg.Cluster, Store: reg.Store, Format: engine.FormatVersion}
	if err = a.engine.RaiseVersion(reg.Version); err == nil {
		err = a.engine.SetIdent(a.ident)
	}
	if err == nil {
		err = a.openStore()
	}
	if err != nil {
		a.n.broken(fmt.Errorf("open %s: %w", reg.Store, err))
		return
	}
	a.n.log.Info("store registered", "store", reg.Store, "cluster", reg.Cluster)
}

// heartbeat tells placement what there is and does what it answers.
func (a *storeAgent) heartbeat() {
	n := a.n
	r, err := a.store.Report(n.ctx, a.needFull)
	if err != nil {
		return
	}
	r.Cluster, r.Addr, r.Version = a.ident.Cluster, n.addr, n.cfg.Version
	r.Used, r.Free, r.Capacity, _ = a.engine.DiskUsage()
	r.Created, r.Leaving = a.created, n.leaving.Load()
	r.Versions, r.Active = version.Ours(), a.store.Version()
	a.reports++
	r.Number, r.Since = a.reports, a.answered
	a.mu.Lock()
	a.told = beat.Report{Shards: r.Shards, Leaders: r.Leaders, Used: r.Used, Free: r.Free, Capacity: r.Capacity}
	a.mu.Unlock()
	var answer *beat.Answer
	var asked env.Time // of the attempt that was answered
	err = n.dir.ask(n.ctx, func(ctx context.Context, p rpc.Placement) error {
		var err error
		asked = n.env.Now()
		answer, err = p.Heartbeat(ctx, r)
		return err
	})
	a.lastBeat = n.env.Now()
	if err != nil {
		a.needFull = true // what was in this report is not known to have arrived
		if reason := a.refused(err); reason != nil {
			n.broken(reason)
			return
		}
		a.waits.info("store heartbeat not answered: placement does not answer", "store", a.ident.Store, "err", err)
		_ = n.env.Sleep(n.ctx, agentPoll)
		return
	}
	a.needFull, a.created, a.leaving, a.answered = answer.NeedFull, nil, r.Leaving, r.Number
	if a.lastBeat.Sub(asked) <= maxTimeTrip {
		a.store.HearTime(answer.Now)
	}
	a.follow(answer)
}

// maxTimeTrip is how long a question may have taken whose answer's time is believed. Stores' times differ by at most
// that, so that the life of a key is not cut short by more when the leader of its shard changes.
const maxTimeTrip = 500 * time.Millisecond

// refused says why placement will never accept this store, nil if it may.
//
// A store that placement has accepted since it started is not stopped by members of another cluster: an address of ours
// may have been given to them while our members are away.
func (a *storeAgent) refused(err error) error {
	if versionRefused(err) {
		return fmt.Errorf("%s: placement refuses this store: %w", a.ident.Store, err)
	}
	if invalid(err) {
		return fault.Errorf(fault.StoreRefused, "%s: placement refuses this store: %w", a.ident.Store, err)
	}
	if w, ok := wrongCluster(err); ok && !a.joined() {
		return fault.Errorf(fault.DirCluster, "the store directory belongs to cluster %s as %s, but placement is of cluster %s; check the addresses (--join) and the directory (--data): %w",
			a.ident.Cluster, a.ident.Store, w.Have, err)
	}
	return nil
}

// follow does what placement's answer says.
func (a *storeAgent) follow(ans *beat.Answer) {
	n := a.n
	if ans.Removed {
		n.broken(fault.Errorf(fault.StoreRemoved, "%s was removed from the cluster: its shards live elsewhere. Wipe its directory to bring the machine back as a new store", a.ident.Store))
		return
	}
	if err := a.engine.RaiseVersion(ans.Version); err != nil {
		n.broken(fmt.Errorf("%s: %w", a.ident.Store, err))
		return
	}
	a.store.HearVersion(a.engine.Version())
	n.hearSettings(ans.Settings)
	a.store.HearSafePoint(mvcc.Timestamp(ans.SafePoints.Safe), mvcc.Timestamp(ans.SafePoints.Collect))
	a.learnAddrs(ans.Stores, n.dir.settle(ans.Members))
	a.mu.Lock()
	a.heard, a.heardAt = true, a.n.env.Now()
	a.mu.Unlock()
	if len(ans.Create) > 0 {
		if err := a.store.CreateShards(ans.Create); err != nil {
			n.log.Error("shards not created", "err", err)
		} else {
			for _, d := range ans.Create {
				a.created = append(a.created, d.ID)
			}
		}
	}
	for _, in := range ans.Instructions {
		if a.claim(in.Shard) {
			n.goTask("instruction", func() { a.instruct(in) })
		}
	}
}

// claim reports whether no instruction of a shard is under way, and notes that one is.
func (a *storeAgent) claim(id shard.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[id] {
		return false
	}
	a.busy[id] = true
	return true
}

// instruct tries one step of an operator, for a while if the shard is busy: a learner catches up sooner than the next
// heartbeat comes. If it does not work out, placement sends it again.
func (a *storeAgent) instruct(in beat.Instruction) {
	defer func() {
		a.mu.Lock()
		delete(a.busy, in.Shard)
		a.mu.Unlock()
	}()
	ctx, cancel := a.n.env.WithTimeout(a.n.ctx, instructTimeout)
	defer cancel()
	var err error
	for {
		switch {
		case in.Change != nil:
			err = a.store.Change(ctx, in.Shard, in.Epoch, *in.Change)
		case in.TransferTo != 0:
			err = a.store.TransferLeader(ctx, in.Shard, in.TransferTo)
		case len(in.SplitAt) > 0:
			_, err = a.n.Split(ctx, in.Shard, in.Epoch, in.SplitAt, 0)
		}
		var busy *shard.ServerBusyError
		if !errors.As(err, &busy) || a.n.env.Sleep(ctx, max(busy.Wait, agentPoll/2)) != nil {
			break
		}
	}
	a.n.log.Info("instruction", "shard", in.Shard, "change", in.Change, "transfer", in.TransferTo, "split", in.SplitAt, "err", err)
}

// learnAddrs makes the addresses of other stores known to the transport, and remembers them, and those of placement's
// members, if any is another than before.
func (a *storeAgent) learnAddrs(stores []beat.Store, changed bool) {
	for _, s := range stores {
		if s.Addr != "" && a.known[s.ID] != s.Addr {
			a.known[s.ID] = s.Addr
			a.transport.SetAddr(s.ID, s.Addr)
			changed = true
		}
	}
	if !changed {
		return
	}
	b := codec.AppendUvarint([]byte{1}, uint64(len(stores)))
	for _, s := range stores {
		b = codec.AppendUvarint(b, uint64(s.ID))
		b = codec.AppendString(b, s.Addr)
	}
	members := a.n.dir.all()
	b = codec.AppendUvarint(b, uint64(len(members)))
	for _, m := range members {
		b = codec.AppendString(b, m)
	}
	if err := a.engine.SetRecord(addrsRecord, b); err != nil {
		a.n.broken(err)
	}
}

func (a *storeAgent) loadAddrs(t Transport) error {
	b, ok, err := a.engine.Record(addrsRecord)
	if err != nil || !ok {
		return err
	}
	d := codec.Decoder{B: b}
	d.Version(1)
	for range d.Count(2) {
		id, addr := shard.StoreID(d.Uvarint()), d.String()
		a.known[id] = addr
		t.SetAddr(id, addr)
	}
	var members []beat.Member
	for range d.Count(1) {
		members = append(members, beat.Member{Addr: d.String()})
	}
	if err := d.Done(); err != nil {
		return fmt.Errorf("record %s: %w", addrsRecord, err)
	}
	a.n.dir.learn(members)
	return nil
}
