package still

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch writes the number of processors, then a line for each time at which one of them ran nothing: its place among them, from when
// to when, in nanoseconds since 1970. It returns if it cannot begin.
func watch(out io.Writer) error {
	cpus, err := processors()
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(len(cpus) + 1) // the threads keep theirs while they sleep
	var mu sync.Mutex                 // of out
	mu.Lock()                         // until the first line
	ready := make(chan error, len(cpus))
	for i, cpu := range cpus {
		go func() {
			ready <- alone(cpu, 1)
			for {
				due := time.Now().Add(nap)
				sleep(nap)
				if now := time.Now(); now.Sub(due) > late {
					mu.Lock()
					_, _ = fmt.Fprintln(out, i, due.UnixNano(), now.UnixNano())
					mu.Unlock()
				}
			}
		}()
	}
	for range cpus {
		if err := <-ready; err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out, "cpus", len(cpus)); err != nil {
		return err
	}
	mu.Unlock()
	select {} // it is killed
}

// processors are those on which this process may run.
func processors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("processors: %w", err)
	}
	var out []int
	for cpu := 0; len(out) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			out = append(out, cpu)
		}
	}
	return out, nil
}

// alone binds the calling goroutine to a thread on one processor that gives way to nobody of a lower real-time priority.
func alone(cpu int, priority uint32) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("processor %d: %w", cpu, err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("real-time priority: %w", err)
	}
	return nil
}

// sleep is nanosleep(2), of which Go's scheduler is not told, so that the thread needs nobody to go on.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = syscall.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
