package raftstore

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

const (
	// maxSlowLines bounds the lines about slow operations in a second: when everything is slow, some say why.
	maxSlowLines = 10
	// maxSlowKeyBytes of a key stand in such a line.
	maxSlowKeyBytes = 64
)

// The names of what transactions and reads do.
var (
	txnKinds = map[byte]string{mvcc.KindPrewrite: "prewrite", mvcc.KindCommit: "commit", mvcc.KindRollback: "rollback",
		mvcc.KindCheckStatus: "check status", mvcc.KindCheckSecondaries: "check secondaries", mvcc.KindResolve: "resolve",
		mvcc.KindHeartbeat: "heartbeat", mvcc.KindPessimisticLock: "pessimistic lock",
		mvcc.KindPessimisticRollback: "pessimistic rollback", mvcc.KindGC: "collect", mvcc.KindAdd: "add"}
	txnQueries = map[mvcc.QueryKind]string{mvcc.Get: "get at", mvcc.Scan: "scan at", mvcc.ScanLocks: "scan locks",
		mvcc.Resolved: "resolved", mvcc.Checksum: "checksum at"}
	rawQueries = map[raw.QueryKind]string{raw.Get: "get", raw.Scan: "scan", raw.Checksum: "checksum"}
)

// slowLog writes a line about an operation that took longer than Bounds.SlowOperation, with where the time went.
type slowLog struct {
	store *Store

	mu      sync.Mutex // leaf
	second  env.Time   // when the current one began
	lines   int        // written in it
	leftOut uint64     // since the last line
}

// admit says whether a line may be written now, and how many were not since the last one.
func (l *slowLog) admit(now env.Time) (leftOut uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.second == 0 || now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines >= maxSlowLines {
		l.leftOut++
		return 0, false
	}
	l.lines++
	leftOut, l.leftOut = l.leftOut, 0
	return leftOut, true
}

// mayBeSlow leaves out what asks in order to wait (for changes to a range), and what asks about another operation.
func (c *Call) mayBeSlow() bool {
	return c.Req.Kind == call.Write || c.Req.Kind == call.Read && (c.txn == nil || c.txn.query == nil || c.txn.query.Kind != mvcc.Changes)
}

// note writes the line.
func (l *slowLog) note(c *Call, took time.Duration, err error) {
	l.store.metrics.slowOperations.Add(1)
	leftOut, ok := l.admit(c.spent.began.Add(took))
	if !ok {
		return
	}
	what, key, more := describe(c)
	attrs := []slog.Attr{slog.String("shard", c.Req.Shard.String())}
	if r := l.store.replica(c.Req.Shard); r != nil {
		attrs = append(attrs, slog.String("replica", r.self.String()))
	}
	attrs = append(attrs, slog.String("op", what), slog.String("key", cutKey(key)))
	if more > 0 {
		attrs = append(attrs, slog.Int("more_keys", more))
	}
	attrs = append(attrs, slog.Int("bytes", len(c.Req.Body)), slog.Float64("total_ms", millis(took)))
	for i, d := range c.spent.stages() {
		if st := call.Stage(i); d > 0 || always(c.Req.Kind, st) {
			attrs = append(attrs, slog.Float64(st.String()+"_ms", millis(d)))
		}
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	if leftOut > 0 {
		attrs = append(attrs, slog.Uint64("left_out", leftOut))
	}
	l.store.logger.LogAttrs(context.Background(), slog.LevelWarn, "slow operation", attrs...)
}

// always are the stages that every operation of a kind is shown with.
func always(k call.Kind, st call.Stage) bool {
	switch st {
	case call.StageQueue:
		return true
	case call.StageFsync, call.StageReplication, call.StageApply:
		return k == call.Write
	case call.StageConfirm, call.StageCatchUp, call.StageRead:
		return k == call.Read
	}
	return false
}

// millis rounds to a tenth of a millisecond.
func millis(d time.Duration) float64 { return math.Round(float64(d)/1e5) / 10 }

// cutKey is a user's key as it stands in a line: what cannot be printed escaped, and cut.
func cutKey(k shard.Key) string {
	u := k.User()
	if user, ok := mvcc.UserKey(k); ok {
		u = user
	}
	n := len(u)
	text := strconv.Quote(string(u[:min(n, maxSlowKeyBytes)]))
	text = text[1 : len(text)-1]
	if n > maxSlowKeyBytes {
		text += "..."
	}
	return text
}

// describe says what a call does, with its first key or the start of its range, and how many more keys it names.
func describe(c *Call) (what string, key shard.Key, more int) {
	switch {
	case c.txn != nil && c.txn.cmd != nil:
		n := 0
		c.txn.cmd.Keys(func(k shard.Key) {
			if n == 0 {
				key = k
			}
			n++
		})
		if n == 0 {
			key = c.txn.cmd.Span().Start
		}
		return txnKinds[c.Req.Body[0]], key, max(0, n-1)
	case c.txn != nil && c.txn.query != nil:
		q := c.txn.query
		if len(q.Keys) > 0 {
			return txnQueries[q.Kind], q.Keys[0], len(q.Keys) - 1
		}
		return txnQueries[q.Kind], q.Range.Start, 0
	case c.query != nil:
		q := c.query
		if len(q.Keys) > 0 {
			return rawQueries[q.Kind], q.Keys[0], len(q.Keys) - 1
		}
		return rawQueries[q.Kind], q.Range.Start, 0
	}
	cmd, err := raw.DecodeCommand(c.Req.Body)
	if err != nil || len(cmd.Ops) == 0 {
		return "write", nil, 0
	}
	if len(cmd.Ops) == 1 {
		return cmd.Ops[0].Kind.String(), cmd.Ops[0].Key, 0
	}
	return "batch", cmd.Ops[0].Key, len(cmd.Ops) - 1
}
