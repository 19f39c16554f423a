package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/history"
)

const (
	linearGroups  = 16
	linearClients = 10
)

// TestLinearizable records what clients of real processes see while these are killed, paused and cut off and leaders
// are transferred, and checks that it is linearizable, key group by key group.
// SKERRY_LINEAR_SECONDS makes it longer, SKERRY_LINEAR_SEED repeats what it tries.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	length := time.Duration(setting(t, "SKERRY_LINEAR_SECONDS", 15)) * time.Second
	seed := setting(t, "SKERRY_LINEAR_SEED", rand.Uint64())
	t.Logf("SKERRY_LINEAR_SEED=%d", seed)
	c := New(t, Options{SplitKeys: []string{"g04", "g08", "g12"}})
	rec := history.NewRecorder()
	var done atomic.Bool
	var wg sync.WaitGroup
	for i := range linearClients {
		w := &linearClient{c: c, rec: rec, id: i, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		wg.Go(func() {
			for !done.Load() {
				_ = w.one()
			}
		})
	}
	n := &harasser{c: c, rnd: rand.New(rand.NewPCG(seed, 1<<32))}
	n.run(t, time.Now().Add(length))
	time.Sleep(3 * time.Second) // the last operations see the healed cluster
	done.Store(true)
	wg.Wait()
	t.Logf("%d operations during %s", rec.Len(), n.story())
	if rec.Len() < 500 {
		t.Fatalf("only %d operations: the cluster hardly served", rec.Len())
	}
	rec.Check(t, 2*time.Minute)
}

func setting(t testing.TB, name string, value uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return value
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func textSetting(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

// harasser hurts one node at a time, in every way it knows.
type harasser struct {
	c      *Cluster
	rnd    *rand.Rand
	counts [5]int
}

func (n *harasser) run(t testing.TB, end time.Time) {
	for time.Now().Before(end) {
		p := n.c.Nodes[n.rnd.IntN(len(n.c.Nodes))]
		what := n.rnd.IntN(len(n.counts))
		n.counts[what]++
		hurt := time.Duration(500+n.rnd.IntN(2500)) * time.Millisecond
		switch what {
		case 0:
			p.Kill()
			time.Sleep(hurt)
			p.Start()
		case 1:
			p.Pause()
			time.Sleep(hurt)
			p.Resume()
		case 2:
			p.CutOff()
			time.Sleep(hurt)
			p.Heal()
		case 3:
			n.transfer()
			continue
		case 4:
			n.split()
			continue
		}
		time.Sleep(time.Duration(n.rnd.IntN(2000)) * time.Millisecond)
	}
}

// transfer moves the leadership of a few shards; that it may be refused does not matter.
func (n *harasser) transfer() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for s, err := range n.c.DB.Admin().Shards(ctx) {
		if err != nil {
			return
		}
		to := s.Replicas[n.rnd.IntN(len(s.Replicas))].Store
		_ = n.c.DB.Admin().TransferLeader(ctx, s.ID, to)
	}
}

// split cuts some shard between two groups of keys; that it may be refused does not matter.
func (n *harasser) split() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	key := linearGroup(n.rnd.IntN(linearGroups))
	if s, err := n.c.DB.Admin().Shard(ctx, key); err == nil {
		_, _ = n.c.DB.Admin().Split(ctx, s.ID, key)
	}
}

func (n *harasser) story() string {
	return fmt.Sprintf("%d kills, %d pauses, %d cuts, %d rounds of transfers, %d splits tried", n.counts[0], n.counts[1], n.counts[2], n.counts[3], n.counts[4])
}

// linearClient does one operation after the other on random groups.
type linearClient struct {
	c   *Cluster
	rec *history.Recorder
	era int // of the keys: each recorder has keys of its own
	id  int
	seq int
	rnd *rand.Rand
	was string // what it last saw, to make conditions hold now and then
}

// one does an operation and records it. The error is what the client was told, and not a conflict.
func (w *linearClient) one() error {
	w.seq++
	in := history.Input{Group: w.rnd.IntN(linearGroups), Kind: history.Kind(w.rnd.IntN(6)), Key: w.rnd.IntN(history.GroupKeys),
		Want: w.was, Value: fmt.Sprintf("c%d.%d", w.id, w.seq)}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(200+w.rnd.IntN(4000))*time.Millisecond)
	defer cancel()
	begun := w.rec.Now()
	out, err := w.do(ctx, in)
	if err == nil || out.Ambiguous {
		w.rec.Add(w.id, begun, in, out)
	}
	return err
}

// linearGroup is the first key of a group's shard, if the group has one to itself.
func linearGroup(group int) []byte { return fmt.Appendf(nil, "g%02d", group) }

func (w *linearClient) key(group, key int) []byte {
	return fmt.Appendf(nil, "g%02d/%d/%d", group, w.era, key)
}

// do executes an operation. With an error that is not ambiguous nothing happened and nothing was learnt.
func (w *linearClient) do(ctx context.Context, in history.Input) (out history.Output, err error) {
	db, key := w.c.DB, w.key(in.Group, in.Key)
	switch in.Kind {
	case history.Get:
		var opts []client.ReadOption
		if w.rnd.IntN(3) == 0 {
			opts = append(opts, client.ReadFromFollower())
		}
		var v []byte
		if v, err = db.Get(ctx, key, opts...); errors.Is(err, client.ErrNotFound) {
			err = nil
		}
		out.Values[in.Key] = string(v)
		w.was = string(v)
		return out, err
	case history.Scan:
		r := client.Prefix(fmt.Sprintf("g%02d/%d/", in.Group, w.era))
		for kv, err := range db.Scan(ctx, r, client.ReuseRows()) {
			if err != nil {
				return out, err
			}
			out.Values[kv.Key[len(kv.Key)-1]-'0'] = string(kv.Value)
		}
		return out, nil
	case history.Put:
		err = db.Put(ctx, key, []byte(in.Value))
	case history.Delete:
		err = db.Delete(ctx, key)
	case history.CAS:
		err = w.atomic(ctx, in, func(b *client.Batch) { b.Put(key, []byte(in.Value)) })
	case history.Batch:
		err = w.atomic(ctx, in, func(b *client.Batch) {
			for k := range history.GroupKeys {
				b.Put(w.key(in.Group, k), []byte(in.Value))
			}
		})
	}
	var conflict *client.ConflictError
	switch {
	case err == nil:
		out.OK = true
	case errors.As(err, &conflict):
		out.Values[in.Key] = string(conflict.Current)
		err = nil
	case errors.Is(err, client.ErrAmbiguous):
		out.Ambiguous = true
	}
	return out, err
}

// atomic is a guarded batch: key must hold Want, or be absent if that is empty.
func (w *linearClient) atomic(ctx context.Context, in history.Input, ops func(b *client.Batch)) error {
	key := w.key(in.Group, in.Key)
	return w.c.DB.Atomic(ctx, func(b *client.Batch) {
		if in.Want == "" {
			b.IfAbsent(key)
		} else {
			b.IfEquals(key, []byte(in.Want))
		}
		ops(b)
	})
}
