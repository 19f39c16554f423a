package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/engine/journal"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
)

// The raft log lies in a journal of its own (package journal). Then a store has two orders of writes, and a crash may keep
// more of the one than of the other. What holds regardless:
//
//   - Raft applies what is on this disk (asynchronous storage writes), so the state is never ahead of the log.
//   - The state may be behind the log by whatever was not synced. It is applied again, from entries that are still
//     there: a segment is used again only after a sync of the database that covers the truncations that made it needless.
//   - Whose log it is, term and vote, the database says, synced before anybody is told.
//
// A store whose cluster has no version for it yet (internal/version.Journal) keeps its log in the database. The first start
// after the version was raised moves it.

// journal is the raft log's files; nil while it lies in the database.
func (e *Engine) journal() *journal.Journal { return e.files.Load() }

// openJournal opens the journal if there shall be one.
func (e *Engine) openJournal() error {
	segments, err := e.segmentNames()
	if err != nil || len(segments) == 0 && (e.Version() < version.Journal || e.logInDatabase) {
		return err
	}
	return e.makeJournal(journal.Options{FS: e.fs, SegmentBytes: e.segmentBytes})
}

func (e *Engine) makeJournal(o journal.Options) error {
	o.Dir, o.Ahead = e.path(logDir), e.logAhead
	if !o.ReadOnly {
		if err := makeDir(e.fs, o.Dir); err != nil {
			return err
		}
	}
	j, err := journal.Open(o)
	if err != nil {
		return fmt.Errorf("raft log: %w", err)
	}
	e.files.Store(j)
	return nil
}

// beginJournal begins a journal in a store that holds no log yet, when it hears that its cluster has a version for it.
func (e *Engine) beginJournal() error {
	if e.journal() != nil || e.Version() < version.Journal || e.logInDatabase || e.logs.Load() {
		return nil
	}
	if none, err := e.empty(keys.AllLogs()); err != nil || !none {
		return err
	}
	if err := e.openJournal(); err != nil {
		return e.fail(fmt.Errorf("begin the raft log: %w", err))
	}
	return nil
}

// openJournalToRead is openJournal for an Inspector. While the database holds any entry, the move of the log has not ended.
func (e *Engine) openJournalToRead() error {
	segments, err := e.segmentNames()
	if err != nil || len(segments) == 0 {
		return err
	}
	if none, err := e.empty(keys.AllLogs()); err != nil || !none {
		return err
	}
	return e.makeJournal(journal.Options{FS: e.fs, ReadOnly: true})
}

func (e *Engine) closeJournal() error {
	j := e.journal()
	if j == nil {
		return nil
	}
	if e.broken.Load() != nil {
		return j.Abandon()
	}
	return j.Close()
}

// segmentNames are the files of the journal, none if there is no directory for them.
func (e *Engine) segmentNames() ([]string, error) {
	names, err := e.fs.List(e.dir)
	if err != nil || !slices.ContainsFunc(names, func(n string) bool { return strings.TrimSuffix(n, "/") == logDir }) {
		return nil, err
	}
	return e.fs.List(e.path(logDir))
}

// empty reports whether a span holds nothing.
func (e *Engine) empty(s keys.Span) (bool, error) {
	none := true
	err := e.each(s, func([]byte, []byte) (bool, error) {
		none = false
		return false, nil
	})
	return none, err
}

// takeJournalBatch returns an empty batch; giveJournalBatch takes it back once it is written.
func (e *Engine) takeJournalBatch() *journal.Batch {
	if b := e.spareJournal.Swap(nil); b != nil {
		return b
	}
	return new(journal.Batch)
}

func (e *Engine) giveJournalBatch(b *journal.Batch) {
	b.Reset()
	e.spareJournal.Store(b)
}

// lifeOf says to the journal whose log it is that begins behind base.
func lifeOf(r shard.ReplicaID, base position) journal.Life {
	return journal.Life{Replica: uint64(r), Index: base.index, Term: base.term}
}

// adoptLogs tells the journal which logs belong to replicas that live, and moves what the database holds of them.
func (e *Engine) adoptLogs(all []*found) error {
	j := e.journal()
	if j == nil {
		return nil
	}
	lives := make(map[uint64]journal.Life)
	for _, f := range all {
		if f.hard != nil {
			lives[uint64(f.id)] = lifeOf(f.hard.replica, f.hard.base)
		}
	}
	err := j.Adopt(lives)
	if err == nil {
		err = e.moveLogs(all)
	}
	for _, f := range all {
		if f.hard != nil {
			j.Truncate(uint64(f.id), f.state().truncated().index)
		}
	}
	return err
}

// moveBytes is about how much a record holds of a log that is moved.
const moveBytes = 1 << 20

// moveLogs moves the logs that an older program left in the database. A crash in the middle begins it anew: the database's
// are deleted when all are on disk in the journal.
func (e *Engine) moveLogs(all []*found) error {
	if none, err := e.empty(keys.AllLogs()); err != nil || none {
		return err
	}
	var end journal.Place
	for _, f := range all {
		if f.hard == nil {
			continue
		}
		p, err := e.moveLog(f)
		if err != nil {
			return fmt.Errorf("move the log of %s: %w", f.id, err)
		}
		if p != (journal.Place{}) {
			end = p
		}
	}
	if err := e.journal().Sync(end); err != nil {
		return err
	}
	b := e.NewStateBatch()
	defer b.Close()
	b.deleteSpan(keys.AllLogs())
	if err := b.Commit(true); err != nil {
		return err
	}
	e.log.Info("the raft log was moved out of the database", "dir", e.dir)
	return nil
}

// moveLog moves the log of one shard. The zero place: it is empty.
func (e *Engine) moveLog(f *found) (end journal.Place, err error) {
	b := e.takeJournalBatch()
	defer e.giveJournalBatch(b)
	flush := func() (err error) {
		if !b.Empty() {
			end, err = e.journal().Append(b)
			b.Reset()
		}
		return err
	}
	next, life := f.state().truncated().index+1, lifeOf(f.hard.replica, f.hard.base)
	err = e.each(keys.LogBetween(f.id, next, ^uint64(0)), func(k, v []byte) (bool, error) {
		if _, index, _ := keys.DecodeLog(k); index != next {
			return false, corrupt(keys.Log(f.id, next), "log entry is missing, the next is %d; %s", index, restoreAdvice)
		}
		b.Append(uint64(f.id), life, next, 1)
		copy(b.Entry(len(v)), v)
		next++
		if b.Len() < moveBytes {
			return true, nil
		}
		return true, flush()
	})
	if err == nil {
		err = flush()
	}
	return end, err
}

// lastJournaled is lastEntry for a log in the journal.
func (e *Engine) lastJournaled(id shard.ID, trunc position) (last position, commit uint64, err error) {
	first, index, ok := e.journal().Bounds(uint64(id))
	if !ok {
		return trunc, 0, nil
	}
	if first != trunc.index+1 {
		return position{}, 0, corrupt(keys.Log(id, trunc.index+1), "log entry is missing, the next is %d and the last %d; %s",
			first, index, restoreAdvice)
	}
	h, err := e.readLogHeader(id, index)
	return position{index: index, term: h.term}, h.commit, err
}
