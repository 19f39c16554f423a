package engine

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/skerrydb/skerry/engine/journal"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// Log is the raft log of one replica, as raft reads it (raft.Storage). It is written through LogBatch and StateBatch,
// and used by one worker only. Without its tail it is a few hundred bytes, because sleeping replicas keep theirs.
//
// What it answers changes when a LogBatch is committed, not when an entry is appended to one, so that it never names an
// entry that the database does not hold.
type Log struct {
	e       *Engine
	shard   shard.ID
	replica shard.ReplicaID
	hard    HardState
	base    position // see hardRecord
	// trunc is the last entry that the log does not hold: FirstIndex is the one behind it.
	// INVARIANT: trunc <= applied <= last, so that raft never asks for what is gone, and every snapshot that it is told
	// of lies within the log.
	trunc position
	last  position
	// written is the last index in the database or in a LogBatch that is not yet committed. It differs from last only
	// between LogBatch.Append and Commit; what an append overwrites is counted by it.
	written uint64
	applied position
	desc    *shard.Descriptor
	tail    tail
	// unsynced: the replica was created, and the batch that did may not be on disk. See LogBatch.journaled.
	unsynced bool
}

var _ raft.Storage = (*Log)(nil)

// OpenLog makes the log of a replica in state rs, which comes from Replicas or was just given to CreateReplica.
// The state of an uninitialised replica need not be on disk.
func (e *Engine) OpenLog(rs ReplicaState) *Log {
	l := &Log{e: e, shard: rs.Shard, unsynced: !rs.recovered}
	l.set(rs)
	e.logs.Store(true)
	return l
}

// life says whose log this is to the journal.
func (l *Log) life() journal.Life { return lifeOf(l.replica, l.base) }

func (l *Log) set(rs ReplicaState) {
	l.replica, l.hard, l.desc = rs.Replica, rs.Hard, rs.Desc
	l.base, l.trunc = rs.logBase(), rs.truncated()
	l.last = position{index: rs.LastIndex, term: rs.LastTerm}
	if l.last.index < l.trunc.index {
		l.last = l.trunc
	}
	l.written = l.last.index
	l.applied = position{index: rs.Applied.Index, term: rs.Applied.Term}
}

// Reset makes the log what it is after rs was installed from a snapshot: empty, at rs.Applied.
func (l *Log) Reset(rs ReplicaState) {
	l.Shrink()
	rs.recovered = false
	rs.LastIndex, rs.LastTerm = rs.Applied.Index, rs.Applied.Term
	rs.Hard.Commit = max(rs.Hard.Commit, rs.Applied.Index)
	l.set(rs)
}

// SetApplied says how far the replica has applied, which is what Snapshot reports.
func (l *Log) SetApplied(a shard.Applied) { l.applied = position{index: a.Index, term: a.Term} }

// SetDescriptor says who is in the group now.
func (l *Log) SetDescriptor(d *shard.Descriptor) { l.desc = d }

// InitialState implements raft.Storage. The ConfState is never nil.
func (l *Log) InitialState() (*pb.HardState, *pb.ConfState, error) {
	commit := min(l.hard.Commit, l.last.index)
	hs := &pb.HardState{Term: new(l.hard.Term), Vote: new(l.hard.Vote), Commit: new(commit)}
	return hs, ConfState(l.desc), nil
}

// FirstIndex implements raft.Storage.
func (l *Log) FirstIndex() (uint64, error) { return l.trunc.index + 1, nil }

// LastIndex implements raft.Storage.
func (l *Log) LastIndex() (uint64, error) { return l.last.index, nil }

// Snapshot implements raft.Storage with metadata only: where the replica is and who is in the group. The data are sent
// from a SnapshotSource, which may be later than this.
func (l *Log) Snapshot() (*pb.Snapshot, error) {
	if l.desc == nil {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: new(l.applied.index), Term: new(l.applied.term), ConfState: ConfState(l.desc)}}, nil
}

// Term implements raft.Storage.
func (l *Log) Term(i uint64) (uint64, error) {
	switch {
	case i == l.trunc.index:
		return l.trunc.term, nil
	case i < l.trunc.index:
		return 0, raft.ErrCompacted
	case i == l.last.index:
		return l.last.term, nil
	case i > l.last.index:
		return 0, raft.ErrUnavailable
	}
	if t, ok := l.e.tails.term(&l.tail, i); ok {
		return t, nil
	}
	h, err := l.e.readLogHeader(l.shard, i)
	return h.term, err
}

// readLogHeader reads what an entry's log value says besides its data.
func (e *Engine) readLogHeader(id shard.ID, index uint64) (h logHeader, err error) {
	if err := e.check(); err != nil {
		return logHeader{}, err
	}
	found := false
	err = e.eachLogged(id, index, index, func(_ uint64, got logHeader, _ []byte) (bool, error) {
		h, found = got, true
		return false, nil
	})
	key := keys.Log(id, index)
	if err == nil && !found {
		err = corrupt(key, "log entry is missing")
	}
	if err != nil {
		return logHeader{}, e.readFailed("read "+keys.Format(key), err)
	}
	return h, nil
}

