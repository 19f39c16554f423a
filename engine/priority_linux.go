package engine

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// lowerPriority puts the calling goroutine on a thread of its own that is nicer than the process by so much. The thread ends with the
// goroutine: the system lets only those with rights take the step back, and Go makes no other threads from one that is locked. The
// process's first thread cannot end, and what is seen of a process is its; a goroutine that happens to run there stays as it is.
func lowerPriority(by int) {
	runtime.LockOSThread()
	if onMainThread() {
		runtime.UnlockOSThread()
		return
	}
	if nice, err := niceness(); err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), min(mostNice, nice+by))
	}
}

// threadTime is how much of the processor the calling thread has used.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// mostNice is as far as the system goes.
const mostNice = 19

// niceness is how nice the calling thread is.
func niceness() (int, error) {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // from 1 to 40, because the call has its errors below
	return 20 - raw, err
}

func onMainThread() bool { return unix.Gettid() == os.Getpid() }
