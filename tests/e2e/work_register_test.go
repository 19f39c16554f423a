package e2e

import (
	"context"
	"time"

	"github.com/skerrydb/skerry/tests/history"
)

// porcupinePatience is how long the judge may think about one era. It needs milliseconds unless too much is ambiguous.
const porcupinePatience = 2 * time.Minute

// registers is the workload of TestLinearizable: reads, writes, conditions, batches and pages on groups of two keys.
type registers struct{ eras eras[*history.Recorder] }

func newRegisters(t *trial) *registers {
	r := &registers{}
	r.eras = eras[*history.Recorder]{trial: t, work: r.name(), limit: 250 * linearGroups,
		make:  func(int) *history.Recorder { return history.NewRecorder() },
		judge: func(_ int, rec *history.Recorder) error { return rec.Err(porcupinePatience) }}
	return r
}

func (*registers) name() string                  { return "register" }
func (*registers) begin(_ context.Context) error { return nil }
func (r *registers) end()                        { r.eras.end() }

func (r *registers) one(_ context.Context, w *worker) error {
	e := r.eras.enter()
	defer e.users.Done()
	w.linear.rec, w.linear.era = e.of, e.no
	return w.linear.one()
}
