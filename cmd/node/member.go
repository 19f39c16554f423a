package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// member is this node's member of the placement driver: a store of its own that holds shard 1, and the server on top. One
// that joins has neither until placement gave it its number.
type member struct {
	n         *Node
	engine    *engine.Engine
	memory    *budget.Budget
	waits     sparseLog
	transport Transport // of the agent's goroutine, once open

	mu     sync.Mutex
	self   shard.StoreID // the member's number: its store's and its replica's id
	store  *raftstore.Store
	server *placement.Server
	over   bool // it was removed

	hidden bool // not served until the cluster is known; of the agent's goroutine, once open

	addresses // of the agent's goroutine
}

// agentPoll is how often the agents look whether something is due.
const agentPoll = 100 * time.Millisecond

// memberHeartbeatTicks lie between raft heartbeats of shard 1, which never sleeps: three chances per election timeout.
const memberHeartbeatTicks = 3

// What a member uses beside its map of shards. Its records are few, and heartbeats of stores do not go through its log.
const (
	memberMemory        = 64 << 20 // see package budget
	memberCacheBytes    = 16 << 20
	memberMemTableBytes = 16 << 20
)

// newMember opens the member's directory; start does the rest.
func newMember(n *Node) (*member, error) {
	memory := budget.New(memberMemory)
	e, err := n.openEngine(partPlacement, engine.Options{CacheBytes: memberCacheBytes, MemTableBytes: memberMemTableBytes, TailBytes: memory.Share(budget.Logs)})
	if err != nil {
		return nil, err
	}
	return &member{n: n, engine: e, memory: memory, waits: newSparseLog(n.env, n.log), addresses: newAddresses()}, nil
}

// start begins, goes on, or asks to join. beside is whose the node's store directory is, zero if nobody's yet. The caller
// closes the member if it fails.
func (m *member) start(beside engine.Ident) error {
	c := m.n.cfg.Placement
	held, err := m.look()
	if err != nil {
		return err
	}
	if err := m.remember(held.desc); err != nil {
		return err
	}
	first := m.configured()
	switch {
	case held.self != 0 && c.ID != 0 && shard.StoreID(c.ID) != held.self:
		how := "--member-id"
		if uint64(held.self) >= shard.FirstUserID {
			how = "start it with --join, and without --member-id, --members and --bootstrap"
		}
		return fault.Errorf(fault.MemberOther, "the placement directory belongs to member %d, not to member %d (%s)", uint64(held.self), c.ID, how)
	case held.self != 0:
		if err := m.open(held.self, nil); err != nil {
			return err
		}
	case c.Join:
		m.n.goTask("member", func() {
			if m.join(beside) {
				m.run()
			}
		})
		return nil
	default:
		if err := m.checkEmpty(c, first, beside); err != nil {
			return err
		}
		switch ok, err := m.begin(c, first, beside); {
		case err != nil && !transient(err):
			return err
		case err != nil || !ok:
			m.n.goTask("member", func() {
				if m.awaitBegin(c, first, beside) {
					m.run()
				}
			})
			return nil
		}
	}
	m.n.goTask("member", m.run)
	return nil
}

// open opens the store of shard 1 and the server; begin, if not nil, is what an empty directory begins with.
func (m *member) open(self shard.StoreID, begin *shard.Descriptor) error {
	n, c := m.n, m.n.cfg.Placement
	m.transport = n.wire.Transport(self, m.knownCluster())
	m.transport.SetMemory(m.memory)
	list := memberList(m.current)
	for _, b := range list {
		m.transport.SetAddr(b.Store, b.Addr)
	}
	n.dir.learn(list)
	for _, b := range memberList(m.record) { // if what was configured is wrong
		n.dir.learn([]beat.Member{{Addr: b.Addr}})
	}
	if err := m.readVersion(); err != nil {
		return err
	}
	store, err := raftstore.Open(raftstore.Options{Env: n.env, Engine: m.engine, Store: self, Transport: m.transport, Version: m.engine.Version(),
		Logger: n.log.With("member", uint64(self)), Tick: c.Tick, HeartbeatTicks: memberHeartbeatTicks, NoSleep: true, WallTime: true,
		// Placement must go on when a disk is nearly full: by it shards are moved away.
		Memory: m.memory, LowSpace: -1, LogEntries: c.LogEntries, CheckEvery: c.CheckEvery, CheckBytesPerSecond: c.CheckBytesPerSecond, Observer: n.observer("placement"), Coverage: n.cfg.Coverage, OnBroken: n.broken})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.self, m.store = self, store
	m.mu.Unlock()
	n.goByCompareEvery(store)
	if id := m.knownCluster(); id != 0 {
		n.server.SetCluster(id)
	}
	// INVARIANT: a lone member that begins is reached by nobody before it knows its own cluster. Its directory may be one that
	// was lost, and its number that of a member of a cluster which has grown since and still sends to it.
	m.hidden = begin != nil && len(begin.Replicas) == 1
	if !m.hidden {
		n.server.AddStore(store)
	}
	if begin != nil {
		if err := store.CreateShards([]*shard.Descriptor{begin}); err != nil {
			return fmt.Errorf("begin shard 1: %w", err)
		}
	}
	var split []shard.Key
	for _, k := range c.SplitKeys {
		split = append(split, shard.RawKey([]byte(k)))
	}
	server := placement.New(placement.Options{Env: n.env, Meta: &metaStore{env: n.env, store: store, client: n.env.Rand()}, Members: list,
		Logger: n.log, Program: n.cfg.Version, Ask: n.askProgram, Replicas: c.Replicas, SplitKeys: split, Stores: c.Stores, DownAfter: c.DownAfter,
		Limits: operator.Limits{Receiving: c.Receiving, Sending: c.Sending, Patience: c.Patience}, Coverage: n.cfg.Coverage, OnBroken: n.broken})
	m.mu.Lock()
	m.server = server
	m.mu.Unlock()
	n.goTask("placement", func() { server.Run(n.ctx) })
	if c.CollectGarbage {
		agent := &gcAgent{n: n}
		n.goTask("gc-agent", func() { agent.run(server) })
	}
	return nil
}

