package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// MutationKind is what a transaction does to a key.
type MutationKind uint8

// The kinds. They are part of the log format.
const (
	Put    MutationKind = 1 // the key becomes Value
	Delete MutationKind = 2 // the key is removed; it need not exist
	Touch  MutationKind = 3 // the key stays, but whoever writes it meanwhile conflicts
	Insert MutationKind = 4 // Put, if the key has no value
)

func (k MutationKind) String() string {
	switch k {
	case Put:
		return "put"
	case Delete:
		return "delete"
	case Touch:
		return "touch"
	case Insert:
		return "insert"
	}
	return fmt.Sprintf("mutation(%d)", uint8(k))
}

// lock and record are what the mutation leaves behind.
func (k MutationKind) lock() LockKind {
	switch k {
	case Delete:
		return LockDelete
	case Touch:
		return LockOnly
	}
	return LockPut
}

// Mutation is what a transaction does to one key.
type Mutation struct {
	Kind  MutationKind
	Key   shard.Key
	Value []byte // Put, Insert
	// Held says that the transaction took a pessimistic lock on the key, which must still be there; it takes the place of
	// the check for conflicts.
	Held bool
}

// Mode is how a prewrite is to be committed.
type Mode uint8

// The modes. They are part of the log format.
const (
	TwoPhase Mode = 0 // by Commit, at a timestamp fetched after all prewrites were answered
	Async    Mode = 1 // by being prewritten on all keys, at the largest MinCommitTS among them
	OnePhase Mode = 2 // at once, at MinCommitTS: this command holds all keys of the transaction
)

// Prewrite locks the keys of a transaction with what it writes, or, in one phase, writes it.
type Prewrite struct {
	Mode Mode
	// Floor, of the modes that compute a timestamp, is filled in by the leader that proposes: see SetFloor.
	Floor       Timestamp
	StartTS     Timestamp
	ForUpdateTS Timestamp // of a transaction with pessimistic locks, the largest it used
	// MaxCommitTS, of the modes that compute a timestamp, is the largest that the transaction accepts. Above it, Async
	// becomes TwoPhase (see Result.Async) and OnePhase is rejected as TooLate.
	MaxCommitTS Timestamp
	TTLMillis   uint64 // how long others respect the locks
	Primary     shard.Key
	Secondaries []shard.Key // Async, with the primary among the mutations: all other keys of the transaction
	Mutations   []Mutation  // in ascending order of keys
}

// floorAt is where the floor stands in the body of a command that has one: behind kind, version and mode.
const floorAt = 3

// SetFloor writes the floor into the body of a command that computes a timestamp, and reports false for all others.
// floor is the next odd timestamp above every read that this leader has answered or let begin; who proposes knows it,
// and has marked the command's keys for readers before it was read (rule T2 of the design).
func SetFloor(body []byte, floor Timestamp) bool {
	if !NeedsFloor(body) {
		return false
	}
	appendTS(body[:floorAt], floor)
	return true
}

// NeedsFloor reports whether body is of a command that computes a timestamp. Others may be proposed as they are.
func NeedsFloor(body []byte) bool {
	return len(body) >= floorAt+8 && (body[0] == KindAdd || body[0] == KindPrewrite && Mode(body[2]) != TwoPhase)
}

// Append implements Command.
func (c *Prewrite) Append(b []byte) []byte {
	b = append(b, KindPrewrite, commandVersion, byte(c.Mode))
	b = appendTS(b, c.Floor)
	b = codec.AppendUvarint(b, uint64(c.StartTS))
	b = codec.AppendUvarint(b, uint64(c.ForUpdateTS))
	b = codec.AppendUvarint(b, uint64(c.MaxCommitTS))
	b = codec.AppendUvarint(b, c.TTLMillis)
	b = codec.AppendBytes(b, c.Primary)
	b = appendKeys(b, c.Secondaries)
	b = codec.AppendUvarint(b, uint64(len(c.Mutations)))
	for i := range c.Mutations {
		m := &c.Mutations[i]
		b = append(b, byte(m.Kind), flag(m.Held, 1))
		b = codec.AppendBytes(codec.AppendBytes(b, m.Key), m.Value)
	}
	return b
}

