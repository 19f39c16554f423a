package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// member is this node's member of the placement driver: a store of its own that holds shard 1, and the server on top.
type member struct {
	n         *Node
	engine    *engine.Engine
	transport Transport
	store     *raftstore.Store
	server    *placement.Server
}

// agentPoll is how often the agents look whether something is due.
const agentPoll = 100 * time.Millisecond

// startMember opens this node's member. beside is whose the node's store directory is, zero if nobody's yet.
// memberHeartbeatTicks lie between raft heartbeats of shard 1, which never sleeps: three chances per election timeout.
const memberHeartbeatTicks = 3

func startMember(n *Node, beside engine.Ident) (*member, error) {
	c := n.cfg.Placement
	members := maps.Clone(c.Members)
	if len(members) == 0 {
		members = map[uint64]string{c.ID: n.addr}
	}
	if members[c.ID] == "" {
		members[c.ID] = n.addr
	}
	m := &member{n: n}
	e, err := n.openEngine(partPlacement, engine.Options{CacheBytes: 16 << 20, MemTableBytes: 16 << 20})
	if err != nil {
		return nil, err
	}
	m.engine = e
	if err := m.open(c, members, beside); err != nil {
		_ = m.close()
		return nil, err
	}
	return m, nil
}

func (m *member) open(c *PlacementConfig, members map[uint64]string, beside engine.Ident) error {
	n := m.n
	fresh, err := m.checkDirectory(c, members, beside)
	if err != nil {
		return err
	}
	self := shard.StoreID(c.ID)
	m.transport = n.wire.Transport(self, m.knownCluster())
	list := memberList(members)
	for _, b := range list {
		m.transport.SetAddr(b.Store, b.Addr)
	}
	n.dir.learn(list)
	m.store, err = raftstore.Open(raftstore.Options{Env: n.env, Engine: m.engine, Store: self, Transport: m.transport,
		Logger: n.log.With("member", c.ID), Tick: c.Tick, HeartbeatTicks: memberHeartbeatTicks, NoSleep: true, WallTime: true,
		LogEntries: c.LogEntries, Observer: n.observer("placement"), Coverage: n.cfg.Coverage, OnBroken: n.broken})
	if err != nil {
		return err
	}
	n.server.AddStore(m.store)
	if fresh {
		if err := m.store.CreateShards([]*shard.Descriptor{metaDescriptor(members)}); err != nil {
			return fmt.Errorf("begin shard 1: %w", err)
		}
	}
	var split []shard.Key
	for _, k := range c.SplitKeys {
		split = append(split, shard.RawKey([]byte(k)))
	}
	m.server = placement.New(placement.Options{Env: n.env, Meta: &metaStore{env: n.env, store: m.store, client: n.env.Rand()}, Members: list,
		Logger: n.log, Replicas: c.Replicas, SplitKeys: split, Stores: c.Stores, DownAfter: c.DownAfter,
		Limits: operator.Limits{Receiving: c.Receiving, Sending: c.Sending}, Coverage: n.cfg.Coverage, OnBroken: n.broken})
	n.goTask("placement", func() { m.server.Run(n.ctx) })
	n.goTask("member", m.run)
	return nil
}

// metaDescriptor is shard 1 as all initial members write it: the member's number is its store's and its replica's id.
func metaDescriptor(members map[uint64]string) *shard.Descriptor {
	d := &shard.Descriptor{ID: shard.MetaID, Range: shard.ModeRange(shard.ModeMeta), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(id), Store: shard.StoreID(id), Role: shard.Voter})
	}
	return d
}

// checkDirectory decides whether this member may begin a cluster. A member that lost its directory must not: with the
// same id it would have forgotten its votes.
func (m *member) checkDirectory(c *PlacementConfig, members map[uint64]string, beside engine.Ident) (fresh bool, err error) {
	states, err := m.engine.Replicas()
	if err != nil {
		return false, err
	}
	for _, rs := range states {
		if rs.Shard == shard.MetaID {
			if uint64(rs.Replica) != c.ID {
				return false, fmt.Errorf("the placement directory belongs to member %d, not to member %d (--member-id)", rs.Replica, c.ID)
			}
			return false, nil
		}
	}
	if !c.Bootstrap {
		return false, errors.New("the placement directory is empty: start with --bootstrap to begin a new cluster; " +
			"a member that lost its directory cannot come back under its id")
	}
	if beside.Cluster != 0 {
		return false, fmt.Errorf("the placement directory is empty, but the store directory beside it belongs to cluster %s as %s: "+
			"this node must not begin another cluster; bring the placement directory back, or move the store directory away", beside.Cluster, beside.Store)
	}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		addr := members[id]
		if id == c.ID {
			continue
		}
		ctx, cancel := m.n.env.WithTimeout(m.n.ctx, callTimeout)
		info, err := m.n.wire.Node(ctx, addr)
		cancel()
		if err == nil && info.Cluster != 0 {
			return true, m.joinLate(c, members, info.Cluster)
		}
	}
	return true, nil
}

// joinLate asks the cluster that the other members have begun whether this one may still join it: only if it never took
// part. The leader remembers the answer, with the token of this directory, before this member votes for the first time.
func (m *member) joinLate(c *PlacementConfig, members map[uint64]string, cluster shard.ClusterID) error {
	token, err := tokenOf(m.n.env, m.engine)
	if err != nil {
		return err
	}
	m.n.dir.learn(memberList(members))
	err = m.n.dir.ask(m.n.ctx, func(ctx context.Context, p rpc.Placement) error {
		return p.JoinMember(ctx, beat.Candidate{Member: shard.StoreID(c.ID), Token: token})
	})
	if err != nil {
		return fmt.Errorf("the other members already belong to cluster %s, and this empty directory must not begin another one: %w", cluster, err)
	}
	return nil
}

func memberList(members map[uint64]string) []beat.Member {
	var list []beat.Member
	for _, id := range slices.Sorted(maps.Keys(members)) {
		list = append(list, beat.Member{Store: shard.StoreID(id), Replica: shard.ReplicaID(id), Addr: members[id]})
	}
	return list
}

// run makes the cluster's id known to handshakes as soon as shard 1 holds it.
func (m *member) run() {
	for {
		if id := m.knownCluster(); id != 0 {
			m.transport.SetCluster(id)
			m.n.server.SetCluster(id)
			if err := m.engine.SetIdent(engine.Ident{Cluster: id, Store: m.store.ID(), Format: engine.FormatVersion}); err != nil {
				m.n.broken(fmt.Errorf("placement directory: %w", err))
			}
			return
		}
		if m.n.env.Sleep(m.n.ctx, agentPoll) != nil {
			return
		}
	}
}

// knownCluster is the cluster's id as this member's replica of shard 1 holds it, 0 if it does not yet.
func (m *member) knownCluster() shard.ClusterID {
	id, err := placement.ClusterOf(m.engine.Get)
	if err != nil {
		return 0
	}
	return id
}

// close also closes what open left behind when it did not get to its end.
func (m *member) close() error {
	var err error
	if m.transport != nil {
		m.transport.Close()
	}
	if m.store != nil {
		err = m.store.Close()
	}
	return errors.Join(err, m.engine.Close())
}
