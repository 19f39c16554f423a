package cluster

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// slowLines keeps what stores log of slow operations: of each line the numbers and the words.
type slowLines struct {
	slog.Handler
	mu    *sync.Mutex
	lines *[]slowLine
}

type slowLine struct {
	ms   map[string]float64 // by stage, and total
	text map[string]string
}

func newSlowLines() *slowLines {
	return &slowLines{Handler: slog.DiscardHandler, mu: &sync.Mutex{}, lines: new([]slowLine)}
}

func (*slowLines) Enabled(context.Context, slog.Level) bool { return true }

func (h *slowLines) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "slow operation" {
		return nil
	}
	l := slowLine{ms: map[string]float64{}, text: map[string]string{}}
	r.Attrs(func(a slog.Attr) bool {
		if name, ok := strings.CutSuffix(a.Key, "_ms"); ok {
			l.ms[name] = a.Value.Float64()
		} else {
			l.text[a.Key] = a.Value.String()
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.lines = append(*h.lines, l)
	return nil
}

// of waits for the line about what was done to a key.
func (h *slowLines) of(c *Cluster, op, key string) (out slowLine) {
	c.T.Helper()
	c.WaitFor("a line about "+op+" "+key, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, l := range *h.lines {
			if l.text["op"] == op && l.text["key"] == key {
				out = l
				return true
			}
		}
		return false
	})
	return out
}

// TestSlowOperationsNameTheStage: whatever it is that holds an operation up for a while, the line about it says so: that
// stage has most of the time, and all stages together have all of it. The reply of who asked says the same.
func TestSlowOperationsNameTheStage(t *testing.T) {
	t.Parallel()
	const hold = 500 * time.Millisecond
	log, oracle := newSlowLines(), &Oracle{}
	c := New(t, Options{Store: func(o *raftstore.Options) {
		// An election timeout is far longer than what is held up here: nobody loses its leadership meanwhile.
		o.ElectionTicks, o.NoSleep = 150, true
		o.SlowOperation, o.Logger = hold/2, slog.New(log)
		oracle.Into(o)
	}})
	d := c.opt.Shards[0]
	lead := c.Leader(d.ID)
	op := uint64(0)
	put := func(key string) *call.Request {
		op++
		_, ref := c.refresh(d)
		cmd := raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte(key)), Value: []byte("v")}}}
		return &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Term: ref.Term, Since: ref.Applied,
			Op: call.OpID{Client: 7, Seq: op}, Trace: true, Body: cmd.Append(nil)}
	}
	get := func(key string) *call.Request {
		q := raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte(key))}}
		return &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Trace: true, Body: q.Append(nil)}
	}
	lock := func(key string, wait call.LockWait) (*call.Request, mvcc.Timestamp) {
		k, ts := mvcc.Key([]byte(key)), oracle.Next()
		return &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Wait: wait, Trace: true, Timeout: 10 * time.Second,
			Body: mvcc.NewPessimisticLock(ts, ts, k, 20_000, k).Append(nil)}, ts
	}
	rollback := func(key string, ts mvcc.Timestamp) {
		cmd := mvcc.NewPessimisticRollback(ts, ts, mvcc.Key([]byte(key)))
		if rep := c.Do(lead, &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Body: cmd.Append(nil)}); rep.Err != nil {
			t.Fatal(rep.Err)
		}
	}
	own := c.Stores[lead].Disk
	for _, what := range []struct {
		op, key string
		stage   call.Stage
		req     func() *call.Request
		hold    func() (release func())
	}{
		// The first read of all: there is no lease yet.
		{"get", "confirmed", call.StageConfirm, func() *call.Request { return get("confirmed") }, func() func() {
			c.Net.SetFilter(func(_, to shard.StoreID, _ []byte) bool { return to != lead })
			return func() { c.Net.SetFilter(nil) }
		}},
		{"put", "own disk", call.StageFsync, func() *call.Request { return put("own disk") }, func() func() {
			own.Hang()
			return own.Release
		}},
		{"put", "other disks", call.StageReplication, func() *call.Request { return put("other disks") }, func() func() {
			for _, id := range others(lead) {
				c.Stores[id].Disk.Hang()
			}
			return func() {
				for _, id := range others(lead) {
					c.Stores[id].Disk.Release()
				}
			}
		}},
		{"pessimistic lock", "held", call.StageLock, func() *call.Request {
			req, _ := lock("held", call.WaitAny)
			return req
		}, func() func() {
			first, ts := lock("held", call.WaitNot)
			if rep := c.Do(lead, first); rep.Err != nil {
				t.Fatal(rep.Err)
			}
			return func() { rollback("held", ts) }
		}},
	} {
		req := what.req
		release := what.hold()
		done := make(chan call.Reply, 1)
		go func(r *call.Request) { done <- c.Do(lead, r) }(req())
		time.Sleep(hold)
		release()
		rep := <-done
		if rep.Err != nil || rep.Stages == nil {
			t.Fatalf("%s %s: %v, stages %v", what.op, what.key, rep.Err, rep.Stages)
		}
		if req().Kind == call.Write && rep.Stages[call.StageApply] == 0 {
			t.Errorf("%s %s was applied in no time", what.op, what.key)
		}
		line, sum := log.of(c, what.op, what.key), 0.0
		for st, d := range rep.Stages {
			name := call.Stage(st).String()
			sum += line.ms[name]
			if math.Abs(line.ms[name]-float64(d)/1e6) > 0.1 {
				t.Errorf("%s %s: the line has %v ms in %s, the reply %v", what.op, what.key, line.ms[name], name, d)
			}
			if call.Stage(st) != what.stage && line.ms[name] > line.ms[what.stage.String()] {
				t.Errorf("%s %s: held up in %s, but the line is %v", what.op, what.key, what.stage, line)
			}
		}
		if math.Abs(sum-line.ms["total"]) > 1 || line.text["shard"] != req().Shard.String() || line.text["replica"] == "" {
			t.Errorf("%s %s: the stages are %.1f ms together: %v", what.op, what.key, sum, line)
		}
	}
	for _, n := range c.Stores[lead].Store.Counters() {
		if n.Name == "slow_operations_total" && n.Value < 4 {
			t.Errorf("%d slow operations were counted", n.Value)
		}
	}
}
