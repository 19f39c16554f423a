package engine

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	pb "go.etcd.io/raft/v3/raftpb"
)

// LogBatch collects what one pass of a worker appends to the logs of many shards. It is filled, committed, and waited
// for, once each.
//
// INVARIANT: a replica's responses leave only after Wait returned, because they promise that what the batch holds is on
// disk. Batches are waited for in the order in which they were committed, also empty ones: a response without entries
// of its own may promise what an earlier batch holds.
type LogBatch struct {
	e         *Engine
	b         *pebble.Batch // nil until something is written
	appends   []logAppend
	err       error // of filling; returned by Commit
	committed time.Time
	seq       uint64 // of its last operation, if Options.Synced asks for it
}

// logAppend is what becomes visible in a Log at Commit.
type logAppend struct {
	l       *Log
	entries []*pb.Entry
}

// NewLogBatch makes an empty batch.
func (e *Engine) NewLogBatch() *LogBatch { return &LogBatch{e: e} }

func (b *LogBatch) batch() *pebble.Batch {
	if b.b == nil {
		b.b = b.e.db.NewBatch()
	}
	return b.b
}

func (b *LogBatch) note(err error) {
	if err != nil && b.err == nil {
		b.err = err
	}
}

// Append writes the entries of one MsgStorageAppend, which have no gap and join on to the log or overwrite its end. If
// term or vote changed, hs holds the new hard state, else it is nil. commit is the commit index of the message; it goes
// into every entry's value, so that it need not be written alone. The batch keeps entries until Commit, and the log's
// tail keeps them afterwards: they must not be changed.
func (b *LogBatch) Append(l *Log, entries []*pb.Entry, hs *HardState, commit uint64) {
	if hs != nil {
		b.SetHardState(l, *hs)
	}
	l.hard.Commit = max(l.hard.Commit, commit)
	if len(entries) == 0 {
		return
	}
	first, last := entries[0].GetIndex(), entries[len(entries)-1].GetIndex()
	if first <= l.trunc.index || first > l.written+1 || last-first != uint64(len(entries)-1) {
		b.note(fmt.Errorf("append entries %d to %d (%d of them) to the log of %s, which holds %d to %d",
			first, last, len(entries), l.shard, l.trunc.index+1, l.written))
		return
	}
	for _, e := range entries {
		b.put(l, e, commit)
	}
	// INVARIANT: what lies behind the last entry of an append is deleted with it, in the order of the appends. Otherwise
	// LastIndex would name entries of a leader that lost, once raft's own memory of the log is empty.
	if last < l.written {
		s := keys.LogBetween(l.shard, last+1, l.written)
		b.note(b.batch().DeleteRange(s.Start, s.End, nil))
	}
	l.written = last
	b.appends = append(b.appends, logAppend{l: l, entries: entries})
}

func (b *LogBatch) put(l *Log, e *pb.Entry, commit uint64) {
	h := logHeader{commit: commit, term: e.GetTerm(), typ: e.GetType()}
	op := b.batch().SetDeferred(keys.LogLen, logValueLen(h.commit, h.term, len(e.GetData())))
	keys.AppendLog(op.Key[:0], l.shard, e.GetIndex())
	putLogValue(op.Value, op.Key, h, e.GetData())
	b.note(op.Finish())
}

// SetHardState writes a hard state.
func (b *LogBatch) SetHardState(l *Log, hs HardState) {
	l.hard = hs
	k := keys.State(l.shard, keys.StateHard)
	b.note(b.batch().Set(k, hardRecord{replica: l.replica, hard: hs, base: l.base}.encode(k), nil))
}

// Empty reports whether there is nothing to commit.
func (b *LogBatch) Empty() bool { return b.b == nil && b.err == nil }

// Bytes is the size of the batch in the write-ahead log.
func (b *LogBatch) Bytes() int {
	if b.b == nil {
		return 0
	}
	return b.b.Len()
}

// Commit writes the batch. The logs show it at once; it is on disk when Wait returns.
func (b *LogBatch) Commit() error {
	b.committed = time.Now()
	if b.err != nil {
		return b.e.fail(b.err)
	}
	if b.b == nil {
		return b.e.check()
	}
	err := b.e.write("append to raft logs", func() error { return b.e.db.ApplyNoSyncWait(b.b, pebble.Sync) })
	if err != nil {
		b.b = nil // whether Pebble still uses it is not known
		return err
	}
	b.seq = b.e.seqOf(b.b)
	for _, a := range b.appends {
		end := a.entries[len(a.entries)-1]
		a.l.last = position{index: end.GetIndex(), term: end.GetTerm()}
		b.e.tails.append(&a.l.tail, a.entries)
	}
	b.appends = nil
	return nil
}

// Wait returns when the batch, and every batch committed before it, is on disk, and gives up the batch's memory. It is
// called once after a Commit that succeeded, in the order of commits.
func (b *LogBatch) Wait() error {
	if b.b == nil {
		return b.e.check()
	}
	err := b.b.SyncWait()
	if err == nil {
		b.e.syncs.add(time.Since(b.committed))
		err = b.b.Close()
	}
	b.b = nil
	if err != nil {
		return b.e.fail(fmt.Errorf("sync raft logs: %w", err))
	}
	b.e.noteSynced(b.seq)
	return b.e.check()
}
