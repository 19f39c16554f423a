// Command skerry is everything that Skerry has in one binary: nodes, a playground, a client for the shell, import and
// export, a load generator, and the administrator's tools.
//
// Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 an error, 3 no such key
// (`skerry get`); `skerry ctl status` has 0 healthy, 1 degraded, 2 unavailable.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/vbauerster/mpb/v8/cwriter"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/rpc"
)

func main() {
	a := &app{name: os.Args[0], in: os.Stdin, out: os.Stdout, err: os.Stderr, registry: settings()}
	a.fineTimers = a.coarsen(os.Args[1:]) // a signal that was heard would be lost with the program that is left
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to stop in order; after it the second one kills as if nobody listened.
	context.AfterFunc(ctx, stop)
	rpc.ShareBuffers()
	os.Exit(a.run(ctx, os.Args[1:]))
}

// app is one run of the command: the three streams and the table of settings. Commands are made from it, so that a test
// can run many side by side in one process.
type app struct {
	name     string // as it was called, for the commands that we suggest
	in       io.Reader
	out, err io.Writer
	registry *config.Registry
	// fineTimers is why the process of a node has fine timers, which it should not.
	fineTimers error
}

// The exit codes that say more than "an error".
const (
	exitError    = 1
	exitNotFound = 3
)

// exitWith ends the process with a code. A nil err prints nothing more.
type exitWith struct {
	code int
	err  error
}

func (e *exitWith) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitWith) Unwrap() error { return e.err }

// run executes one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var exit *exitWith
	if errors.As(err, &exit) {
		if exit.err != nil {
			fmt.Fprintln(a.err, "skerry:", explain(exit.err))
		}
		return exit.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = fault.New(fault.Interrupted, "interrupted")
	}
	fmt.Fprintln(a.err, "skerry:", explain(err))
	return exitError
}

// explain is the text of an error for people, in one line. What the client tried again and again had mostly one reason;
// the last one is enough.
func explain(err error) string {
	text := err.Error()
	if ce, ok := errors.AsType[*client.Error](err); ok && len(ce.Reasons) > 1 {
		short := *ce
		short.Reasons = ce.Reasons[len(ce.Reasons)-1:]
		text = strings.Replace(text, ce.Error(), short.Error(), 1)
	}
	if code := string(fault.Of(err)); code != "" && !strings.Contains(text, code) {
		text += " [" + code + "]"
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

// isTerminal reports whether w is a screen, where a progress bar may be drawn.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && cwriter.IsTerminal(int(f.Fd()))
}
