package e2e

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// TestWatch: watchers see every change of many transactions once and in order, while shards split and move, and stores are
// killed and start again. SKERRY_LONG=1 makes it 10 watchers of 100,000 transactions, instead of 3 of 3,000.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := watching{t: t, watchers: 3, txns: 3000, writers: 16, pause: 700 * time.Millisecond}
	if os.Getenv("SKERRY_LONG") != "" {
		w.watchers, w.txns, w.writers, w.pause = 10, 100_000, 48, 2*time.Second
	}
	w.c = New(t, Options{Nodes: 4})
	w.run()
}

const watchedKeys = 4000

func watchedKey(n uint32) []byte { return fmt.Appendf(nil, "w/%05d", n) }

type watching struct {
	t        *testing.T
	c        *Cluster
	watchers int
	txns     uint32
	writers  int
	pause    time.Duration // between two things that the nemesis does

	from client.Timestamp
	end  atomic.Uint64 // watchers are done once they have come to this
	next atomic.Uint32
	done []watchedTxn // by number; one writer at a time writes one

	splits, moves, kills int
}

// watchedTxn is what its writer knows of a transaction.
type watchedTxn struct {
	keys   []uint32
	commit client.Timestamp // zero: refused, or not known
	open   bool             // not known
}

// told is one event.
type told struct {
	commit client.Timestamp
	key    uint32
	txn    uint32
}

func compareTold(a, b told) int {
	return cmp.Or(cmp.Compare(a.commit, b.commit), cmp.Compare(a.key, b.key))
}

// watcher is one program that watches.
type watcher struct {
	db     *client.DB
	opts   []client.WatchOption
	events []told
	late   []time.Duration // from the moment at which a commit began to the moment at which it was told
	again  int             // watches that went on after an error
	err    error
}

func (w *watching) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	var err error
	if w.from, err = w.c.DB.Timestamp(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.done = make([]watchedTxn, w.txns)
	var watchers []*watcher
	var watching, writing, harming sync.WaitGroup
	for i := range w.watchers {
		db, err := client.Open(ctx, w.c.Addrs(), client.WithRetryBudget(30*time.Second))
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = db.Close() })
		x := &watcher{db: db}
		if i%3 == 1 {
			x.opts = append(x.opts, client.ReadFromFollower())
		}
		watchers = append(watchers, x)
		watching.Go(func() { x.run(ctx, w) })
	}
	began := time.Now()
	for i := range w.writers {
		writing.Go(func() { w.write(ctx, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	calm := make(chan struct{})
	harming.Go(func() { w.harm(ctx, calm) })
	writing.Wait()
	wrote := time.Since(began)
	close(calm)
	harming.Wait()
	end, err := w.c.DB.Timestamp(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	w.end.Store(uint64(end))
	watching.Wait()
	w.t.Logf("%d transactions in %.1f s, %d splits, %d moves, %d kills; all told %.1f s later", w.txns, wrote.Seconds(), w.splits, w.moves, w.kills, (time.Since(began) - wrote).Seconds())
	for i, x := range watchers {
		w.check(i, x, watchers[0])
	}
}

func (w *watching) write(ctx context.Context, rng *rand.Rand) {
	for {
		id := w.next.Add(1) - 1
		if id >= w.txns {
			return
		}
		x := &w.done[id]
		for len(x.keys) < 1+int(id)%3 {
			if k := rng.Uint32N(watchedKeys); !slices.Contains(x.keys, k) {
				x.keys = append(x.keys, k)
			}
		}
		var last *client.Txn
		err := w.c.DB.Update(ctx, func(tx *client.Txn) error {
			last = tx
			value := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, id), uint64(time.Now().UnixNano()))
			for _, k := range x.keys {
				if err := tx.Put(watchedKey(k), value); err != nil {
					return err
				}
			}
			return nil
		})
		if x.open = errors.Is(err, client.ErrAmbiguous); err == nil {
			x.commit = last.CommitTS()
		}
	}
}

func (x *watcher) run(ctx context.Context, w *watching) {
	at := w.from
	for {
		for ev, err := range x.db.Watch(ctx, client.Prefix("w/"), at, x.opts...) {
			if err != nil {
				if x.err = err; !errors.Is(err, client.ErrUnavailable) {
					return
				}
				x.err = nil
				break
			}
			if ev.Progress == 0 {
				x.took(&ev)
				continue
			}
			if at = ev.Progress; w.end.Load() != 0 && uint64(at) >= w.end.Load() {
				return
			}
		}
		if x.again++; ctx.Err() != nil {
			x.err = ctx.Err()
			return
		}
		for n := len(x.events); n > 0 && x.events[n-1].commit > at; n-- {
			x.events = x.events[:n-1] // it is told again
		}
	}
}

func (x *watcher) took(ev *client.Event) {
	var k uint32
	if _, err := fmt.Sscanf(string(ev.Key), "w/%05d", &k); err != nil || len(ev.Value) != 12 {
		x.err = fmt.Errorf("an event of nobody: %q", ev.Key)
		return
	}
	x.events = append(x.events, told{commit: ev.Commit, key: k, txn: binary.BigEndian.Uint32(ev.Value)})
	x.late = append(x.late, time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(ev.Value[4:])))))
}

