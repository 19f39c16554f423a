package client_test

import (
	"bytes"
	"context"
	"errors"
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

// loser loses the answer of the first command that may commit at once, after meanwhile.
type loser struct {
	memory
	once      sync.Once
	meanwhile func()
}

func (l *loser) Call(ctx context.Context, addr string, to shard.StoreID, req *call.Request) call.Reply {
	rep := l.memory.Call(ctx, addr, to, req)
	if rep.Err == nil && req.Kind == call.Write && mvcc.NeedsFloor(req.Body) {
		l.once.Do(func() {
			l.meanwhile()
			rep = call.Reply{Err: shard.ErrUnavailable}
		})
	}
	return rep
}

// TestLostAndCollected: the answer of a commit in one phase, and of an addition, is lost; before it is asked for, what was
// written is superseded and collected. Then nobody knows any more, and that is said.
func TestLostAndCollected(t *testing.T) {
	for name, write := range map[string]func(tx *client.Txn) error{
		"one phase": func(tx *client.Txn) error { return tx.Put([]byte("a"), numBytes(1)) },
		"add":       func(tx *client.Txn) error { return tx.Add([]byte("a"), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newTxnFixture(t)
			other, x := f.open(), f.asker()
			key := mvcc.Key([]byte("a"))
			l := &loser{memory: memory{f}}
			l.meanwhile = func() {
				if err := other.Update(t.Context(), func(tx *client.Txn) error { return tx.Put([]byte("a"), numBytes(7)) }); err != nil {
					t.Error(err)
				}
				rng := f.shards[0].Range
				rng.Start = shard.ModeRange(shard.ModeTxn).Start
				res, err := x.Do(key, &mvcc.GC{SafePoint: f.oracle.Next(), Range: rng, Limit: 1000})
				if err != nil || len(res.Rejected) > 0 || res.Count == 0 {
					t.Errorf("nothing was collected: %+v %v", res, err)
				}
			}
			db, err := client.Open(t.Context(), "node", client.WithWorld(env.Real{}, l))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(t.Context(), write); !errors.Is(err, client.ErrAmbiguous) {
				t.Errorf("told %v", err)
			}
		})
	}
}

// deaf executes the first addition and loses its answer, says of the next one that it must be done in two phases, and is
// silent about everything else.
type deaf struct {
	memory
	added atomic.Bool
}

func (d *deaf) Call(ctx context.Context, addr string, to shard.StoreID, req *call.Request) call.Reply {
	if req.Kind == call.Write && req.Body[0] == mvcc.KindAdd {
		if d.added.Load() {
			return call.Reply{Err: &shard.UseTwoPhaseError{Shard: req.Shard, Why: "placement was not heard in time"}}
		}
		if rep := d.memory.Call(ctx, addr, to, req); rep.Err != nil {
			return rep
		}
		d.added.Store(true)
	} else if req.Kind == call.Write && req.Body[0] != mvcc.KindRollback {
		return d.memory.Call(ctx, addr, to, req)
	}
	return call.Reply{Err: shard.ErrUnavailable}
}

// TestLostAndTwoPhases: an addition that may have been executed is not begun anew in two phases when its fate cannot be found
// out.
func TestLostAndTwoPhases(t *testing.T) {
	f := newTxnFixture(t)
	d := &deaf{memory: memory{f}}
	db, err := client.Open(t.Context(), "node", client.WithWorld(env.Real{}, d), client.WithRetryBudget(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(t.Context(), func(tx *client.Txn) error { return tx.Add([]byte("a"), 1) })
	if !errors.Is(err, client.ErrAmbiguous) {
		t.Errorf("told %v", err)
	}
	err = f.open().View(t.Context(), func(tx *client.Txn) error {
		v, err := tx.Get([]byte("a"))
		if err == nil && !bytes.Equal(v, numBytes(1)) {
			t.Errorf("it holds %d", v)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// questions counts them, and holds each until it is let go.
type questions struct {
	memory
	mu    sync.Mutex
	begun int
	gate  chan struct{}
}

func (q *questions) Timestamps(_ context.Context, _ string, n int) (uint64, error) {
	q.mu.Lock()
	q.begun++
	ts := q.oracle.Reserve(n)
	q.mu.Unlock()
	<-q.gate
	return uint64(ts), nil
}

func (q *questions) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.begun
}

// TestQuestionsBeginAfterTheirCallers: many callers share few questions for timestamps, and each of those began after all of
// its callers had come: every caller gets a timestamp above one that was issued right before it asked.
func TestQuestionsBeginAfterTheirCallers(t *testing.T) {
	f := newTxnFixture(t)
	q := &questions{memory: memory{f}, gate: make(chan struct{})}
	db, err := client.Open(t.Context(), "node", client.WithWorld(env.Real{}, q))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const callers = 200
	var wg sync.WaitGroup
	var mu sync.Mutex
	var came atomic.Int64
	seen := make(map[client.Timestamp]bool)
	for range callers {
		wg.Go(func() {
			q.mu.Lock()
			before := q.oracle.Next()
			q.mu.Unlock()
			came.Add(1)
			ts, err := db.Timestamp(t.Context())
			if err != nil || ts <= before {
				t.Errorf("%d after %d, %v", ts, before, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[ts] {
				t.Errorf("%d was given twice", ts)
			}
			seen[ts] = true
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for came.Load() < callers { // the first questions are under way, and held, while all others come
		time.Sleep(time.Millisecond)
	}
	for {
		select {
		case q.gate <- struct{}{}:
			continue
		case <-done:
		}
		break
	}
	if n := q.count(); n >= callers/2 {
		t.Errorf("%d questions for %d callers", n, callers)
	}
}
