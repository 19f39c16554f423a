package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// Reason says why a command or a query was rejected.
type Reason uint8

// The reasons. They are part of the wire format.
const (
	// Locked: another transaction holds the key; Lock says which. Find out what became of it, then try again.
	Locked Reason = 1
	// Conflict: another transaction, Other, committed the key at CommitTS, after this one's view of it.
	Conflict Reason = 2
	// RolledBack: this transaction was rolled back on the key, perhaps by another that waited for it.
	RolledBack Reason = 3
	// Committed: this transaction is committed on the key, at CommitTS.
	Committed Reason = 4
	// NoLock: this transaction neither holds the key nor finished on it.
	NoLock Reason = 5
	// Exists: the key to be inserted has a value, committed at CommitTS by Other.
	Exists Reason = 6
	// TooEarly: a commit below the lock's least commit timestamp, which is CommitTS.
	TooEarly Reason = 7
	// TooLate: a one-phase commit or an Add would have committed at CommitTS, above what it allows. Nothing was done; use
	// two phases, or a fresh timestamp.
	TooLate Reason = 8
	// TooOld: the command begins something, or reads, below the safe point, or it asks for what may have been collected.
	// That bound is CommitTS.
	TooOld Reason = 9
	// NotPrimary: the lock names another key as its primary, which is Primary.
	NotPrimary Reason = 10
	// NotCounter: an Add met a value that is not 8 bytes long.
	NotCounter Reason = 11
)

var reasons = [...]string{
	Locked: "is locked", Conflict: "write conflict", RolledBack: "was rolled back", Committed: "is committed",
	NoLock: "has no lock", Exists: "exists", TooEarly: "commit timestamp too early", TooLate: "commit timestamp too late",
	TooOld: "below the safe point", NotPrimary: "is not the primary", NotCounter: "holds no counter",
}

func (r Reason) String() string {
	if r < Locked || int(r) >= len(reasons) {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return reasons[r]
}

// Rejected is a deterministic answer, the same on every replica: nothing was done. Fields that the Reason does not name
// are zero.
type Rejected struct {
	Reason   Reason
	Key      shard.Key
	StartTS  Timestamp // of the transaction, or the timestamp of the read, that is rejected
	Other    Timestamp // start_ts of the other transaction
	CommitTS Timestamp
	Primary  shard.Key // of the lock
	Lock     *LockInfo // Locked
}

// FaultCode implements fault.Coded.
func (*Rejected) FaultCode() fault.Code { return fault.TxnRejected }

func (e *Rejected) Error() string {
	s := fmt.Sprintf("transaction %d on %s: %s", e.StartTS, short(e.Key), e.Reason)
	if e.Lock != nil {
		return s + ": " + e.Lock.String()
	}
	if e.Other != 0 {
		s += fmt.Sprintf(" with %d", e.Other)
	}
	if e.CommitTS != 0 {
		s += fmt.Sprintf(" at %d", e.CommitTS)
	}
	if e.Primary != nil {
		s += fmt.Sprintf(", primary %s", short(e.Primary))
	}
	return s
}

// appendRejected appends e, which may be nil.
func appendRejected(b []byte, e *Rejected) []byte {
	if e == nil {
		return append(b, 0)
	}
	b = append(b, byte(e.Reason))
	b = codec.AppendBytes(b, e.Key)
	b = codec.AppendUvarint(b, uint64(e.StartTS))
	b = codec.AppendUvarint(b, uint64(e.Other))
	b = codec.AppendUvarint(b, uint64(e.CommitTS))
	b = codec.AppendBytes(b, e.Primary)
	b = codec.AppendBool(b, e.Lock != nil)
	if e.Lock != nil {
		b = e.Lock.append(b)
	}
	return b
}

func readRejected(d *codec.Decoder) (e *Rejected, ok bool) {
	reason := Reason(d.Byte())
	if reason == 0 {
		return nil, true
	}
	e = &Rejected{Reason: reason, Key: d.Bytes(), StartTS: Timestamp(d.Uvarint()), Other: Timestamp(d.Uvarint()),
		CommitTS: Timestamp(d.Uvarint()), Primary: d.Bytes()}
	ok = int(reason) < len(reasons)
	if d.Bool() {
		e.Lock = new(LockInfo)
		ok = e.Lock.read(d) && ok
	}
	return e, ok
}

// shownKeyBytes of a key stand in an error's text.
const shownKeyBytes = 64

func short(k shard.Key) string {
	if len(k) > shownKeyBytes {
		return k[:shownKeyBytes].String() + "..."
	}
	return k.String()
}

func invalidf(format string, args ...any) error {
	return &shard.InvalidError{Why: fmt.Sprintf(format, args...)}
}
