package node

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the system may wake a thread that sleeps. Its own 50 µs make a busy processor leave one process for another
// thousands of times a second, because Go's runtime looks after its threads every 20 µs for as long as some of them wait for a disk.
const timerSlack = time.Millisecond

// executedAnew names the variable of the environment that holds the number of the process that CoarseTimers executed anew already.
const executedAnew = "_SKERRY_EXECUTED_ANEW"

// CoarseTimers lets the timers of this process be late by timerSlack, for which it executes the program anew, with the same arguments
// and number: a thread passes its slack on to those that it starts and to what it executes, others' is none of its business, and Go's
// runtime has started some before a program begins. So it is to be called before anything else is begun. An error means that all goes on with fine timers; so
// it does where the system does not know slack. Who was started with as much slack, or more, stays as it is (systemd: TimerSlackNSec).
func CoarseTimers() error {
	done := os.Getenv(executedAnew) == strconv.Itoa(os.Getpid())
	if err := os.Unsetenv(executedAnew); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack >= int(timerSlack) {
		return err
	}
	if done {
		return fmt.Errorf("the timers' slack of %v is lost when a program is executed", timerSlack)
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0); err != nil {
		return err
	}
	err = syscall.Exec(path, os.Args, append(os.Environ(), executedAnew+"="+strconv.Itoa(os.Getpid())))
	return fmt.Errorf("execute %s anew: %w", path, err)
}
