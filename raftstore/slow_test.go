package raftstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestSlowLog shows the lines about slow operations. Input: what was done, then "stage ms" in the order in which the stages
// ended, then words such as err= and again=.
func TestSlowLog(t *testing.T) {
	var out bytes.Buffer
	s := &Store{id: 1, logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))}
	s.slow.store = s
	s.replicas.Store(shard.ID(7), &replica{id: 7, self: 70})
	stages := map[string]call.Stage{}
	for i := range call.Stage(call.NumStages) {
		stages[i.String()] = i
	}
	now := env.Time(1000 * time.Second)
	datadriven.RunTest(t, "testdata/slow.txt", func(t *testing.T, d *datadriven.TestData) string {
		out.Reset()
		s.SetBounds(Bounds{SlowOperation: 500 * time.Millisecond})
		c := slowCall(d.Cmd)
		c.spent = s.startStopwatch(now)
		rep, times := call.Reply{}, 1
		for line := range strings.Lines(d.Input) {
			var name string
			var ms float64
			switch n, _ := fmt.Sscanf(line, "%s %f", &name, &ms); {
			case name == "error":
				rep.Err = errors.New(strings.TrimSpace(line[len("error "):]))
			case n == 2 && name == "times":
				times = int(ms)
			case n == 2 && name == "pause":
				now = now.Add(time.Duration(ms * float64(time.Millisecond)))
				c.spent.began = now
			case n == 2 && name == "threshold":
				s.SetBounds(Bounds{SlowOperation: time.Duration(ms) * time.Millisecond})
			default:
				c.spent.in = stages[name]
				now = now.Add(time.Duration(ms * float64(time.Millisecond)))
				c.spent.enter(c.spent.in, now)
			}
		}
		c.spent.stop(now)
		for range times {
			c.timed(&rep)
		}
		return fmt.Sprintf("%scounted: %d", out.String(), s.metrics.slowOperations.Swap(0))
	})
}

// slowCall is the call that a line is about.
func slowCall(what string) *Call {
	write := func(body []byte) *Call {
		return &Call{Ask: call.Ask{Req: &call.Request{Kind: call.Write, Shard: 7, Body: body}}}
	}
	k := func(text string) shard.Key { return shard.RawKey([]byte(text)) }
	switch what {
	case "put":
		cmd := raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: k("user/42"), Value: []byte("ada")}}}
		return write(cmd.Append(nil))
	case "batch":
		cmd := raw.Command{Ops: []raw.Op{{Kind: raw.Delete, Key: k("a\x00\xff")}, {Kind: raw.Put, Key: k("b")}, {Kind: raw.Put, Key: k("c")}}}
		return write(cmd.Append(nil))
	case "put-long-key":
		cmd := raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: k(strings.Repeat("0123456789", 20))}}}
		return write(cmd.Append(nil))
	case "lock":
		key := mvcc.Key([]byte("account/1"))
		cmd := mvcc.NewPessimisticLock(2, 2, key, 1000, key)
		c := write(cmd.Append(nil))
		c.txn = &txnCall{cmd: cmd}
		return c
	case "scan":
		q := &raw.Query{Kind: raw.Scan, Range: shard.Range{Start: k("user/"), End: k("user0")}}
		return &Call{Ask: call.Ask{Req: &call.Request{Kind: call.Read, Shard: 7, Body: q.Append(nil)}}, query: q}
	case "changes":
		return &Call{Ask: call.Ask{Req: &call.Request{Kind: call.Read, Shard: 7}}, txn: &txnCall{query: &mvcc.Query{Kind: mvcc.Changes}}}
	}
	return &Call{Ask: call.Ask{Req: &call.Request{Kind: call.Outcome, Shard: 7}}}
}

// TestStopwatch: the stages of a call are all of its time, whatever the clocks were that were read for it: also one from
// before the current stage, as that of a sync that ended while the worker was busy, and one from beyond its end.
func TestStopwatch(t *testing.T) {
	at := func(ms int) env.Time { return env.Time(time.Hour) + env.Time(ms)*env.Time(time.Millisecond) }
	w := stopwatch{began: at(0)}
	w.enter(call.StageFsync, at(10))
	w.enter(call.StageQueue, at(5)) // began nothing that was not over
	w.enter(call.StageReplication, at(30))
	w.enter(call.StageApply, at(100))
	w.stop(at(101))
	w.stop(at(500))
	want := call.Stages{call.StageQueue: 30 * time.Millisecond, call.StageReplication: 70 * time.Millisecond, call.StageApply: time.Millisecond}
	if got := w.stages(); *got != want || got.Total() != 101*time.Millisecond {
		t.Errorf("%v, want %v", *got, want)
	}
	w = stopwatch{began: at(0)}
	w.stop(at(0).Add(100 * time.Hour))
	if got := w.stages().Total(); got < 71*time.Minute || got > 72*time.Minute {
		t.Errorf("100 hours are %s", got)
	}
}