// harm splits, moves, and kills, until nobody writes any more.
func (w *watching) harm(ctx context.Context, calm chan struct{}) {
	rng := rand.New(rand.NewPCG(2, 2))
	a := w.c.DB.Admin()
	for round := 0; ; round++ {
		select {
		case <-calm:
			return
		case <-time.After(w.pause):
		}
		var err error
		var all []client.ShardInfo
		for s, e := range a.Shards(ctx) {
			if err = errors.Join(err, e); e == nil && s.Range.Overlaps(shard.ModeRange(shard.ModeTxn)) {
				all = append(all, s)
			}
		}
		if err != nil || len(all) == 0 {
			w.t.Logf("shards: %v", err)
			continue
		}
		s := all[rng.IntN(len(all))]
		switch round % 3 {
		case 0:
			if len(all) < 12 {
				at := watchedKey(rng.Uint32N(watchedKeys))
				for _, o := range all {
					if _, err := a.SplitTxn(ctx, o.ID, at); err == nil {
						w.splits++
						break
					}
				}
			}
		case 1:
			w.kills++
			p := w.c.Nodes[rng.IntN(len(w.c.Nodes))]
			p.Kill()
			time.Sleep(200 * time.Millisecond)
			p.Start()
		case 2:
			stores, err := a.Stores(ctx)
			for _, to := range stores {
				if err == nil && !onStore(s, to.ID) {
					if _, err = a.MoveShard(ctx, s.ID, s.Replicas[0].Store, to.ID); err == nil {
						w.moves++
						break
					}
				}
			}
			if err != nil {
				w.t.Logf("move: %v", err)
			}
		}
	}
}

// check finds what was told twice, out of order, wrongly, or not.
func (w *watching) check(i int, x, first *watcher) {
	if x.err != nil {
		w.t.Errorf("watcher %d: %v", i, x.err)
		return
	}
	if !slices.Equal(x.events, first.events) {
		w.t.Errorf("watcher %d was told otherwise than the first", i)
	}
	for n := 1; n < len(x.events); n++ {
		if compareTold(x.events[n-1], x.events[n]) >= 0 {
			w.t.Fatalf("watcher %d was told %v and then %v", i, x.events[n-1], x.events[n])
		}
	}
	keys, commits := make([]int, w.txns), make([]client.Timestamp, w.txns)
	for _, ev := range x.events {
		if ev.txn >= w.txns || !slices.Contains(w.done[ev.txn].keys, ev.key) || commits[ev.txn] != 0 && commits[ev.txn] != ev.commit {
			w.t.Fatalf("watcher %d was told %v, which nobody wrote", i, ev)
		}
		keys[ev.txn]++
		commits[ev.txn] = ev.commit
	}
	committed, open := 0, 0
	for id := range w.done {
		d := &w.done[id]
		if d.open {
			open++
		}
		if d.commit != 0 {
			committed++
		}
		if n := keys[id]; n != len(d.keys) && (n != 0 || d.commit != 0) || !d.open && commits[id] != d.commit {
			w.t.Fatalf("watcher %d: transaction %d wrote %d keys at %d (not known: %t), and %d were told, at %d", i, id, len(d.keys), d.commit, d.open, n, commits[id])
		}
	}
	slices.Sort(x.late)
	at := func(q float64) time.Duration {
		return x.late[int(q*float64(len(x.late)-1))].Round(100 * time.Microsecond)
	}
	w.t.Logf("watcher %d: %d events of %d transactions (%d not known), from the begin of a commit: median %s, p90 %s, p99 %s; went on %d times", i, len(x.events), committed, open, at(0.5), at(0.9), at(0.99), x.again)
}
