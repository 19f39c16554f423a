package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/history"
)

// workload is one kind of operations, and what they must have seen.
type workload interface {
	name() string
	// begin prepares the keys, before anything is hurt.
	begin(ctx context.Context) error
	// one does an operation. The error is what the client was told; a violation goes to trial.
	one(ctx context.Context, w *worker) error
	// end judges what was not judged yet. Nobody works any more.
	end()
}

// worker is one client that does one operation after the other.
type worker struct {
	id, seq int
	rnd     *rand.Rand
	linear  *linearClient // of the register workload
}

// unique is a name that nobody else gives to anything.
func (w *worker) unique() string {
	w.seq++
	return fmt.Sprintf("c%d.%d", w.id, w.seq)
}

// tally counts what the clients of a workload were told.
type tally struct {
	done, ambiguous, refused atomic.Int64
}

func (t *tally) tell(err error) {
	switch {
	case err == nil:
		t.done.Add(1)
	case errors.Is(err, client.ErrAmbiguous):
		t.ambiguous.Add(1)
	default:
		t.refused.Add(1)
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d (%d ambiguous, %d refused)", t.done.Load(), t.ambiguous.Load(), t.refused.Load())
}

// fate is what a write's error says of it. A conflict is Refused.
func fate(err error) history.Fate {
	switch {
	case err == nil:
		return history.Done
	case errors.Is(err, client.ErrAmbiguous):
		return history.Open
	}
	return history.Refused
}

// trial gathers what must not be. Safe for concurrent use.
type trial struct {
	db   *client.DB
	ends atomic.Int64 // when patience is over, in Unix nanoseconds; zero while the run goes on

	mu         sync.Mutex
	violations []error
	judged     map[string]int // histories that were found good, by workload
	judges     sync.WaitGroup
}

func newTrial(db *client.DB) *trial { return &trial{db: db, judged: make(map[string]int)} }

// violated notes something that must not be.
func (t *trial) violated(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.violations = append(t.violations, fmt.Errorf(format, args...))
}

// found says what was violated so far.
func (t *trial) found() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.violations...)
}

// verdict notes the end of one history.
func (t *trial) verdict(work string, era int, err error) {
	if err != nil {
		t.violated("%s, era %d: %w", work, era, err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.judged[work]++
}

// read repeats a read that a judge needs until it works. A history whose last read never works is undecided, which is a
// violation: nothing is believed for want of evidence.
func (t *trial) read(f func(ctx context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := f(ctx)
		cancel()
		if err == nil {
			return nil
		}
		if end := t.ends.Load(); end != 0 && time.Now().UnixNano() > end {
			return fmt.Errorf("undecided: %w", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// eras cut a long run into histories that can be judged while the run goes on. Each era has keys of its own. An era is
// judged when all of its operations have returned; those that are ambiguous stay open for ever.
type eras[T any] struct {
	trial *trial
	work  string
	limit int // operations of an era
	make  func(era int) T
	judge func(era int, of T) error

	mu  sync.Mutex
	cur *era[T]
}

type era[T any] struct {
	of    T
	no, n int
	users sync.WaitGroup
}

// enter begins an operation in the current era; the caller ends it with users.Done.
func (e *eras[T]) enter() *era[T] {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cur == nil {
		e.cur = &era[T]{of: e.make(0)}
	}
	if e.cur.n >= e.limit {
		e.close(e.cur)
		e.cur = &era[T]{of: e.make(e.cur.no + 1), no: e.cur.no + 1}
	}
	e.cur.n++
	e.cur.users.Add(1)
	return e.cur
}

// close has an era judged once its operations have returned.
func (e *eras[T]) close(old *era[T]) {
	e.trial.judges.Go(func() {
		old.users.Wait()
		e.trial.verdict(e.work, old.no, e.judge(old.no, old.of))
	})
}

// end has the last era judged.
func (e *eras[T]) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cur != nil {
		e.close(e.cur)
		e.cur = nil
	}
}
