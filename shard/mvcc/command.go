package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// The first byte of the body of a command or query, beside those of package raw. They are part of the log format.
const (
	KindPrewrite            byte = 16
	KindCommit              byte = 17
	KindRollback            byte = 18
	KindCheckStatus         byte = 19
	KindCheckSecondaries    byte = 20
	KindResolve             byte = 21
	KindHeartbeat           byte = 22
	KindPessimisticLock     byte = 23
	KindPessimisticRollback byte = 24
	KindGC                  byte = 25
	KindAdd                 byte = 26
	KindQuery               byte = 32
)

// Command is what a transaction puts into the log of one shard: a *Prewrite, *Commit, *Rollback, *CheckStatus,
// *CheckSecondaries, *Resolve, *Heartbeat, *PessimisticLock, *PessimisticRollback, *GC or *Add. The lists of keys in it
// are in strictly ascending order; what Decode accepts is so, which lets evaluation treat each key once.
type Command interface {
	// Append appends the encoding: call.Request.Body of a write, and the log after it.
	Append(b []byte) []byte
	// Check holds the command against its form and the limits. An error is a *shard.InvalidError that says what to
	// change. The SDK checks before it sends, the store before it proposes; evaluation does not.
	Check() error
	// Keys calls f with every key that is touched by name, in order.
	Keys(f func(shard.Key))
	// Span is the range that is touched beyond Keys; it is Empty if there is none.
	Span() shard.Range

	read(d *codec.Decoder) bool
	valid() error
	evaluate(e *evaluation, r *Result) error
}

const commandVersion = 1

// Decode reads what Append wrote, by its first byte. Keys and values alias b. An error means that the bytes are no
// command of this version; it is the same on every replica.
func Decode(b []byte) (Command, error) {
	d := codec.Decoder{B: b}
	c := blank(d.Byte())
	d.Version(commandVersion)
	if c == nil || !c.read(&d) || d.Done() != nil || c.valid() != nil {
		return nil, fmt.Errorf("transaction command: %w", codec.ErrMalformed)
	}
	return c, nil
}

func blank(kind byte) Command {
	switch kind {
	case KindPrewrite:
		return new(Prewrite)
	case KindCommit:
		return new(Commit)
	case KindRollback:
		return new(Rollback)
	case KindCheckStatus:
		return new(CheckStatus)
	case KindCheckSecondaries:
		return new(CheckSecondaries)
	case KindResolve:
		return new(Resolve)
	case KindHeartbeat:
		return new(Heartbeat)
	case KindPessimisticLock:
		return new(PessimisticLock)
	case KindPessimisticRollback:
		return new(PessimisticRollback)
	case KindGC:
		return new(GC)
	case KindAdd:
		return new(Add)
	}
	return nil
}

// CheckIn returns a *shard.KeyNotInShardError if c touches a key outside d's range.
func CheckIn(c Command, d *shard.Descriptor) error {
	var err error
	c.Keys(func(k shard.Key) {
		if err == nil {
			err = d.CheckKey(k)
		}
	})
	if r := c.Span(); err == nil && !r.Empty() && !d.Range.ContainsRange(r) {
		return &shard.KeyNotInShardError{Shard: d.ID, Key: r.Start.Clone(), Range: d.Range}
	}
	return err
}

// Evaluate executes c on w. The result says what became of it, and Effect what to do to st; they are the same on every
// replica. An error means that the store is broken: it comes from reading, never from the command.
//
// INVARIANT: reads nothing but c, w and st. Nothing is written before every key of c was looked at, so a rejected
// command has no effect.
func Evaluate(c Command, w Writer, st State) (Result, Effect, error) {
	e := &evaluation{w: w, now: st.Time, safe: st.SafePoint, collected: st.Collected, locks: st.Locks, written: st.Written}
	var r Result
	if err := c.evaluate(e, &r); err != nil {
		return Result{}, Effect{}, fmt.Errorf("evaluate transaction command: %w", err)
	}
	if len(r.Rejected) > 0 {
		return Result{Rejected: r.Rejected}, Effect{SafePoint: st.SafePoint, Collected: st.Collected}, nil
	}
	return r, Effect{Locks: e.write(), Wrote: len(e.writes) > 0, SafePoint: e.safe, Collected: e.collected}, nil
}

// keysValid holds a list of keys against what every command promises.
func keysValid(keys []shard.Key) error {
	for i, k := range keys {
		if err := keyValid(k); err != nil {
			return err
		}
		if i > 0 && keys[i-1].Compare(k) >= 0 {
			return invalidf("key %s is not above the key before it; sort the keys and name each once", short(k))
		}
	}
	return nil
}

func keyValid(k shard.Key) error {
	if _, ok := UserKey(k); !ok {
		return invalidf("key %s is not a transactional key; make it with mvcc.Key", short(k))
	}
	return nil
}

// startValid holds a start_ts against what placement issues.
func startValid(ts Timestamp) error {
	if ts == 0 || ts&1 != 0 || ts > MaxTimestamp>>1 {
		return invalidf("start timestamp %d was not issued by placement; fetch one", ts)
	}
	return nil
}

// checkKeys holds keys against the limits.
func checkKeys(keys []shard.Key) error {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return invalidf("%d keys, at least 1 and at most %d; use smaller batches", len(keys), MaxKeys)
	}
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(k shard.Key) error {
	user, _ := UserKey(k)
	if len(user) == 0 || len(user) > shard.MaxKeyBytes {
		return invalidf("key %s has %d bytes, at least 1 and at most %d", short(k), len(user), shard.MaxKeyBytes)
	}
	return nil
}

func checkTTL(ms uint64) error {
	if ms == 0 || ms > MaxTTLMillis {
		return invalidf("a lock's ttl of %d ms; give one above zero and at most %d", ms, MaxTTLMillis)
	}
	return nil
}

// txnKeys is a transaction and some of its keys: the whole of several commands.
type txnKeys struct {
	StartTS Timestamp
	List    []shard.Key
}

func (c *txnKeys) append(b []byte, kind byte) []byte {
	b = append(b, kind, commandVersion)
	return appendKeys(codec.AppendUvarint(b, uint64(c.StartTS)), c.List)
}

func (c *txnKeys) read(d *codec.Decoder) bool {
	c.StartTS, c.List = Timestamp(d.Uvarint()), readKeys(d)
	return true
}

func (c *txnKeys) valid() error {
	if err := startValid(c.StartTS); err != nil {
		return err
	}
	return keysValid(c.List)
}

func (c *txnKeys) check() error {
	if err := c.valid(); err != nil {
		return err
	}
	return checkKeys(c.List)
}

// Keys implements Command.
func (c *txnKeys) Keys(f func(shard.Key)) {
	for _, k := range c.List {
		f(k)
	}
}

// Span implements Command.
func (c *txnKeys) Span() shard.Range { return noSpan() }

// noSpan is an empty range.
func noSpan() shard.Range { return shard.Range{Start: shard.Key{0}, End: shard.Key{0}} }
