package raw

import (
	"fmt"
	"time"

	"github.com/skerrydb/skerry/shard"
)

// Condition is what must hold before a command is executed: with Exists false the key is absent, with Exists it is
// there, with HasValue too its value equals Value. An expired key is absent. An empty value is a value.
type Condition struct {
	Key      shard.Key
	Exists   bool
	HasValue bool // only with Exists
	Value    []byte
}

// OpKind is what an Op does.
type OpKind uint8

// The kinds. They are part of the log format.
const (
	Put         OpKind = 1 // Key becomes Value, for TTL if that is not zero
	Delete      OpKind = 2 // Key is removed; it need not exist
	DeleteRange OpKind = 3 // every key in [Key, End) is removed
)

func (k OpKind) String() string {
	switch k {
	case Put:
		return "put"
	case Delete:
		return "delete"
	case DeleteRange:
		return "delete-range"
	}
	return fmt.Sprintf("op(%d)", uint8(k))
}

// Op is one operation of a command.
type Op struct {
	Kind  OpKind
	Key   shard.Key
	Value []byte    // Put
	End   shard.Key // DeleteRange
	// TTL (Put) is how long the key lives from the shard time of its entry on; zero is for ever. In whole milliseconds
	// on the wire, rounded up.
	TTL time.Duration
}

// Command is what a raw write puts into the log: if all Conditions hold, all Ops are executed in order, else none.
// Conditions see the state before the command. Keys are whole keys of the keyspace, mode byte included.
type Command struct {
	Conditions []Condition
	Ops        []Op
}

// HasTTL reports whether the command gives some key a TTL, and so needs a fresh stamp on its entry.
func (c *Command) HasTTL() bool {
	for i := range c.Ops {
		if c.Ops[i].Kind == Put && c.Ops[i].TTL != 0 {
			return true
		}
	}
	return false
}

// CheckIn returns a *shard.KeyNotInShardError if the command touches a key outside d's range.
func (c *Command) CheckIn(d *shard.Descriptor) error {
	for i := range c.Conditions {
		if err := d.CheckKey(c.Conditions[i].Key); err != nil {
			return err
		}
	}
	for i := range c.Ops {
		op := &c.Ops[i]
		if err := d.CheckKey(op.Key); err != nil {
			return err
		}
		if op.Kind == DeleteRange && d.Range.CompareEnd(op.End) < 0 {
			return &shard.KeyNotInShardError{Shard: d.ID, Key: op.End.Clone(), Range: d.Range}
		}
	}
	return nil
}

// Keys calls f with the key of every condition and operation, in order; for a DeleteRange that is its start.
func (c *Command) Keys(f func(shard.Key)) {
	for i := range c.Conditions {
		f(c.Conditions[i].Key)
	}
	for i := range c.Ops {
		f(c.Ops[i].Key)
	}
}

// Check holds the command against the limits. An error is a *shard.InvalidError that says what to change. The SDK
// checks before it sends, the store before it proposes; evaluation does not.
func (c *Command) Check() error {
	if len(c.Ops)+len(c.Conditions) == 0 {
		return invalidf("the command is empty; give it at least one operation or condition")
	}
	if len(c.Ops) > MaxOps || len(c.Conditions) > MaxOps {
		return invalidf("%d operations and %d conditions, at most %d of each; use smaller batches",
			len(c.Ops), len(c.Conditions), MaxOps)
	}
	bytes := 0
	for i := range c.Conditions {
		cond := &c.Conditions[i]
		if err := cond.check(); err != nil {
			return err
		}
		bytes += len(cond.Key) + len(cond.Value)
	}
	for i := range c.Ops {
		op := &c.Ops[i]
		if err := op.check(); err != nil {
			return err
		}
		bytes += len(op.Key) + len(op.Value) + len(op.End)
	}
	if bytes > MaxCommandBytes {
		return invalidf("the command has %d bytes of keys and values, at most %d; use smaller batches", bytes, MaxCommandBytes)
	}
	return nil
}

func (c *Condition) check() error {
	if c.HasValue && !c.Exists {
		return invalidf("condition on key %s wants both absence and a value; set Exists", short(c.Key))
	}
	if err := checkKey(c.Key); err != nil {
		return err
	}
	return checkValue(c.Key, c.Value)
}

func (op *Op) check() error {
	switch op.Kind {
	case Put:
		if op.TTL < 0 || op.TTL > MaxTTL {
			return invalidf("ttl %s of key %s; give one above zero and at most %s, or none", op.TTL, short(op.Key), MaxTTL)
		}
		if err := checkValue(op.Key, op.Value); err != nil {
			return err
		}
		return checkKey(op.Key)
	case Delete:
		return checkKey(op.Key)
	case DeleteRange:
		return checkRange(shard.Range{Start: op.Key, End: op.End})
	}
	return invalidf("unknown operation %s", op.Kind)
}

// checkKey accepts keys that hold raw values: users' and placement's.
func checkKey(k shard.Key) error {
	if len(k) == 0 || !rawMode(k) {
		return invalidf("key %s is not a raw key; begin it with the mode byte", short(k))
	}
	if len(k.User()) == 0 {
		return invalidf("the key is empty; give it at least one byte")
	}
	return checkKeySize(k)
}

func checkKeySize(k shard.Key) error {
	if n := len(k.User()); n > shard.MaxKeyBytes {
		return invalidf("key %s has %d bytes, at most %d; use a shorter one", short(k), n, shard.MaxKeyBytes)
	}
	return nil
}

func checkValue(k shard.Key, v []byte) error {
	if len(v) > shard.MaxValueBytes {
		return invalidf("value of key %s has %d bytes, at most %d; cut it into several keys", short(k), len(v), shard.MaxValueBytes)
	}
	return nil
}

// checkRange accepts a non-empty range inside one raw mode. Its bounds may be those of the mode itself.
func checkRange(r shard.Range) error {
	if len(r.Start) == 0 || !rawMode(r.Start) || !shard.ModeRange(shard.Mode(r.Start[0])).ContainsRange(r) {
		return invalidf("range [%s, %s) is not inside one raw mode; begin both keys with the mode byte",
			short(r.Start), short(r.End))
	}
	if r.Empty() {
		return invalidf("range [%s, %s) is empty; give an end above the start", short(r.Start), short(r.End))
	}
	if err := checkKeySize(r.Start); err != nil {
		return err
	}
	return checkRangeEnd(r.End)
}

// checkRangeEnd allows the successor of the longest key as an end.
func checkRangeEnd(end shard.Key) error {
	if n := len(end.User()); n > shard.MaxKeyBytes+1 {
		return invalidf("key %s has %d bytes, at most %d; use a shorter one", short(end), n, shard.MaxKeyBytes)
	}
	return nil
}

func rawMode(k shard.Key) bool {
	m := shard.Mode(k[0])
	return m == shard.ModeRaw || m == shard.ModeMeta
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