func (c *Prewrite) read(d *codec.Decoder) bool {
	c.Mode, c.Floor = Mode(d.Byte()), readTS(d)
	c.StartTS, c.ForUpdateTS, c.MaxCommitTS = Timestamp(d.Uvarint()), Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	c.TTLMillis = d.Uvarint()
	c.Primary, c.Secondaries = d.Bytes(), readKeys(d)
	for range d.Count(4) {
		m := Mutation{Kind: MutationKind(d.Byte()), Held: d.Bool(), Key: d.Bytes(), Value: d.Bytes()}
		c.Mutations = append(c.Mutations, m)
	}
	return true
}

func (c *Prewrite) valid() error {
	if err := startValid(c.StartTS); err != nil {
		return err
	}
	if c.Mode > OnePhase || c.ForUpdateTS > MaxTimestamp>>1 || c.Floor > MaxTimestamp>>1 || c.TTLMillis > MaxTTLMillis {
		return invalidf("prewrite of %d has a mode or a number out of its bounds", c.StartTS)
	}
	if err := keyValid(c.Primary); err != nil {
		return err
	}
	for i := range c.Mutations {
		m := &c.Mutations[i]
		if err := keyValid(m.Key); err != nil {
			return err
		}
		if m.Kind < Put || m.Kind > Insert {
			return invalidf("unknown mutation of key %s", short(m.Key))
		}
		if i > 0 && c.Mutations[i-1].Key.Compare(m.Key) >= 0 {
			return invalidf("key %s is not above the key before it; sort the keys and name each once", short(m.Key))
		}
	}
	return nil
}

// Check implements Command.
func (c *Prewrite) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	if n := len(c.Mutations); n == 0 || n > MaxKeys {
		return invalidf("prewrite of %d keys, at least 1 and at most %d; use smaller batches", n, MaxKeys)
	}
	if len(c.Secondaries) > MaxSecondaries || c.Mode == Async && len(c.Mutations) > MaxSecondaries+1 {
		return invalidf("async commit of more than %d keys; use two phases", MaxSecondaries+1)
	}
	if c.Mode == TwoPhase && (c.MaxCommitTS != 0 || len(c.Secondaries) != 0) {
		return invalidf("prewrite of %d in two phases has a largest commit timestamp or secondaries; leave them out", c.StartTS)
	}
	if c.Mode != TwoPhase && c.MaxCommitTS <= c.StartTS {
		return invalidf("prewrite of %d has no largest commit timestamp above it; give one", c.StartTS)
	}
	bytes := 0
	for i := range c.Mutations {
		m := &c.Mutations[i]
		if err := checkKey(m.Key); err != nil {
			return err
		}
		if len(m.Value) > shard.MaxValueBytes {
			return invalidf("value of key %s has %d bytes, at most %d; cut it into several keys", short(m.Key), len(m.Value), shard.MaxValueBytes)
		}
		bytes += len(m.Key) + len(m.Value)
	}
	if bytes > MaxCommandBytes {
		return invalidf("the command has %d bytes of keys and values, at most %d; use smaller batches", bytes, MaxCommandBytes)
	}
	return checkTTL(c.TTLMillis)
}

// Keys implements Command.
func (c *Prewrite) Keys(f func(shard.Key)) {
	for i := range c.Mutations {
		f(c.Mutations[i].Key)
	}
}

// Span implements Command.
func (c *Prewrite) Span() shard.Range { return noSpan() }

// minCommit is the least timestamp at which the transaction may commit, if it is computed.
//
// INVARIANT: from entry and state only, odd, and above every read that was answered before: they lie below the floor.
// It is at most the next odd above the largest issued timestamp, so whoever begins after the answer sees the commit.
func (c *Prewrite) minCommit() Timestamp {
	return max(odd(c.Floor), c.StartTS.NextOdd(), c.ForUpdateTS.NextOdd())
}