// opened is the member's store, nil while it has no number.
func (m *member) opened() *raftstore.Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store
}

// parts are the member's store and server, nil while it has no number.
func (m *member) parts() (*raftstore.Store, *placement.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server == nil {
		return nil, nil
	}
	return m.store, m.server
}

// number is the member's, 0 while it has none or when it was removed.
func (m *member) number() shard.StoreID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return 0
	}
	return m.self
}

// joined reports whether the member takes part: it has a vote, and knows the cluster.
func (m *member) joined() bool {
	store, _ := m.parts()
	if store == nil || m.knownCluster() == 0 {
		return false
	}
	d, err := store.Descriptor(shard.MetaID)
	if err != nil {
		return false
	}
	r, ok := d.ReplicaOn(store.ID())
	return ok && (r.Role == shard.Voter || r.Role == shard.IncomingVoter)
}

// metaDescriptor is shard 1 as all initial members write it: the member's number is its store's and its replica's id.
func metaDescriptor(members map[shard.StoreID]string) *shard.Descriptor {
	d := &shard.Descriptor{ID: shard.MetaID, Range: shard.ModeRange(shard.ModeMeta), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(id), Store: id, Role: shard.Voter})
	}
	return d
}

func memberList(members map[shard.StoreID]string) []beat.Member {
	var list []beat.Member
	for _, id := range slices.Sorted(maps.Keys(members)) {
		list = append(list, beat.Member{Store: id, Replica: shard.ReplicaID(id), Addr: members[id]})
	}
	return list
}

// run is the agent's goroutine.
func (m *member) run() {
	for known := false; ; {
		if !known {
			known = m.tellCluster()
		}
		if !m.stays() {
			return
		}
		m.followAddrs()
		if m.n.env.Sleep(m.n.ctx, agentPoll) != nil {
			return
		}
	}
}

// tellCluster makes the cluster's id known to handshakes as soon as shard 1 holds it.
func (m *member) tellCluster() bool {
	id := m.knownCluster()
	if id == 0 {
		return false
	}
	m.transport.SetCluster(id)
	m.n.server.SetCluster(id)
	if m.hidden {
		m.n.server.AddStore(m.store)
	}
	if err := m.engine.SetIdent(engine.Ident{Cluster: id, Store: m.store.ID(), Format: engine.FormatVersion}); err != nil {
		m.n.broken(fmt.Errorf("placement directory: %w", err))
	}
	return true
}

// stays reports whether this member is one still. One that was removed has destroyed what it held.
func (m *member) stays() bool {
	if _, err := m.store.Descriptor(shard.MetaID); err == nil {
		return true
	}
	_, removed, err := m.engine.Tombstone(shard.MetaID)
	if err != nil {
		return false // its store has stopped
	}
	if removed {
		m.end(errRemoved(m.self))
	}
	return !removed
}

// end ends a member that was removed. A store beside it goes on.
func (m *member) end(err error) {
	m.mu.Lock()
	m.over = true
	m.mu.Unlock()
	if m.n.store == nil {
		m.n.broken(err)
		return
	}
	m.n.log.Error("the placement member of this node has ended; its store goes on", "err", err)
}

func errRemoved(self shard.StoreID) error {
	return fault.Errorf(fault.MemberGone, "member %d was removed from placement, and what it held is destroyed: its number never comes back. "+
		"Empty the placement directory and start with --join to bring this node back as a new member, or start it as a store alone (skerry store --join)", uint64(self))
}

// readVersion takes the version of the cluster from this member's replica of shard 1, and writes it down before anything else
// is done by it.
func (m *member) readVersion() error {
	v, err := placement.VersionOf(m.engine.Get)
	if err == nil {
		err = m.engine.RaiseVersion(v)
	}
	if err != nil {
		return fmt.Errorf("placement directory: version of the cluster: %w", err)
	}
	return nil
}

// knownCluster is the cluster's id as this member's replica of shard 1 holds it, or as its directory remembers it, 0 if
// neither does yet.
func (m *member) knownCluster() shard.ClusterID {
	if id, err := placement.ClusterOf(m.engine.Get); err == nil && id != 0 {
		return id
	}
	ident, _, err := m.engine.Ident()
	if err != nil {
		return 0
	}
	return ident.Cluster
}

// close also closes what open left behind when it did not get to its end.
func (m *member) close() error {
	var err error
	if m.transport != nil {
		m.transport.Close()
	}
	m.mu.Lock()
	store := m.store
	m.mu.Unlock()
	if store != nil {
		err = store.Close()
	}
	return errors.Join(err, m.engine.Close())
}
