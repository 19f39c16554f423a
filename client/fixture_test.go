package client_test

import (
	"context"
	"net"
	"testing"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/tests/cluster"
)

// fixture is three real stores in one process with three shards: up to g, up to p, and the rest. Placement is a table.
type fixture struct {
	*cluster.Cluster
	t      *testing.T
	shards []*shard.Descriptor
	addr   string
	oracle *cluster.Oracle
}

func newFixture(t *testing.T, tune ...func(*raftstore.Options)) *fixture {
	f := &fixture{t: t, addr: "node", oracle: new(cluster.Oracle)}
	f.shards = []*shard.Descriptor{cluster.Descriptor(2, "", "g", 3), cluster.Descriptor(3, "g", "p", 3), cluster.Descriptor(4, "p", "", 3)}
	f.Cluster = cluster.New(t, cluster.Options{Shards: f.shards, Store: func(o *raftstore.Options) {
		f.oracle.Into(o)
		for _, set := range tune {
			set(o)
		}
	}})
	return f
}

// table is what placement says: routes without leaders, which clients find out.
func (f *fixture) table(from shard.Key, limit int) *beat.Routes {
	r := &beat.Routes{Full: true, Cluster: 7, Members: []beat.Member{{Store: 1, Replica: 1, Addr: f.addr, Leader: true}}}
	for _, d := range f.shards {
		if len(r.Routes) < limit && (len(d.Range.End) == 0 || from.Compare(d.Range.End) < 0) {
			r.Routes = append(r.Routes, beat.Route{Desc: d})
		}
	}
	for i := range 3 {
		r.Stores = append(r.Stores, beat.Store{ID: shard.StoreID(i + 1), Addr: f.addr, State: beat.Up})
	}
	return r
}

// memory reaches the stores without a network between.
type memory struct{ *fixture }

func (m memory) Call(ctx context.Context, _ string, to shard.StoreID, req *call.Request) call.Reply {
	s, ok := m.Net.Store(to)
	if !ok {
		return call.Reply{Err: shard.ErrUnavailable}
	}
	return s.Do(ctx, req)
}

func (m memory) CallMany(ctx context.Context, addr string, to shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	for i, req := range reqs {
		reps[i] = m.Call(ctx, addr, to, req)
	}
}

func (m memory) Node(context.Context, string) (rpc.NodeInfo, error) {
	return rpc.NodeInfo{Cluster: 7, Members: []string{m.addr}}, nil
}

func (m memory) Locate(_ context.Context, _ string, key shard.Key, limit int) (*beat.Routes, error) {
	r := m.table(key, limit)
	r.Full = false
	return r, nil
}

func (m memory) Watch(ctx context.Context, _ string, f func(*beat.Routes) error) error {
	if err := f(m.table(nil, 100)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (m memory) Replicas(context.Context, string, shard.ID) ([]rpc.ReplicaInfo, error) {
	return nil, shard.ErrUnavailable
}

func (m memory) RemoveStore(context.Context, string, shard.StoreID) error {
	return shard.ErrUnavailable
}

func (m memory) Administer(context.Context, string, *beat.Order) (*beat.Outcome, error) {
	return nil, shard.ErrUnavailable
}

func (m memory) TransferLeader(context.Context, string, shard.ID, shard.StoreID) error {
	return shard.ErrUnavailable
}

func (m memory) Split(ctx context.Context, _ string, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	return node(m).Split(ctx, id, epoch, at, into)
}

func (m memory) Timestamps(_ context.Context, _ string, n int) (uint64, error) {
	return uint64(m.oracle.Reserve(n)), nil
}

func (m memory) Close() error { return nil }

// open makes a client over the in-memory way.
func (f *fixture) open(opts ...client.Option) *client.DB {
	f.t.Helper()
	db, err := client.Open(context.Background(), "node", append(opts, client.WithWorld(env.Real{}, memory{f}))...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = db.Close() })
	return db
}

// node serves the fixture over gRPC as one node that holds everything.
type node struct{ *fixture }

func (n node) Info() rpc.NodeInfo {
	return rpc.NodeInfo{Cluster: 7, Version: "test", Addr: n.addr, Stores: []shard.StoreID{1, 2, 3}, Members: []string{n.addr}}
}

func (n node) Replicas(ctx context.Context, id shard.ID) ([]rpc.ReplicaInfo, error) {
	var out []rpc.ReplicaInfo
	for i := 1; i <= 3; i++ {
		st := n.Status(shard.StoreID(i), id)
		if st.Replica != 0 {
			out = append(out, rpc.ReplicaInfo{Store: shard.StoreID(i), Desc: st.Desc, Replica: st.Replica, Leader: st.Leader, Term: st.Term,
				Applied: st.Applied.Index, Committed: st.Committed, Last: st.Last, Leading: st.Leading})
		}
	}
	return out, nil
}

func (n node) JoinMember(context.Context, beat.Candidate) (beat.Admission, error) {
	return beat.Admission{}, shard.ErrUnavailable
}

func (n node) RemoveStore(context.Context, shard.StoreID) error { return shard.ErrUnavailable }

func (n node) Administer(context.Context, *beat.Order) (*beat.Outcome, error) {
	return nil, shard.ErrUnavailable
}

func (n node) TransferLeader(ctx context.Context, id shard.ID, to shard.StoreID) error {
	return n.Stores[n.Leader(id)].Store.TransferLeader(ctx, id, to)
}

func (n node) Split(ctx context.Context, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	s := n.Stores[n.Leader(id)].Store
	if into > 0 {
		var err error
		if at, _, err = s.SplitPoints(id, into); err != nil {
			return nil, err
		}
	}
	d, err := s.Descriptor(id)
	if err != nil {
		return nil, err
	}
	return s.Split(ctx, id, epoch, at, n.SplitIDs(d, len(at)))
}

func (n node) Change(context.Context, shard.ID, shard.Epoch, shard.Change) error {
	return shard.ErrUnavailable
}

func (n node) Register(context.Context, beat.Newcomer) (beat.Registration, error) {
	return beat.Registration{}, shard.ErrUnavailable
}

func (n node) Heartbeat(context.Context, *beat.Report) (*beat.Answer, error) {
	return nil, shard.ErrUnavailable
}

func (n node) Locate(ctx context.Context, key shard.Key, limit int) (*beat.Routes, error) {
	return memory(n).Locate(ctx, "", key, limit)
}

func (n node) Watch(ctx context.Context, send func(*beat.Routes) error) error {
	return memory(n).Watch(ctx, "", send)
}

func (n node) AllocIDs(context.Context, int) (uint64, error) { return 0, shard.ErrUnavailable }
func (n node) Timestamps(_ context.Context, count int) (uint64, error) {
	return uint64(n.oracle.Reserve(count)), nil
}

// serve starts the node and opens a client over gRPC.
func (f *fixture) serve(opts ...client.Option) *client.DB {
	f.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.addr = l.Addr().String()
	s := rpc.NewServer(env.Real{}, nil)
	s.ServePlacement(node{f})
	s.ServeNode(node{f})
	for _, m := range f.Stores {
		s.AddStore(m.Store)
	}
	go func() { _ = s.Serve(l) }()
	db, err := client.Open(context.Background(), "127.0.0.1:1,"+f.addr, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = db.Close()
		s.Stop()
	})
	return db
}