// eachJournaled calls f with the entries of a shard's log in the journal, from lo to hi, until it returns false. data are valid
// only during the call.
func (e *Engine) eachJournaled(id shard.ID, lo, hi uint64, f func(index uint64, h logHeader, data []byte) (bool, error)) error {
	var key [keys.LogLen]byte
	return e.journal().Read(uint64(id), lo, hi, func(index uint64, v []byte) (bool, error) {
		h, data, err := decodeLogValue(keys.AppendLog(key[:0], id, index), v)
		if err != nil {
			return false, err
		}
		return f(index, h, data)
	})
}

// Entries implements raft.Storage: the entries [lo, hi), cut so that their encoding fits into maxSize, at least one. They
// must not be changed.
func (l *Log) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if lo <= l.trunc.index {
		return nil, raft.ErrCompacted
	}
	if hi > l.last.index+1 {
		return nil, raft.ErrUnavailable
	}
	if lo >= hi {
		return nil, nil
	}
	if out := l.e.tails.slice(&l.tail, lo, hi, maxSize); out != nil {
		return out, nil
	}
	return l.readEntries(lo, hi, maxSize)
}

// entrySlab is an entry with room for the fields that the message only points to: one allocation for four.
type entrySlab struct {
	pb.Entry
	index, term uint64
	typ         pb.EntryType
}

func newEntry(index uint64, h logHeader, data []byte) *pb.Entry {
	s := &entrySlab{index: index, term: h.term, typ: h.typ}
	s.Index, s.Term, s.Type, s.Data = &s.index, &s.term, &s.typ, slices.Clone(data)
	return &s.Entry
}

// readEntries is Entries from the disk. It does not fill the tail: what was read for one follower that lags will
// hardly be asked for again.
func (l *Log) readEntries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if err := l.e.check(); err != nil {
		return nil, err
	}
	var out []*pb.Entry
	size, want, full := uint64(0), lo, false
	err := l.e.eachLogged(l.shard, lo, hi-1, func(index uint64, h logHeader, data []byte) (bool, error) {
		if index != want {
			return false, nil
		}
		e := newEntry(index, h, data)
		if size += entrySize(e); size > maxSize && len(out) > 0 {
			full = true
			return false, nil
		}
		out = append(out, e)
		want++
		return true, nil
	})
	if err != nil {
		return nil, l.e.readFailed(fmt.Sprintf("read log of %s", l.shard), err)
	}
	if want < hi && !full {
		return nil, l.e.fail(corrupt(keys.Log(l.shard, want), "log entry is missing, the log holds %d to %d",
			l.trunc.index+1, l.last.index))
	}
	return out, nil
}

// eachLogged calls f with the entries of a shard's log that are on disk, from lo to hi, in order, until it returns false. data
// are valid only during the call.
func (e *Engine) eachLogged(id shard.ID, lo, hi uint64, f func(index uint64, h logHeader, data []byte) (bool, error)) error {
	if e.journal() != nil {
		return e.eachJournaled(id, lo, hi, f)
	}
	return e.each(keys.LogBetween(id, lo, hi), func(k, v []byte) (bool, error) {
		_, index, ok := keys.DecodeLog(k)
		if !ok {
			return false, corrupt(k, "not a log key")
		}
		h, data, err := decodeLogValue(k, v)
		if err != nil {
			return false, err
		}
		return f(index, h, data)
	})
}

// Truncate deletes the entries up to and with index, whose term is given, in b, and moves FirstIndex at once.
//
// INVARIANT: the caller has stepped the MsgStorageApplyResp of the command that truncates: raft reads the entries above
// its own applied index, which moves only then, and panics if they are gone.
//
// In the database the span begins at index 0, not at the last truncation: the newest tombstone then covers the older ones, and what an
// interrupted truncation left behind goes with it.
func (l *Log) Truncate(b *StateBatch, index, term uint64) {
	if index <= l.trunc.index {
		return
	}
	if index > l.applied.index || index > l.last.index {
		b.fail(fmt.Errorf("truncate log of %s to %d, above applied %d or last %d", l.shard, index, l.applied.index, l.last.index))
		return
	}
	l.trunc = position{index: index, term: term}
	l.e.tails.truncate(&l.tail, index)
	if l.e.journal() != nil {
		l.e.journal().Truncate(uint64(l.shard), index)
		return
	}
	b.deleteSpan(keys.LogUpTo(l.shard, index))
}

// MemBytes is about what the log holds in memory, its entries counted by their data.
func (l *Log) MemBytes() int {
	l.e.tails.mu.Lock()
	defer l.e.tails.mu.Unlock()
	return int(unsafe.Sizeof(*l)) + l.tail.bytes
}

// Trim drops the entries before index from memory: nobody is likely to ask for them again. The disk has them.
func (l *Log) Trim(index uint64) {
	if index > 0 {
		l.e.tails.truncate(&l.tail, index-1)
	}
}

// Shrink drops the tail. The log of a sleeping replica, or of one that is going away, is shrunk.
func (l *Log) Shrink() { l.e.tails.clear(&l.tail) }
