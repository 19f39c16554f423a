package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// mortal is the way to the cluster of a client that dies: with its n-th command of a transaction, which is lost or, if
// heard, executed without an answer. From then on nothing leaves it.
type mortal struct {
	memory
	at    int64
	heard bool

	commands atomic.Int64
	dead     atomic.Bool
	died     context.CancelFunc
}

func (m *mortal) Call(ctx context.Context, addr string, to shard.StoreID, req *call.Request) call.Reply {
	if m.dead.Load() {
		return call.Reply{Err: shard.ErrUnavailable}
	}
	// A request that the store refuses, because the route is not known yet, does not count.
	if req.Kind == call.Write && m.commands.Load()+1 == m.at && !m.heard {
		m.die()
		return call.Reply{Err: shard.ErrUnavailable}
	}
	rep := m.memory.Call(ctx, addr, to, req)
	if req.Kind == call.Write && rep.Err == nil && m.commands.Add(1) == m.at {
		m.die()
		return call.Reply{Err: shard.ErrUnavailable}
	}
	return rep
}

func (m *mortal) die() {
	m.dead.Store(true)
	m.died()
}

func (m *mortal) Timestamps(ctx context.Context, addr string, n int) (uint64, error) {
	if m.dead.Load() {
		return 0, shard.ErrUnavailable
	}
	return m.memory.Timestamps(ctx, addr, n)
}

// TestClientDies lets a client die at every step of every kind of transaction. Another one then finds all of its writes or
// none, as the dead one was told, and can write the keys, within the life of a lock.
func TestClientDies(t *testing.T) {
	t.Parallel()
	f := newTxnFixture(t)
	kinds := []struct {
		name  string
		steps int
		keys  string
		opts  []client.TxnOption
	}{
		{"one phase", 2, "aa", nil},
		{"async", 7, "ahq", nil},
		{"two phases", 8, "ahq", []client.TxnOption{client.Serializable()}},
		{"pessimistic one phase", 5, "aa", []client.TxnOption{client.Pessimistic()}},
		{"pessimistic", 10, "ahq", []client.TxnOption{client.Pessimistic()}},
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	atOnce := make(chan struct{}, 16) // few enough for a bound that means something on a busy machine
	for i, k := range kinds {
		for step := 1; step <= k.steps; step++ {
			for _, heard := range []bool{false, true} {
				wg.Go(func() {
					atOnce <- struct{}{}
					defer func() { <-atOnce }()
					name := fmt.Sprintf("%s, step %d, heard %v", k.name, step, heard)
					var keys []string
					for j, c := range k.keys {
						keys = append(keys, fmt.Sprintf("%c-%d-%d-%v-%d", c, i, step, heard, j))
					}
					if err := f.dieAndLook(keys, step, heard, k.opts); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		}
	}
}

func (f *fixture) dieAndLook(keys []string, step int, heard bool, opts []client.TxnOption) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m := &mortal{memory: memory{f}, at: int64(step), heard: heard, died: cancel}
	db, err := client.Open(ctx, "node", client.WithWorld(env.Real{}, m))
	if err != nil {
		return err
	}
	told := db.Update(ctx, func(tx *client.Txn) error {
		if _, err := tx.GetMany([][]byte{[]byte("a-other"), []byte("h-other")}); err != nil {
			return err
		}
		for _, k := range keys {
			if err := tx.Put([]byte(k), []byte("dead")); err != nil {
				return err
			}
		}
		return nil
	}, opts...)
	_ = m.dead.Load()
	defer func() { m.dead.Store(true); _ = db.Close() }()

	heir := f.open()
	began := time.Now()
	found := 0
	if err := heir.View(context.Background(), func(tx *client.Txn) error {
		for _, k := range keys {
			if _, err := tx.Get([]byte(k)); err == nil {
				found++
			} else if !errors.Is(err, client.ErrNotFound) {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if err := heir.Update(context.Background(), func(tx *client.Txn) error {
		for _, k := range keys {
			if err := tx.Put([]byte(k), []byte("heir")); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	if d := time.Since(began); d > 5*time.Second { // a life is 3 s
		return fmt.Errorf("it took %s", d)
	}
	switch {
	case found != 0 && found != len(keys):
		return fmt.Errorf("%d of %d keys were written", found, len(keys))
	case told == nil && found == 0:
		return errors.New("what was committed is gone")
	case told != nil && !errors.Is(told, client.ErrAmbiguous) && found != 0:
		return fmt.Errorf("told that nothing was written: %w", told)
	}
	return f.noLocks(keys)
}

// noLocks looks for locks on keys.
func (f *fixture) noLocks(keys []string) error {
	x := f.asker()
	for _, k := range keys {
		key := mvcc.Key([]byte(k))
		for end := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			a, err := x.Ask(key, &mvcc.Query{Kind: mvcc.ScanLocks, TS: f.oracle.Next(), Range: shard.Range{Start: key, End: key.Next()}}, 0)
			if err != nil {
				return err
			}
			if len(a.Locks) == 0 {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("still there: %s", a.Locks[0])
			}
		}
	}
	return nil
}
