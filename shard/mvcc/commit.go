package mvcc

import (
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Commit makes the locks of a transaction on List versions at CommitTS. Committing the primary decides; the other keys
// follow.
type Commit struct {
	txnKeys
	CommitTS Timestamp
}

// NewCommit commits keys, in ascending order, of the transaction start at commit.
func NewCommit(start, commit Timestamp, keys ...shard.Key) *Commit {
	return &Commit{txnKeys: txnKeys{StartTS: start, List: keys}, CommitTS: commit}
}

// Append implements Command.
func (c *Commit) Append(b []byte) []byte {
	return codec.AppendUvarint(c.append(b, KindCommit), uint64(c.CommitTS))
}

func (c *Commit) read(d *codec.Decoder) bool {
	ok := c.txnKeys.read(d)
	c.CommitTS = Timestamp(d.Uvarint())
	return ok
}

func (c *Commit) valid() error {
	if c.CommitTS <= c.StartTS || c.CommitTS > MaxTimestamp>>1 {
		return invalidf("commit of %d at %d; give a timestamp fetched after the prewrites", c.StartTS, c.CommitTS)
	}
	return c.txnKeys.valid()
}

// Check implements Command.
func (c *Commit) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	return c.check()
}

func (c *Commit) evaluate(e *evaluation, r *Result) error {
	for _, k := range c.List {
		own, _, err := e.lock(k, c.StartTS)
		if err != nil {
			return err
		}
		if own != nil && own.Kind != LockPessimistic {
			// INVARIANT: readers that passed the lock were told that the transaction commits above them.
			if c.CommitTS < own.MinCommitTS {
				r.rejectTS(TooEarly, k, c.StartTS, own.MinCommitTS)
				continue
			}
			e.commitKey(k, own, c.CommitTS)
			continue
		}
		h, err := e.history(k, c.StartTS)
		if err != nil {
			return err
		}
		if (h.fate != committed || h.commit != c.CommitTS) && !(h.fate == rolledBack && bug.CommitAfterRollback.On()) {
			r.rejectFate(e, k, c.StartTS, h)
		}
	}
	r.CommitTS = c.CommitTS
	return nil
}

// Rollback gives up a transaction on List: its locks go, and rollback records keep a late prewrite out.
type Rollback struct{ txnKeys }

// NewRollback rolls back keys, in ascending order, of the transaction start.
func NewRollback(start Timestamp, keys ...shard.Key) *Rollback {
	return &Rollback{txnKeys{StartTS: start, List: keys}}
}

// Append implements Command.
func (c *Rollback) Append(b []byte) []byte { return c.append(b, KindRollback) }

// Check implements Command.
func (c *Rollback) Check() error { return c.check() }

func (c *Rollback) evaluate(e *evaluation, r *Result) error {
	for _, k := range c.List {
		own, _, err := e.lock(k, c.StartTS)
		if err != nil {
			return err
		}
		if own != nil {
			e.rollbackKey(k, c.StartTS, own)
			continue
		}
		if _, err := e.bury(r, k, c.StartTS); err != nil {
			return err
		}
	}
	return nil
}

// bury rolls start back on k, where it holds no lock, unless it is committed there, which is rejected. It reports whether
// a rollback record was missing. Where records were collected, a key of which nothing is known is rejected as well: what
// would tell a committed transaction from one that never came may be gone.
func (e *evaluation) bury(r *Result, k shard.Key, start Timestamp) (missing bool, err error) {
	h, err := e.history(k, start)
	switch {
	case err != nil || h.fate == rolledBack:
		return false, err
	case h.fate == committed || start < e.collected:
		r.rejectFate(e, k, start, h)
		return false, nil
	}
	e.rollbackKey(k, start, nil)
	return true, nil
}
