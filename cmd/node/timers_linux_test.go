package node

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCoarseTimers: all threads of a process that called CoarseTimers have its slack, the ones of the runtime too, and the process is
// what it was before: its number, its arguments, its environment. One that has slack already is not executed anew, and neither is one
// that was so already, which is told.
func TestCoarseTimers(t *testing.T) {
	if runs, err := strconv.Atoi(os.Getenv(coarseChild)); err == nil {
		coarse(t, runs)
		return
	}
	t.Setenv(coarseChild, "1")
	const fine = 50 * time.Microsecond
	for _, c := range []struct {
		what         string
		slack, after time.Duration
		args         []string
		want         string
	}{
		{"fine timers", fine, timerSlack, nil, "executed 2 times"},
		{"slack from outside", 3 * timerSlack, 3 * timerSlack, nil, "executed 1 times"},
		{"a system that forgets", fine, fine, []string{"forgets"}, "the timers' slack of 1ms is lost when a program is executed"},
	} {
		args := append([]string{"-test.run=^TestCoarseTimers$"}, c.args...)
		cmd := exec.Command(os.Args[0], args...)
		out, err := startWithSlack(cmd, c.slack)
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.what, err, out)
		}
		want := fmt.Sprintf("process %d [%s] slack %v: %s\n", cmd.Process.Pid, strings.Join(args, " "), c.after, c.want)
		if !strings.HasPrefix(out, want) {
			t.Errorf("%s: got %swant %s", c.what, out, want)
		}
	}
}

// startWithSlack runs cmd as the child of a thread with this slack.
func startWithSlack(cmd *exec.Cmd, d time.Duration) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(old), 0, 0, 0) }()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d), 0, 0, 0); err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// coarseChild names the variable that makes TestCoarseTimers a process that it looks at; it counts executions.
const coarseChild = "NODE_TEST_COARSE"

// coarse is such a process.
func coarse(t *testing.T, runs int) {
	t.Setenv(coarseChild, strconv.Itoa(runs+1)) // seen if it is executed anew
	if os.Args[len(os.Args)-1] == "forgets" {
		t.Setenv(executedAnew, strconv.Itoa(os.Getpid()))
	}
	says := fmt.Sprintf("executed %d times", runs)
	if err := CoarseTimers(); err != nil {
		says = err.Error()
	}
	if v, ok := os.LookupEnv(executedAnew); ok {
		says = executedAnew + "=" + v + " is left"
	}
	fmt.Printf("process %d %v slack %v: %s\n", os.Getpid(), os.Args[1:], slackOfThreads(t), says)
}

// slackOfThreads is what some threads have, all the same.
func slackOfThreads(t *testing.T) (all time.Duration) {
	var mu sync.Mutex
	var wg, met sync.WaitGroup
	const threads = 8
	met.Add(threads)
	for range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			met.Done()
			met.Wait() // each has a thread of its own
			slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
			mu.Lock()
			defer mu.Unlock()
			if d := time.Duration(slack); err != nil || all != 0 && d != all {
				t.Errorf("a thread has a slack of %v, another of %v: %v", d, all, err)
			}
			all = time.Duration(slack)
		})
	}
	wg.Wait()
	return all
}
