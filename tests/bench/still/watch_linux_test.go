package still

import (
	"errors"
	"runtime"
	"sync"
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
	from, to := take(t, cpus, 100*time.Millisecond)
	enough := to.Sub(from) * 9 / 10
	var stood time.Duration
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && stood < enough; time.Sleep(10 * time.Millisecond) {
		stood = Within(w.Spells(), from, to)
	}
	if stood < enough || enough <= 0 {
		t.Errorf("of %s without a processor %s were seen", to.Sub(from), stood)
	}
}

// take runs on processors, before everything else, and returns from when to when it had all of them.
func take(t *testing.T, cpus []int, d time.Duration) (from, to time.Time) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	from, to = time.Time{}, time.Now().Add(time.Hour)
	ready, begin := make(chan struct{}, len(cpus)), make(chan struct{})
	for _, cpu := range cpus {
		wg.Go(func() {
			err := alone(cpu, 2) // and the thread ends with the goroutine
			ready <- struct{}{}
			<-begin
			began := time.Now()
			now := began
			for err == nil && now.Sub(began) < d {
				now = time.Now()
			}
			mu.Lock()
			defer mu.Unlock()
			from, to = later(from, began), earlier(to, now)
			if err != nil {
				failed = err
			}
		})
	}
	for range cpus {
		<-ready
	}
	close(begin)
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	return from, to
}
