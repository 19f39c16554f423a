package badinput

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/client/embed"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// nothing is a machine on which no node runs.
type nothing struct{}

func inNothing(*testing.T) world { return nothing{} }

func (nothing) environ() []string { return []string{"SKERRY_ADDR=127.0.0.1:1"} }
func (nothing) before(*run)       {}
func (nothing) intact(*run)       {}

// cluster is three stores in this process, with keys in two shards of each kind that no row means to touch.
type cluster struct {
	c     *embed.Cluster
	conns *rpc.Conns
	calls *rpc.Calls
}

// canaries are keys that stay, in both shards.
func canaries() (out [][]byte) {
	for _, p := range []string{"canary/", "n/canary/"} {
		for i := range 8 {
			out = append(out, fmt.Appendf(nil, "%s%d", p, i))
		}
	}
	return out
}

func inCluster(t *testing.T) world {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := embed.Open(ctx, embed.SplitKeys("m"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	w := &cluster{c: c, conns: rpc.NewConns(nil)}
	w.calls = rpc.NewCalls(env.Real{}, w.conns)
	t.Cleanup(func() { w.calls.Close(); _ = w.conns.Close() })
	err = c.Update(ctx, func(tx *client.Txn) error {
		for _, k := range canaries() {
			if err := c.Put(ctx, k, k); err != nil {
				return err
			}
			if err := tx.Put(k, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *cluster) environ() []string { return []string{"SKERRY_ADDR=" + w.c.Addrs()[0]} }
func (w *cluster) before(*run)       {}

// intact: every canary of both kinds is what it was, and both shards take writes.
func (w *cluster) intact(r *run) {
	r.Helper()
	ctx := r.ctx()
	got, err := w.c.GetMany(ctx, canaries())
	if err != nil {
		r.Fatalf("afterwards: %v", err)
	}
	err = w.c.View(ctx, func(tx *client.Txn) error {
		txn, err := tx.GetMany(canaries())
		got = append(got, txn...)
		return err
	})
	if err != nil {
		r.Fatalf("afterwards: %v", err)
	}
	for i, f := range got {
		if k := canaries()[i%len(canaries())]; !f.Found || !bytes.Equal(f.Value, k) {
			r.Errorf("afterwards %s is %q, %v", k, f.Value, f.Found)
		}
	}
	for _, k := range []string{"after", "n/after"} {
		if err := w.c.Put(ctx, []byte(k), []byte(r.Name())); err != nil {
			r.Errorf("afterwards: %v", err)
		}
	}
}

// of is the cluster that a row runs against.
func (r *run) of() *cluster { return r.w.(*cluster) }

func (r *run) db() *client.DB { return r.of().c.DB }

func (r *run) admin() *client.Admin { return r.db().Admin() }

// shard is the shard of a user's key.
func (r *run) shard(key string) client.ShardInfo {
	r.Helper()
	for {
		s, err := r.admin().Shard(r.ctx(), []byte(key))
		if err != nil {
			r.Fatal(err)
		}
		if s.Leader.ID != 0 {
			return s
		}
		time.Sleep(10 * time.Millisecond) // placement hears of leaders by heartbeats
	}
}

// leader is the address of the store that leads the shard of a key.
func (r *run) leader(key string) (client.ShardInfo, string) {
	r.Helper()
	s := r.shard(key)
	stores, err := r.admin().Stores(r.ctx())
	if err != nil {
		r.Fatal(err)
	}
	for _, st := range stores {
		if st.ID == s.Leader.Store {
			return s, st.Addr
		}
	}
	r.Fatalf("the address of %s is not known", s.Leader.Store)
	return s, ""
}

// ask sends one request to the leader of the shard of a key, as the SDK does, after change has spoilt it; to the next one, if
// another replica leads by then.
func (r *run) ask(key string, change func(*call.Request)) error {
	r.Helper()
	for {
		s, addr := r.leader(key)
		req := &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Timeout: 5 * time.Second}
		change(req)
		err := r.of().calls.Call(r.ctx(), addr, s.Leader.Store, req).Err
		if !errors.As(err, new(*shard.NotLeaderError)) {
			return err
		}
		time.Sleep(10 * time.Millisecond) // placement hears of leaders by heartbeats
	}
}

// placement is the member that leads.
func (r *run) placement() *rpc.PlacementAt { return r.of().conns.Placement(r.of().c.Addrs()[0]) }

// unknown is a number that no shard, store or operator has.
const unknown shard.StoreID = 987654
