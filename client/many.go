package client

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// Bounds of one part of a batch. A part is one log entry's worth, or one answer's: small enough that other callers of
// the shard are not kept waiting, large enough that the cost per part does not matter.
const (
	partBytes = 1 << 20
	partOps   = raw.MaxOps
	partGets  = 1024
)

// KV is a key and its value.
type KV struct{ Key, Value []byte }

// Found is what GetMany found for one key.
type Found struct {
	Value []byte
	Found bool // false: the key does not exist
}

// GetMany reads keys, of all shards at once. Results are in the order of the keys. If some could not be read the error
// is a *BatchError, and the others' results are good. The keys of one shard are read at one moment, at most 1,024 of
// them; two shards are read at different ones.
func (db *DB) GetMany(ctx context.Context, keys [][]byte, opts ...ReadOption) ([]Found, error) {
	out := make([]Found, len(keys))
	errs := make([]error, len(keys))
	items := make([]item, 0, len(keys))
	for i, k := range keys {
		if errs[i] = checkKey("get many", k); errs[i] == nil {
			items = append(items, item{pos: i, op: raw.Op{Key: shard.RawKey(k)}})
		}
	}
	follower := readOptionsOf(opts).follower
	b := batch{db: db, ctx: ctx, what: "get many", errs: errs, maxOps: partGets}
	b.do = func(e *effort, part []item) error { return e.getPart(part, follower, out) }
	b.run(sortItems(items), nil)
	return out, batchError("get many", errs)
}

// getPart reads keys of one shard, in as many requests as their values need.
func (e *effort) getPart(part []item, follower bool, out []Found) error {
	for len(part) > 0 {
		q := raw.Query{Kind: raw.Get}
		for i := range part {
			q.Keys = append(q.Keys, part[i].op.Key)
		}
		t := target{first: part[0].op.Key, last: part[len(part)-1].op.Key}
		body, err := e.read(&t, q.Append(nil), follower)
		if err != nil {
			return err
		}
		a, err := e.answer(body)
		if err != nil {
			return err
		}
		if n := len(a.Rows); n == 0 || n > len(part) {
			return e.fail(ErrInvalid, errors.New("the store answered with another number of rows than was asked for"))
		}
		for i := range a.Rows {
			row := &a.Rows[i]
			out[part[i].pos] = Found{Found: row.Found}
			if row.Found {
				out[part[i].pos].Value = append([]byte{}, row.Value...)
			}
		}
		part = part[len(a.Rows):]
	}
	return nil
}

// PutMany writes keys, in all shards at once. The keys of one shard are written atomically, as far as they fit 1 MiB
// and 4,096 keys; the batch as a whole is not atomic. Of equal keys the last one wins. If some were not written, or
// perhaps not, the error is a *BatchError.
func (db *DB) PutMany(ctx context.Context, kvs []KV, opts ...PutOption) error {
	o := putOptionsOf(opts)
	errs := make([]error, len(kvs))
	items := make([]item, 0, len(kvs))
	for i := range kvs {
		kv := &kvs[i]
		if errs[i] = checkPut("put many", kv.Key, kv.Value, &o); errs[i] == nil {
			items = append(items, item{pos: i, op: raw.Op{Kind: raw.Put, Key: shard.RawKey(kv.Key), Value: kv.Value, TTL: o.ttl}})
		}
	}
	db.writeMany(ctx, "put many", items, errs)
	return batchError("put many", errs)
}

// DeleteMany removes keys, which need not exist, in all shards at once. It is atomic as PutMany is.
func (db *DB) DeleteMany(ctx context.Context, keys [][]byte) error {
	errs := make([]error, len(keys))
	items := make([]item, 0, len(keys))
	for i, k := range keys {
		if errs[i] = checkKey("delete many", k); errs[i] == nil {
			items = append(items, item{pos: i, op: raw.Op{Kind: raw.Delete, Key: shard.RawKey(k)}})
		}
	}
	db.writeMany(ctx, "delete many", items, errs)
	return batchError("delete many", errs)
}

func (db *DB) writeMany(ctx context.Context, what string, items []item, errs []error) {
	items = sortItems(items)
	last, same := lastOfEqual(items)
	b := batch{db: db, ctx: ctx, what: what, errs: errs, maxOps: partOps}
	b.do = func(e *effort, part []item) error {
		cmd := raw.Command{Ops: make([]raw.Op, len(part))}
		for i := range part {
			cmd.Ops[i] = part[i].op
		}
		t := target{first: part[0].op.Key, last: part[len(part)-1].op.Key}
		_, err := e.write(&t, &cmd)
		return err
	}
	b.run(last, nil)
	// in any order: each pair stands alone
	for pos, by := range same {
		errs[pos] = errs[by]
	}
}

// item is one key of a batch.
type item struct {
	pos int // in the caller's order
	op  raw.Op
}

// sortItems puts items in the order of their keys, so that those of a shard lie together.
func sortItems(items []item) []item {
	slices.SortStableFunc(items, func(a, b item) int { return a.op.Key.Compare(b.op.Key) })
	return items
}

// lastOfEqual keeps the last of the items with equal keys; same says whose fate the others share.
func lastOfEqual(items []item) (kept []item, same map[int]int) {
	for i := range items {
		if i+1 == len(items) || !bytes.Equal(items[i].op.Key, items[i+1].op.Key) {
			kept = append(kept, items[i])
			for j := i - 1; j >= 0 && bytes.Equal(items[j].op.Key, items[i].op.Key); j-- {
				if same == nil {
					same = make(map[int]int)
				}
				same[items[j].pos] = items[i].pos
			}
		}
	}
	return kept, same
}

// batch spreads items over shards.
type batch struct {
	db     *DB
	ctx    context.Context
	what   string
	maxOps int
	// do executes items that lie in one shard, or returns errOutgrown.
	do   func(e *effort, part []item) error
	errs []error // by position; each is written by the one task that has the item
}

// run executes sorted items. A part that no longer fits its shard is cut again, on what is left of its own effort.
func (b *batch) run(items []item, on *effort) {
	parts := b.cut(items, on)
	parallel(b.db.env, len(parts), func(i int) {
		part := parts[i]
		var e effort
		if on != nil {
			e = *on
			e.fresh = false
			e.key = part[0].op.Key
		} else {
			e = b.db.begin(b.ctx, b.what, part[0].op.Key)
		}
		err := b.do(&e, part)
		if errors.Is(err, errOutgrown) {
			b.run(part, &e)
			return
		}
		if err != nil {
			b.set(part, err)
		}
	})
}

func (b *batch) set(part []item, err error) {
	for i := range part {
		b.errs[part[i].pos] = err
	}
}

// cut puts items that lie in one shard, by current routes, into parts of bounded size. What cannot be routed gets its
// error here.
func (b *batch) cut(items []item, on *effort) [][]item {
	var parts [][]item
	for len(items) > 0 {
		var e effort
		if on != nil {
			e = *on
			e.fresh = false
		} else {
			e = b.db.begin(b.ctx, b.what, items[0].op.Key)
		}
		t := keyTarget(items[0].op.Key)
		rt, stop := e.route(&t)
		if stop != nil {
			b.set(items, e.stopped(stop))
			return parts
		}
		n, bytes := 1, opBytes(&items[0].op)
		for n < len(items) && n < b.maxOps && rt.desc.Range.Contains(items[n].op.Key) {
			if bytes += opBytes(&items[n].op); bytes > partBytes {
				break
			}
			n++
		}
		parts = append(parts, items[:n])
		items = items[n:]
	}
	return parts
}

func opBytes(op *raw.Op) int { return len(op.Key) + len(op.Value) }
