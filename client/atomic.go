package client

import (
	"context"
	"errors"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// Batch collects what Atomic executes. Its methods keep references to their arguments until Atomic returns.
type Batch struct {
	cmd raw.Command
	err error
}

// IfAbsent demands that a key does not exist.
func (b *Batch) IfAbsent(key []byte) { b.condition(key, raw.Condition{}) }

// IfExists demands that a key exists.
func (b *Batch) IfExists(key []byte) { b.condition(key, raw.Condition{Exists: true}) }

// IfEquals demands that a key exists with this value; nil is the empty value.
func (b *Batch) IfEquals(key, value []byte) {
	b.fails(checkValue("atomic", key, value))
	b.condition(key, raw.Condition{Exists: true, HasValue: true, Value: value})
}

// Put writes a key.
func (b *Batch) Put(key, value []byte, opts ...PutOption) {
	o := putOptionsOf(opts)
	b.fails(checkPut("atomic", key, value, &o))
	b.cmd.Ops = append(b.cmd.Ops, raw.Op{Kind: raw.Put, Key: shard.RawKey(key), Value: value, TTL: o.ttl})
}

// Delete removes a key, which need not exist.
func (b *Batch) Delete(key []byte) {
	b.fails(checkKey("atomic", key))
	b.cmd.Ops = append(b.cmd.Ops, raw.Op{Kind: raw.Delete, Key: shard.RawKey(key)})
}

// DeleteRange removes every key of a range, which must lie in one shard with all other keys of the batch.
func (b *Batch) DeleteRange(r Range) {
	b.fails(checkRange("atomic", r))
	if !r.empty() {
		w := r.whole()
		b.cmd.Ops = append(b.cmd.Ops, raw.Op{Kind: raw.DeleteRange, Key: w.Start, End: w.End})
	}
}

func (b *Batch) condition(key []byte, c raw.Condition) {
	b.fails(checkKey("atomic", key))
	c.Key = shard.RawKey(key)
	b.cmd.Conditions = append(b.cmd.Conditions, c)
}

func (b *Batch) fails(err error) {
	if b.err == nil {
		b.err = err
	}
}

// target is what the batch touches.
func (b *Batch) target() target {
	var t target
	b.cmd.Keys(func(k shard.Key) {
		if t.first == nil || k.Compare(t.first) < 0 {
			t.first = k
		}
		if t.last == nil || k.Compare(t.last) > 0 {
			t.last = k
		}
	})
	for i := range b.cmd.Ops {
		if op := &b.cmd.Ops[i]; op.Kind == raw.DeleteRange && op.End.Compare(t.end) > 0 {
			t.end = op.End
		}
	}
	return t
}

// Atomic executes what f puts into the batch, all or nothing, if all its conditions hold in the state before it. If one
// does not, the error is ErrConflict with a *ConflictError for the first such key. All keys must lie in one shard, else
// the error is ErrCrossShard; keys with a common prefix often do, but a shard may split between any two keys. f is
// called once.
func (db *DB) Atomic(ctx context.Context, f func(b *Batch)) error {
	var b Batch
	f(&b)
	if b.err != nil {
		return b.err
	}
	if len(b.cmd.Ops)+len(b.cmd.Conditions) == 0 {
		return nil
	}
	t := b.target()
	e := db.begin(ctx, "atomic", t.first)
	if err := b.cmd.Check(); err != nil {
		return e.fail(ErrInvalid, err)
	}
	res, err := e.write(&t, &b.cmd)
	if errors.Is(err, errOutgrown) {
		// The routes may be old, and the shards merged by now: ask before saying no.
		_ = db.place.load(&e, t.first)
		res, err = e.write(&t, &b.cmd)
	}
	if errors.Is(err, errOutgrown) {
		return e.fail(ErrCrossShard, db.bounds(&t))
	}
	if err != nil {
		return err
	}
	return e.conflict(&b.cmd, &res)
}

// boundError says where the keys of a batch lie.
type boundError struct{ shards []shard.ID }

func (b *boundError) Error() string {
	s := "they lie in"
	for _, id := range b.shards {
		s += " " + id.String()
	}
	return s
}

func (db *DB) bounds(t *target) error {
	var out boundError
	for _, k := range []shard.Key{t.first, t.last} {
		at := keyTarget(k)
		if rt, ok := db.routes.find(&at); ok && !slices.Contains(out.shards, rt.desc.ID) {
			out.shards = append(out.shards, rt.desc.ID)
		}
	}
	return &out
}
