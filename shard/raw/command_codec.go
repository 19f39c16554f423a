package raw

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

const commandVersion = 1

// How a condition stands in the log.
const (
	condAbsent byte = 0
	condExists byte = 1
	condEquals byte = 2
)

// Append appends the encoding of c: what call.Request.Body of a raw write holds, and the log after it.
func (c *Command) Append(b []byte) []byte {
	b = slices.Grow(b, c.Bytes())
	b = append(b, KindRaw, commandVersion)
	b = codec.AppendUvarint(b, uint64(len(c.Conditions)))
	for i := range c.Conditions {
		b = c.Conditions[i].append(b)
	}
	b = codec.AppendUvarint(b, uint64(len(c.Ops)))
	for i := range c.Ops {
		b = c.Ops[i].append(b)
	}
	return b
}

// Bytes is how many bytes Append appends, and a few more.
func (c *Command) Bytes() int {
	n := 8
	for i := range c.Conditions {
		n += len(c.Conditions[i].Key) + len(c.Conditions[i].Value) + 8
	}
	for i := range c.Ops {
		n += len(c.Ops[i].Key) + len(c.Ops[i].End) + len(c.Ops[i].Value) + 12
	}
	return n
}

func (c *Condition) append(b []byte) []byte {
	switch {
	case !c.Exists:
		return codec.AppendBytes(append(b, condAbsent), c.Key)
	case !c.HasValue:
		return codec.AppendBytes(append(b, condExists), c.Key)
	}
	b = codec.AppendBytes(append(b, condEquals), c.Key)
	return codec.AppendBytes(b, c.Value)
}

func (op *Op) append(b []byte) []byte {
	b = codec.AppendBytes(append(b, byte(op.Kind)), op.Key)
	switch op.Kind {
	case Put:
		b = codec.AppendUvarint(b, ttlMillis(op.TTL))
		b = codec.AppendBytes(b, op.Value)
	case DeleteRange:
		b = codec.AppendBytes(b, op.End)
	}
	return b
}

// Decode makes c what Append wrote, reusing c's slices. Keys and values alias b. An error means that the bytes are no
// command of this version; it is the same on every replica.
func (c *Command) Decode(b []byte) error {
	d := codec.Decoder{B: b}
	c.Conditions, c.Ops = c.Conditions[:0], c.Ops[:0]
	kind, _ := d.Byte(), d.Version(commandVersion)
	ok := kind == KindRaw
	for range d.Count(2) {
		var cond Condition
		ok = cond.read(&d) && ok
		c.Conditions = append(c.Conditions, cond)
	}
	for range d.Count(2) {
		var op Op
		ok = op.read(&d) && ok
		c.Ops = append(c.Ops, op)
	}
	if d.Done() != nil || !ok {
		return fmt.Errorf("raw command: %w", codec.ErrMalformed)
	}
	return nil
}

// DecodeCommand is Decode into a new Command.
func DecodeCommand(b []byte) (*Command, error) {
	c := new(Command)
	if err := c.Decode(b); err != nil {
		return nil, err
	}
	return c, nil
}

// read reports false for a kind that this version does not know.
func (c *Condition) read(d *codec.Decoder) bool {
	kind := d.Byte()
	c.Key = d.Bytes()
	c.Exists = kind != condAbsent
	if kind == condEquals {
		c.HasValue, c.Value = true, d.Bytes()
	}
	return kind <= condEquals
}

// read reports false for a kind or a TTL that this version does not know.
func (op *Op) read(d *codec.Decoder) (ok bool) {
	op.Kind = OpKind(d.Byte())
	op.Key = d.Bytes()
	switch op.Kind {
	case Put:
		op.TTL, ok = readTTL(d)
		op.Value = d.Bytes()
		return ok
	case Delete:
		return true
	case DeleteRange:
		op.End = d.Bytes()
		return true
	}
	return false
}

// ttlMillis rounds up, so that the shortest TTL does not become "for ever".
func ttlMillis(ttl time.Duration) uint64 {
	return uint64((max(ttl, 0) + time.Millisecond - 1) / time.Millisecond)
}

func readTTL(d *codec.Decoder) (time.Duration, bool) {
	ms := d.Uvarint()
	if ms > uint64(MaxTTL/time.Millisecond) {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// Result is what became of a command.
type Result struct {
	// Failed is the index of the first condition that did not hold, and nothing was executed; -1 if it was.
	Failed int
	// Exists and Current tell the state of that condition's key, so that a loop of compare-and-swap need not read.
	Exists  bool
	Current []byte
}

const resultVersion = 1

// Append appends the encoding of r: call.Reply.Body of a raw write.
func (r Result) Append(b []byte) []byte {
	b = append(b, resultVersion)
	b = codec.AppendUvarint(b, uint64(r.Failed+1))
	if r.Failed < 0 {
		return b
	}
	b = codec.AppendBool(b, r.Exists)
	return codec.AppendBytes(b, r.Current)
}

// DecodeResult reads what Append wrote; Current aliases b.
func DecodeResult(b []byte) (Result, error) {
	d := codec.Decoder{B: b}
	d.Version(resultVersion)
	n := d.Uvarint()
	r := Result{Failed: int(n) - 1}
	if n > 0 {
		r.Exists, r.Current = d.Bool(), d.Bytes()
	}
	if err := d.Done(); err != nil || n > MaxOps {
		return Result{}, fmt.Errorf("result of a raw command: %w", codec.ErrMalformed)
	}
	return r, nil
}

// Reclaim deletes expired keys. A store proposes it for a shard that it leads, after it looked for them in a view at
// index AsOf.
type Reclaim struct {
	Keys []shard.Key // those expired in that view
	AsOf uint64
	// Final says that no key of the view but Keys had a TTL, so that the shard may be without any after this.
	Final bool
}

const reclaimVersion = 1

// Append appends the encoding of r.
func (r *Reclaim) Append(b []byte) []byte {
	b = append(b, KindReclaim, reclaimVersion)
	b = codec.AppendUvarint(b, r.AsOf)
	b = codec.AppendBool(b, r.Final)
	b = codec.AppendUvarint(b, uint64(len(r.Keys)))
	for _, k := range r.Keys {
		b = codec.AppendBytes(b, k)
	}
	return b
}

// DecodeReclaim reads what Append wrote; Keys alias b.
func DecodeReclaim(b []byte) (*Reclaim, error) {
	d := codec.Decoder{B: b}
	kind, _ := d.Byte(), d.Version(reclaimVersion)
	r := &Reclaim{AsOf: d.Uvarint(), Final: d.Bool()}
	for range d.Count(1) {
		r.Keys = append(r.Keys, d.Bytes())
	}
	if d.Done() != nil || kind != KindReclaim {
		return nil, fmt.Errorf("reclaim command: %w", codec.ErrMalformed)
	}
	return r, nil
}
