package engine

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine/journal"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/bug"
)

// LogBatch collects what one pass of a worker appends to the logs of many shards. It is filled, committed, and waited
// for, once each. Entries go to the journal, terms and votes to the database; a store whose cluster has no version for that
// yet has both in the database.
//
// INVARIANT: a replica's responses leave only after Wait returned, because they promise that what the batch holds is on
// disk. Batches are waited for in the order in which they were committed, also empty ones: a response without entries
// of its own may promise what an earlier batch holds.
type LogBatch struct {
	e         *Engine
	b         *pebble.Batch  // nil until something is written
	j         *journal.Batch // nil until an entry is
	appends   []logAppend
	err       error // of filling; returned by Commit
	committed time.Time
	seq       uint64        // of its last operation, if Options.Synced asks for it
	end       journal.Place // of the journal's record, once it is written
	size      int           // of what was written
	// dead names the segments of the journal that may be used again once the batch is on disk; 0 if none.
	dead uint64
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
	// What is applied is committed: a restart that finds the state as it was before knows at least that.
	commit = max(commit, l.applied.index)
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
	if b.e.journal() != nil {
		b.journaled(l, entries, commit)
	} else {
		b.database(l, entries, commit)
	}
	l.written = last
	b.appends = append(b.appends, logAppend{l: l, entries: entries})
}

// journal adds entries to the journal's part.
//
// INVARIANT: no entry is acknowledged by a replica that a crash could unmake. The birth of the right side of a split is not
// synced, and the journal's sync does not cover it: the first append after it syncs the database as well. Should the crash take the
// birth and leave the entries, then nobody was promised them, and they are forgotten (journal.Adopt).
func (b *LogBatch) journaled(l *Log, entries []*pb.Entry, commit uint64) {
	if l.unsynced && !bug.BirthNotSynced.On() {
		b.syncState()
	}
	l.unsynced = false
	if b.j == nil {
		b.j = b.e.takeJournalBatch()
	}
	b.j.Append(uint64(l.shard), l.life(), entries[0].GetIndex(), len(entries))
	var key [keys.LogLen]byte
	for _, e := range entries {
		h := logHeader{commit: commit, term: e.GetTerm(), typ: e.GetType()}
		k := keys.AppendLog(key[:0], l.shard, e.GetIndex())
		putLogValue(b.j.Entry(logValueLen(h.commit, h.term, len(e.GetData()))), k, h, e.GetData())
	}
}

// syncState lets the batch's wait be one for everything that the database was given before.
func (b *LogBatch) syncState() { b.note(b.batch().LogData(nil, nil)) }

// database adds entries to the database's part.
func (b *LogBatch) database(l *Log, entries []*pb.Entry, commit uint64) {
	for _, e := range entries {
		b.put(l, e, commit)
	}
	// INVARIANT: what lies behind the last entry of an append is deleted with it, in the order of the appends. Otherwise
	// LastIndex would name entries of a leader that lost, once raft's own memory of the log is empty.
	if last := entries[len(entries)-1].GetIndex(); last < l.written {
		s := keys.LogBetween(l.shard, last+1, l.written)
		b.note(b.batch().DeleteRange(s.Start, s.End, nil))
	}
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
func (b *LogBatch) Empty() bool { return b.b == nil && b.j == nil && b.err == nil }

// Bytes is the size of the batch on disk.
func (b *LogBatch) Bytes() int {
	if b.size > 0 {
		return b.size
	}
	n := 0
	if b.b != nil {
		n += b.b.Len()
	}
	if b.j != nil {
		n += b.j.Len()
	}
	return n
}

// Commit writes the batch. The logs show it at once; it is on disk when Wait returns.
func (b *LogBatch) Commit() error {
	b.committed = time.Now()
	if b.err != nil {
		return b.e.fail(b.err)
	}
	if b.Empty() {
		return b.e.check()
	}
	if b.j != nil {
		// Before the database is asked to sync: what was truncated up to here has been written to it.
		if b.dead = b.e.journal().Dead(); b.dead != 0 && !bug.FreedBeforeState.On() {
			b.syncState()
		}
	}
	if err := b.write(); err != nil {
		return err
	}
	for _, a := range b.appends {
		end := a.entries[len(a.entries)-1]
		a.l.last = position{index: end.GetIndex(), term: end.GetTerm()}
		b.e.tails.append(&a.l.tail, a.entries)
	}
	b.appends = nil
	return nil
}

func (b *LogBatch) write() error {
	b.size = b.Bytes()
	if b.b != nil {
		err := b.e.write("append to raft logs", func() error { return b.e.db.ApplyNoSyncWait(b.b, pebble.Sync) })
		if err != nil {
			b.b = nil // whether Pebble still uses it is not known
			return err
		}
		b.seq = b.e.seqOf(b.b)
	}
	if b.j == nil {
		return nil
	}
	err := b.e.write("append to raft logs", func() (err error) {
		b.end, err = b.e.journal().Append(b.j)
		return err
	})
	if err == nil {
		b.e.giveJournalBatch(b.j)
		b.j = nil
	}
	return err
}

// Wait returns when the batch, and every batch committed before it, is on disk, and gives up the batch's memory. It is
// called once after a Commit that succeeded, in the order of commits.
func (b *LogBatch) Wait() error {
	journaled := b.end != (journal.Place{})
	if b.b == nil && !journaled {
		return b.e.check()
	}
	var err error
	if journaled {
		err = b.e.journal().Sync(b.end)
	}
	if b.b != nil {
		if err2 := b.b.SyncWait(); err == nil {
			err = err2
		}
		if err == nil {
			err = b.b.Close()
		}
		b.b = nil
	}
	if err != nil {
		return b.e.fail(fmt.Errorf("sync raft logs: %w", err))
	}
	b.e.syncs.add(time.Since(b.committed))
	if b.seq > 0 {
		b.e.noteSynced(b.seq)
	}
	if b.dead != 0 {
		b.e.journal().Free(b.dead)
	}
	return b.e.check()
}
