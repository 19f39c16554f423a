package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Install says what a snapshot is installed as.
type Install struct {
	// State is the replica after it: its own id, term and vote, and the descriptor and applied state of the snapshot. The
	// log is empty behind it.
	State ReplicaState
	// OldRange is the range of the data that the replica held before; nil if it was uninitialised.
	OldRange *shard.Range
}

// Install makes the snapshot the replica's data, log and state, all or nothing, and on disk when it returns. The caller
// holds the replica's lane, and knows that no other replica and no destroying mark overlaps the old or the new range.
// Afterwards it calls Log.Reset, and Discard.
func (s *SnapshotSink) Install(p Install) error {
	if err := s.e.check(); err != nil || s.err != nil {
		return errors.Join(err, s.err)
	}
	data, locks, err := s.checkInstall(p)
	if err != nil {
		return s.fail(err)
	}
	p.State.recovered = false
	p.State.Hard.Commit = max(p.State.Hard.Commit, p.State.Applied.Index)
	if s.small() {
		err = s.installBatch(p, data, locks)
	} else {
		err = s.ingest(p, data, locks)
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// checkInstall returns the spans to be replaced: the data and the locks of the union of the old and the new range.
func (s *SnapshotSink) checkInstall(p Install) (data, locks keys.Span, err error) {
	d := p.State.Desc
	if !s.finished || d == nil || d.ID != s.id || p.State.Shard != s.id {
		return data, locks, fmt.Errorf("install: finished %t, descriptor %v, shard %s", s.finished, d, p.State.Shard)
	}
	data, locks = keys.DataSpan(d.Range), lockSpan(d.Range)
	if s.first != nil && (!data.Contains(s.first) || !data.Contains(s.last)) {
		return data, locks, fmt.Errorf("%w: install: keys %s to %s are not all in %s", ErrCorruption, keys.Format(s.first),
			keys.Format(s.last), d.Range)
	}
	if s.firstLock != nil && (!locks.Contains(s.firstLock) || !locks.Contains(s.lastLock)) {
		return data, locks, fmt.Errorf("%w: install: locks %s to %s are not all in %s", ErrCorruption, keys.Format(s.firstLock),
			keys.Format(s.lastLock), d.Range)
	}
	union := d.Range
	if p.OldRange != nil && !p.OldRange.Empty() {
		old := *p.OldRange
		if len(old.End) != 0 && old.End.Compare(union.Start) < 0 || len(union.End) != 0 && union.End.Compare(old.Start) < 0 {
			return data, locks, fmt.Errorf("install: old range %s and new range %s have a gap between them", old, d.Range)
		}
		if old.Start.Compare(union.Start) < 0 {
			union.Start = old.Start
		}
		if old.CompareEnd(union.End) > 0 {
			union.End = old.End
		}
	}
	data, locks = keys.DataSpan(union), lockSpan(union)
	if !data.CutAtPrefixes() {
		return data, locks, fmt.Errorf("install: %s to %s is cut between versions", keys.Format(data.Start), keys.Format(data.End))
	}
	return data, locks, nil
}

// installBatch installs a small snapshot as one synced batch, which has its place in the order of batches.
func (s *SnapshotSink) installBatch(p Install, data, locks keys.Span) error {
	b := s.e.NewStateBatch()
	defer b.Close()
	b.deleteSpan(data)
	b.deleteSpan(locks)
	b.CreateReplica(p.State)
	for _, r := range s.rows {
		b.setKey(s.mem[r.key:r.val], s.mem[r.val:r.end])
	}
	return b.Commit(true)
}

// ingest installs a snapshot of tables.
//
// INVARIANT: the write-ahead log is synced before the ingest, which may survive a crash that loses earlier unsynced
// batches: their loss, and their older state coming back over the newer, is then impossible. The state of the replica
// is in the same ingest as its data, so that neither is ever seen without the other.
//
// Pebble replaces one span per call: the data. A log in the database lies elsewhere and is deleted by a range tombstone in a table of
// its own, as is the state in another, so that neither table spans other shards' keys; so are the locks, by a tombstone
// in the table of the new ones.
func (s *SnapshotSink) ingest(p Install, data, locks keys.Span) error {
	if err := s.stateTables(p.State); err != nil {
		return err
	}
	if !locks.Empty() {
		if err := s.locks.deleteRange(locks); err != nil {
			return err
		}
	}
	if err := s.locks.finish(); err != nil {
		return err
	}
	written := s.e.newest()
	if bug.IngestOvertakesLog.On() {
		// What the ingest replaces, and what was written before it, may come back.
	} else if err := s.e.SyncWAL(); err != nil {
		return err
	}
	s.e.noteIngesting(written)
	err := s.e.write(fmt.Sprintf("install snapshot of %s", s.id), func() error {
		_, err := s.e.db.IngestAndExcise(context.Background(), append(s.sst.paths, s.locks.paths...), nil, nil,
			pebble.KeyRange{Start: data.Start, End: data.End})
		return err
	})
	if err == nil {
		s.e.noteIngested()
		if j := s.e.journal(); j != nil {
			j.Forget(uint64(s.id))
		}
	}
	return err
}

func (s *SnapshotSink) stateTables(rs ReplicaState) error {
	t := &s.sst
	ak, dk, hk := keys.State(s.id, keys.StateApplied), keys.State(s.id, keys.StateDescriptor), keys.State(s.id, keys.StateHard)
	for _, kv := range [][2][]byte{ // in the order of keys
		{ak, encodeApplied(ak, rs.Applied)},
		{dk, encodeDescriptor(dk, rs.Desc)},
		{hk, rs.hardRecord().encode(hk)},
	} {
		if err := t.set(kv[0], kv[1]); err != nil {
			return err
		}
	}
	if err := t.finish(); err != nil || s.e.journal() != nil {
		return err
	}
	if err := t.deleteRange(keys.LogSpan(s.id)); err != nil {
		return err
	}
	return t.finish()
}
