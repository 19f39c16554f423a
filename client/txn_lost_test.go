package client_test

import (
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
	ts := q.oracle.Next()
	for range n - 1 {
		q.oracle.Next()
	}
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
