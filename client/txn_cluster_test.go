package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/tests/cluster"
)

// newTxnFixture is three stores, with options, and three shards of transactional keys: up to g, up to p, and the rest.
func newTxnFixture(t *testing.T, options ...func(*raftstore.Options)) *fixture {
	f := &fixture{t: t, addr: "node", oracle: new(cluster.Oracle)}
	f.shards = []*shard.Descriptor{cluster.Descriptor(2, "", "", 3), cluster.Descriptor(3, "", "", 3), cluster.Descriptor(4, "", "", 3)}
	g, p := mvcc.Key([]byte("g")), mvcc.Key([]byte("p"))
	f.shards[0].Range = shard.Range{End: g}
	f.shards[1].Range = shard.Range{Start: g, End: p}
	f.shards[2].Range = shard.Range{Start: p}
	f.Cluster = cluster.New(t, cluster.Options{Shards: f.shards, Store: func(o *raftstore.Options) {
		f.oracle.Into(o)
		for _, set := range options {
			set(o)
		}
	}})
	return f
}

func TestUpdate(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	ctx := context.Background()
	for _, keys := range [][]string{{"a"}, {"b", "h"}, {"c", "i", "q"}} {
		err := db.Update(ctx, func(tx *client.Txn) error {
			for _, k := range keys {
				if _, err := tx.Get([]byte(k)); !errors.Is(err, client.ErrNotFound) {
					return fmt.Errorf("get before put: %v", err)
				}
				if err := tx.Put([]byte(k), []byte("v"+k)); err != nil {
					return err
				}
				if v, err := tx.Get([]byte(k)); err != nil || string(v) != "v"+k {
					return fmt.Errorf("own write: %q, %v", v, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := ""
	err := db.View(ctx, func(tx *client.Txn) error {
		for kv, err := range tx.Scan(client.Range{}) {
			if err != nil {
				return err
			}
			got += fmt.Sprintf("%s=%s ", kv.Key, kv.Value)
		}
		for kv, err := range tx.ReverseScan(client.Range{}, client.Limit(2)) {
			if err != nil {
				return err
			}
			got += fmt.Sprintf("%s ", kv.Key)
		}
		return nil
	})
	if want := "a=va b=vb c=vc h=vh i=vi q=vq q i "; err != nil || got != want {
		t.Fatalf("%q, %v, want %q", got, err, want)
	}
}

func num(v []byte) uint64 {
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

func numBytes(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// TestBank moves money between accounts of all shards, with several clients in every mode; the sum must never change.
func TestBank(t *testing.T) {
	for name, opts := range map[string][]client.TxnOption{"optimistic": nil, "pessimistic": {client.Pessimistic()},
		"serializable": {client.Serializable()}, "causal": {client.Causal()}} {
		t.Run(name, func(t *testing.T) {
			f := newTxnFixture(t)
			ctx := context.Background()
			accounts := []string{"a", "b", "h", "i", "q", "r"}
			db := f.open()
			if err := db.Update(ctx, func(tx *client.Txn) error {
				for _, a := range accounts {
					if err := tx.Put([]byte(a), numBytes(100)); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for w := range 4 {
				db := f.open()
				wg.Go(func() {
					for i := range 25 {
						from, to := accounts[(w+i)%6], accounts[(w*2+i*3+1)%6]
						if from == to {
							continue
						}
						err := db.Update(ctx, func(tx *client.Txn) error {
							x, err := tx.Get([]byte(from))
							if err != nil {
								return err
							}
							y, err := tx.Get([]byte(to))
							if err != nil {
								return err
							}
							if num(x) == 0 {
								return nil
							}
							if err := tx.Put([]byte(from), numBytes(num(x)-1)); err != nil {
								return err
							}
							return tx.Put([]byte(to), numBytes(num(y)+1))
						}, opts...)
						if err != nil {
							t.Error(err)
						}
						var sum uint64
						if err := db.View(ctx, func(tx *client.Txn) error {
							sum = 0
							for kv, err := range tx.Scan(client.Range{}) {
								if err != nil {
									return err
								}
								sum += num(kv.Value)
							}
							return nil
						}); err != nil || sum != 600 {
							t.Errorf("sum %d, %v", sum, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestAdd counts from several clients at once: alone, and with other writes.
func TestAdd(t *testing.T) {
	f := newTxnFixture(t)
	ctx := context.Background()
	var wg sync.WaitGroup
	for w := range 4 {
		db := f.open()
		wg.Go(func() {
			for i := range 25 {
				err := db.Update(ctx, func(tx *client.Txn) error {
					if i%5 == 0 {
						if err := tx.Put([]byte(fmt.Sprintf("q%d", w)), []byte("x")); err != nil {
							return err
						}
					}
					return tx.Add([]byte("a"), 2)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	db := f.open()
	ts, err := db.Timestamp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, err := db.At(ts).Get(ctx, []byte("a"))
	if err != nil || num(v) != 200 {
		t.Fatalf("%d, %v", num(v), err)
	}
}

// asker sends single commands and queries.
func (f *fixture) asker() *cluster.Txns { return cluster.NewTxns(f.Cluster, f.oracle, f.shards...) }
