package still

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWatch: threads that are still more urgent than the watcher take all processors for a while.
func TestWatch(t *testing.T) {
	cpus, err := processors()
	if err != nil {
		t.Fatal(err)
	}
	allowed := make(chan error)
	go func() { allowed <- alone(cpus[0], 1) }() // and its thread ends
	if err := <-allowed; errors.Is(err, unix.EPERM) {
		t.Skip(err)
	}
	w, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(len(cpus) + 1))
	const lasts = 100 * time.Millisecond
	from, to := take(t, cpus, lasts)
	const enough = lasts * 9 / 10
	var stood time.Duration
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && stood < enough; time.Sleep(10 * time.Millisecond) {
		stood = Within(w.Spells(), from, to)
	}
	if stood < enough {
		t.Errorf("of %s without a processor %s were seen", lasts, stood)
	}
}

// take runs on processors, before everything else, and returns from when to when it had all of them: for d since it had the last one.
// A thread that has its processor waits for the others in naps of its own, see sleep: whoever waited for another goroutine could depend on
// a thread that waits for that very processor.
func take(t *testing.T, cpus []int, d time.Duration) (from, to time.Time) {
	t.Helper()
	var here, running atomic.Int32 // threads
	var end atomic.Pointer[time.Time]
	failed := make(chan error, len(cpus))
	for _, cpu := range cpus {
		go func() {
			err := alone(cpu, 2) // and the thread ends with the goroutine
			for here.Add(1); int(here.Load()) < len(cpus); {
				sleep(nap / 10)
			}
			now := time.Now()
			if int(running.Add(1)) == len(cpus) {
				until := now.Add(d)
				end.Store(&until)
			}
			for until := end.Load(); err == nil && (until == nil || now.Before(*until)); until = end.Load() {
				now = time.Now()
			}
			failed <- err
		}()
	}
	for range cpus {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	to = *end.Load()
	return to.Add(-d), to
}
