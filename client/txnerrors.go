package client

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Sentinels of transactions, for errors.Is; beside those of errors.go.
var (
	// ErrTooOld is returned for reads and transactions below the safe point: the versions that they want may be gone.
	ErrTooOld = fault.New(fault.TooOld, "timestamp is below the safe point")
	// ErrTxnTooLarge is returned by Put, Delete and Add of a transaction that would exceed its bounds.
	ErrTxnTooLarge = fault.New(fault.TxnTooLarge, "transaction too large")
	// ErrTxnDone is returned by calls on a transaction that was committed or rolled back.
	ErrTxnDone = fault.New(fault.TxnDone, "transaction is over")
	// ErrReadOnly is returned by writes in a View.
	ErrReadOnly = fault.New(fault.ReadOnly, "transaction is read-only")
	// ErrNotCounter is returned by Add on a key whose value is not 8 bytes long.
	ErrNotCounter = fault.New(fault.NotCounter, "value is not a counter")
)

// TxnConflictError says which other transaction stood in the way. Nothing of the own one was written. It comes with
// ErrConflict; Update begins anew by itself.
type TxnConflictError struct {
	Key     []byte    // the user's key that both are about
	StartTS Timestamp // of the transaction that lost
	// Other is the start timestamp of the other transaction, and CommitTS when it committed; zero if that is not known.
	Other, CommitTS Timestamp
	Why             string
}

// FaultCode implements fault.Coded.
func (*TxnConflictError) FaultCode() fault.Code { return fault.TxnConflict }

func (e *TxnConflictError) Error() string {
	s := fmt.Sprintf("transaction %d lost key %s", e.StartTS, shortKey(e.Key))
	if e.Other != 0 {
		s += fmt.Sprintf(" to transaction %d", e.Other)
	}
	if e.CommitTS != 0 {
		s += fmt.Sprintf(", committed at %d", e.CommitTS)
	}
	return s + ": " + e.Why
}

// conflictOf makes the error of a refusal that a new transaction may not meet again.
func (e *effort) conflictOf(x *mvcc.Rejected, why string) *Error {
	c := &TxnConflictError{Key: userOf(x.Key), StartTS: x.StartTS, Other: x.Other, Why: why}
	if x.Reason == mvcc.Conflict {
		c.CommitTS = x.CommitTS
	}
	err := e.fail(ErrConflict, c)
	err.Key, err.Hint = c.Key, "run the transaction again; Update does"
	return err
}

// refusal makes the error of a refusal that is final for this transaction.
func (e *effort) refusal(x *mvcc.Rejected) *Error {
	switch x.Reason {
	case mvcc.TooOld:
		err := e.fail(ErrTooOld, x)
		err.Hint = fmt.Sprintf("begin anew, or read at %d or later", x.CommitTS)
		return err
	case mvcc.NotCounter:
		err := e.fail(ErrNotCounter, nil)
		err.Key, err.Hint = userOf(x.Key), "put 8 bytes, big-endian, first, or delete the key"
		return err
	case mvcc.Conflict:
		return e.conflictOf(x, "it was written since this transaction began")
	case mvcc.RolledBack:
		return e.conflictOf(x, "this transaction was rolled back by one that waited for its lock longer than the lock's life")
	case mvcc.NoLock:
		return e.conflictOf(x, "the lock was lost")
	case mvcc.Locked:
		return e.conflictOf(x, "the other holds its lock")
	}
	return e.fail(ErrInvalid, x)
}
