package history

import (
	"fmt"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Recorder gathers the operations of all clients. Safe for concurrent use.
type Recorder struct {
	begun time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// NewRecorder begins a history.
func NewRecorder() *Recorder { return &Recorder{begun: time.Now()} }

// Now is the time of the history, for the beginning of an operation.
func (r *Recorder) Now() int64 { return int64(time.Since(r.begun)) }

// Add notes an operation that has ended. An ambiguous one stays open to the end of the history: it may take effect at
// any time after its beginning.
func (r *Recorder) Add(client int, begun int64, in Input, out Output) {
	end := r.Now()
	if out.Ambiguous {
		end = math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: begun, Return: end})
}

// Len counts the operations.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// Check fails the test if the history is not linearizable, or if the checker cannot tell within patience.
func (r *Recorder) Check(t testing.TB, patience time.Duration) {
	t.Helper()
	if err := r.Err(patience); err != nil {
		t.Fatal(err)
	}
}

// Err says that the history is not linearizable, or that the checker cannot tell within patience: an undecided history
// proves nothing. A picture of a bad history is left in a file, which is named.
func (r *Recorder) Err(patience time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := porcupine.CheckOperationsTimeout(Model, r.ops, patience)
	if res == porcupine.Ok {
		return nil
	}
	where := "no file could be written"
	if f, err := os.CreateTemp("", "skerry-history-*.html"); err == nil {
		_, info := porcupine.CheckOperationsVerbose(Model, r.ops, patience)
		if porcupine.Visualize(Model, info, f) == nil {
			where = f.Name()
		}
		_ = f.Close()
	}
	return fmt.Errorf("history of %d operations is %s; see %s", len(r.ops), res, where)
}
