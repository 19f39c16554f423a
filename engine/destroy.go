package engine

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// Removal of a replica takes three steps, each of which a crash may follow:
//
//  1. one synced batch: tombstone, destroying mark with the range, raft state and log deleted (DestroyReplica)
//  2. the data are excised or deleted
//  3. the mark is removed by a synced batch (2 and 3 are FinishDestroy)
//
// Until step 3 is on disk the range stays occupied: nothing may be created there. A start redoes steps 2 and 3.

// defaultExciseBytes is from where on data are excised instead of deleted by a range tombstone. An excise writes the
// manifest and may flush; a tombstone is cheap, but its data stay on disk until they are compacted.
const defaultExciseBytes = 8 << 20

// Tombstone returns the smallest replica id that may still live here; ok is false if none was ever removed.
func (e *Engine) Tombstone(id shard.ID) (next shard.ReplicaID, ok bool, err error) {
	k := keys.State(id, keys.StateTombstone)
	v, ok, err := e.get(k)
	if err != nil || !ok {
		return 0, false, err
	}
	if next, err = decodeTombstone(k, v); err != nil {
		return 0, false, e.fail(err)
	}
	return next, true, nil
}

// DestroyReplica removes the replica of a shard from this store for good: none with an id below next comes back. If the
// replica held data, span is their range, and FinishDestroy follows. The caller has drained the replica's appends and
// applies, and commits with sync.
//
// INVARIANT: a tombstone never goes back, and outlives everything else of the shard.
func (b *StateBatch) DestroyReplica(id shard.ID, next shard.ReplicaID, span *shard.Range) {
	tk := keys.State(id, keys.StateTombstone)
	v, ok, err := b.get(tk)
	if err == nil && ok {
		var have shard.ReplicaID
		have, err = decodeTombstone(tk, v)
		next = max(next, have)
	}
	if err != nil {
		b.fail(err)
		return
	}
	b.setKey(tk, encodeTombstone(tk, next))
	if span != nil {
		b.addMark(id, *span)
	}
	for _, k := range []keys.StateKind{keys.StateApplied, keys.StateDescriptor, keys.StateHard} {
		b.deleteKey(keys.State(id, k))
	}
	b.deleteLog(id)
}

// MarkDestroying marks the data of a range for destruction on behalf of a shard that has no replica here: FinishDestroy
// follows once the batch is visible. Use: a split whose right side was removed from this store before it was born.
func (b *StateBatch) MarkDestroying(id shard.ID, span shard.Range) { b.addMark(id, span) }

func (b *StateBatch) addMark(id shard.ID, span shard.Range) {
	k := keys.State(id, keys.StateDestroying)
	marks, err := readMarks(k, b.get)
	if err != nil {
		b.fail(err)
		return
	}
	b.setKey(k, encodeMarks(k, append(marks, span)))
}

func readMarks(k []byte, get func([]byte) ([]byte, bool, error)) ([]shard.Range, error) {
	v, ok, err := get(k)
	if err != nil || !ok {
		return nil, err
	}
	return decodeMarks(k, v)
}

// FinishDestroy removes the data of a range that DestroyReplica marked, and then the mark. When it returns, the range is
// free. Doing it again is harmless as long as the range is.
//
// INVARIANT: the write-ahead log is synced before the excise, because the manifest may keep the excise while a crash
// loses batches committed before it; and the mark is removed by a synced batch after the data are gone. If it could
// come back, the next start would excise what was put there, and acknowledged, since.
func (e *Engine) FinishDestroy(id shard.ID, span shard.Range) error {
	k := keys.State(id, keys.StateDestroying)
	marks, err := readMarks(k, e.get)
	if err != nil {
		return e.fail(err)
	}
	rest := marks[:0]
	for _, m := range marks {
		if !m.Equal(span) {
			rest = append(rest, m)
		}
	}
	b := e.NewStateBatch()
	defer b.Close()
	if err := e.removeData(b, keys.DataSpan(span)); err != nil {
		return fmt.Errorf("destroy data of %s in %s: %w", id, span, err)
	}
	b.deleteSpan(lockSpan(span)) // in the batch that removes the mark: they are gone when it is
	if len(rest) == 0 {
		b.deleteKey(k)
	} else {
		b.setKey(k, encodeMarks(k, rest))
	}
	return b.Commit(true)
}

// removeData excises a span, or, if that is not worth it, deletes it in b.
func (e *Engine) removeData(b *StateBatch, s keys.Span) error {
	if s.Empty() {
		return nil
	}
	if err := e.check(); err != nil {
		return err
	}
	bytes, err := e.db.EstimateDiskUsage(s.Start, s.End)
	if err != nil {
		return e.readFailed("estimate disk usage", err)
	}
	if bytes < e.exciseBytes || !s.CutAtPrefixes() {
		b.deleteSpan(s)
		return nil
	}
	written := e.newest()
	if err := e.SyncWAL(); err != nil {
		return err
	}
	e.noteIngesting(written)
	err = e.write("excise", func() error {
		return e.db.Excise(context.Background(), pebble.KeyRange{Start: s.Start, End: s.End})
	})
	if err == nil {
		e.noteIngested()
	}
	return err
}