func (c *Prewrite) evaluate(e *evaluation, r *Result) error {
	at, mode := c.minCommit(), c.Mode
	if mode == Async && at > c.MaxCommitTS {
		mode = TwoPhase
	}
	r.Async = c.Mode == Async
	for i := range c.Mutations {
		if err := c.key(e, r, &c.Mutations[i], mode, at); err != nil {
			return err
		}
	}
	switch {
	case r.CommitTS != 0:
		// Committed on one key means committed, and prewritten on all: this is a repetition.
		e.writes, r.Rejected, r.MinCommitTS, r.Async = nil, nil, 0, false
	case len(r.Rejected) == 0 && mode == OnePhase && at > c.MaxCommitTS:
		r.rejectTS(TooLate, c.Primary, c.StartTS, at)
	case mode == OnePhase:
		r.CommitTS = at
	case !r.Async:
		r.MinCommitTS = 0
	}
	return nil
}

// key decides about one mutation: what is rejected, or what will be written.
func (c *Prewrite) key(e *evaluation, r *Result, m *Mutation, mode Mode, at Timestamp) error {
	own, other, err := e.lock(m.Key, c.StartTS)
	if err != nil {
		return err
	}
	if own != nil && own.Kind != LockPessimistic {
		if mode == OnePhase {
			r.rejectLocked(m.Key, c.StartTS, own)
		}
		// INVARIANT: of a repetition, what the first one computed and stored is answered, also where this one's floor came
		// out above MaxCommitTS: others may already be recovering the transaction from these locks.
		r.Async = r.Async && own.Async
		r.MinCommitTS = max(r.MinCommitTS, own.MinCommitTS)
		return nil
	}
	h, err := e.history(m.Key, c.StartTS)
	if err != nil {
		return err
	}
	switch {
	case own == nil && h.fate == committed:
		r.CommitTS = h.commit
	case own == nil && h.fate == rolledBack:
		r.reject(RolledBack, m.Key, c.StartTS)
	case c.StartTS < e.safe:
		r.rejectTS(TooOld, m.Key, c.StartTS, e.safe)
	case other != nil:
		r.rejectLocked(m.Key, c.StartTS, other)
	case own == nil && m.Held:
		r.reject(NoLock, m.Key, c.StartTS)
	case own == nil && h.newestTS > c.StartTS && !bug.ConflictUnchecked.On():
		x := r.reject(Conflict, m.Key, c.StartTS)
		x.CommitTS, x.Other = h.newestTS, h.newest.start
	default:
		return c.place(e, r, m, own, mode, at)
	}
	return nil
}

// place writes a mutation to which nothing stands against but, of an Insert, a value.
func (c *Prewrite) place(e *evaluation, r *Result, m *Mutation, own *Lock, mode Mode, at Timestamp) error {
	if m.Kind == Insert {
		v, err := value(e.w, m.Key, MaxTimestamp)
		if err != nil {
			return err
		}
		if v.found {
			r.rejectTS(Exists, m.Key, c.StartTS, v.commit)
			return nil
		}
	}
	l := &Lock{Kind: m.Kind.lock(), StartTS: c.StartTS, Primary: c.Primary, ForUpdateTS: c.ForUpdateTS,
		ExpireAt: e.expireAt(c.StartTS, c.TTLMillis)}
	if own != nil {
		l.ExpireAt = max(l.ExpireAt, own.ExpireAt)
	}
	if l.Kind == LockPut {
		l.Value = m.Value
		if len(m.Value) > ShortValueBytes {
			l.Value, l.Long = nil, true
			e.setRecord(m.Key, c.StartTS, record{kind: recValue, value: m.Value})
		}
	}
	if mode == OnePhase {
		if own != nil {
			e.removeLock(m.Key)
		}
		kind, _ := recordOf(l.Kind)
		e.setRecord(m.Key, at, record{kind: kind, start: c.StartTS, long: l.Long, value: l.Value})
		return nil
	}
	r.Async = r.Async && mode == Async
	if mode == Async {
		l.Async, l.MinCommitTS = true, at
		r.MinCommitTS = max(r.MinCommitTS, at)
		if m.Key.Compare(c.Primary) == 0 {
			l.Secondaries = c.Secondaries
		}
	}
	e.setLock(m.Key, own, l)
	return nil
}
