package engine

import (
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// A simulated disk has to know which batches a crash must not lose. Pebble writes the write-ahead log on a goroutine of
// its own, at moments that do not replay; Options.Synced says it by sequence numbers instead, at the moments at which
// the engine promises it to its callers.

// seqOf is the sequence number of the last operation of a batch that was just committed, 0 if nobody asks for it.
func (e *Engine) seqOf(b *pebble.Batch) uint64 {
	if e.synced == nil {
		return 0
	}
	if s := uint64(b.SeqNum()); s != 0 {
		return s + uint64(b.Count()) - 1
	}
	return e.newestSeq() // Pebble takes the contents of a large batch away
}

// newestSeq is the sequence number of the last operation of the store: the one before a batch without operations.
func (e *Engine) newestSeq() (seq uint64) {
	_ = e.write("read sequence number", func() error {
		b := e.db.NewBatch()
		defer b.Close()
		if err := b.LogData(nil, nil); err != nil {
			return err
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			return err
		}
		seq = uint64(b.SeqNum()) - 1
		return nil
	})
	return seq
}

// newest is newestSeq if somebody asks for it, else 0.
func (e *Engine) newest() uint64 {
	if e.ingesting == nil {
		return 0
	}
	return e.newestSeq()
}

// noteIngesting reports an ingest or excise that must not overtake what was written up to seq.
func (e *Engine) noteIngesting(seq uint64) {
	if e.ingesting != nil {
		e.ingesting(seq)
	}
}

// noteSynced reports that everything up to seq is on disk.
func (e *Engine) noteSynced(seq uint64) {
	if e.synced != nil && seq > 0 {
		e.synced(seq)
	}
}

// noteIngested reports an ingest or excise that has just returned, which is durable then. Pebble does not tell its
// sequence number.
func (e *Engine) noteIngested() {
	if e.synced != nil {
		e.noteSynced(e.newestSeq())
	}
}

// unfinished is what was made from an engine and not yet closed. It is kept only with Options.Synced: tasks of a
// simulated machine that lost power end in the middle, and Pebble panics if it is closed before its iterators.
type unfinished struct {
	mu   sync.Mutex
	open []giver // few at a time
}

// giver is a Reader, a StateBatch or a SnapshotSink.
type giver interface{ giveUp() }

func (r *Reader) giveUp()       { _ = r.Close() }
func (s *SnapshotSink) giveUp() { s.Discard() }
func (b *StateBatch) giveUp()   { b.Close() }

// began notes what the engine closes if its owner does not.
func (e *Engine) began(g giver) {
	if e.synced != nil {
		e.unfinished.mu.Lock()
		defer e.unfinished.mu.Unlock()
		e.unfinished.open = append(e.unfinished.open, g)
	}
}

// ended notes that the owner closed it.
func (e *Engine) ended(g giver) {
	if e.synced != nil {
		e.unfinished.mu.Lock()
		defer e.unfinished.mu.Unlock()
		if i := slices.Index(e.unfinished.open, g); i >= 0 {
			e.unfinished.open = slices.Delete(e.unfinished.open, i, i+1)
		}
	}
}

// closeUnfinished closes what its owners never will.
func (e *Engine) closeUnfinished() {
	e.unfinished.mu.Lock()
	open := e.unfinished.open
	e.unfinished.open = nil
	e.unfinished.mu.Unlock()
	for _, g := range open {
		g.giveUp()
	}
}
