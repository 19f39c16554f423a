package client

import (
	"bytes"
	"cmp"
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
)

// KV is a key and its value.
type KV struct{ Key, Value []byte }

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

// sortItems puts items in the order of their keys, so that those of a shard lie together; equal ones stay in their order.
func sortItems(items []item) []item {
	slices.SortFunc(items, func(a, b item) int { return cmp.Or(a.op.Key.Compare(b.op.Key), a.pos-b.pos) })
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

// piece is items of one shard, and the route to that.
type piece struct {
	items []item
	route route
}

// run executes sorted items. A part that no longer fits its shard is cut again, on what is left of its own effort.
func (b *batch) run(items []item, on *effort) {
	pieces := b.cut(items, on)
	parallel(b.db.env, len(pieces), func(i int) {
		part := pieces[i].items
		e := b.effort(part[0].op.Key, on)
		b.ended(&e, part, b.do(&e, part))
	})
}

// effort begins the effort of a part, or goes on with that of the whole.
func (b *batch) effort(key shard.Key, on *effort) effort {
	if on == nil {
		return b.db.begin(b.ctx, b.what, key)
	}
	e := *on
	e.fresh = false
	e.key = key
	return e
}

// ended takes how the execution of a part ended.
func (b *batch) ended(e *effort, part []item, err error) {
	if errors.Is(err, errOutgrown) {
		b.run(part, e)
	} else if err != nil {
		b.set(part, err)
	}
}

func (b *batch) set(part []item, err error) {
	for i := range part {
		b.errs[part[i].pos] = err
	}
}

// cut puts items that lie in one shard, by current routes, into parts of bounded size. What cannot be routed gets its
// error here.
func (b *batch) cut(items []item, on *effort) []piece {
	if len(items) == 0 {
		return nil
	}
	var pieces []piece
	e := b.effort(items[0].op.Key, on)
	for len(items) > 0 {
		e.key, e.fresh = items[0].op.Key, true // what is known is found in no time
		t := keyTarget(items[0].op.Key)
		rt, stop := e.route(&t)
		if stop != nil {
			b.set(items, e.stopped(stop))
			return pieces
		}
		n, bytes := 1, opBytes(&items[0].op)
		for n < len(items) && n < b.maxOps && rt.desc.Range.Contains(items[n].op.Key) {
			if bytes += opBytes(&items[n].op); bytes > partBytes {
				break
			}
			n++
		}
		pieces = append(pieces, piece{items[:n], rt})
		items = items[n:]
	}
	return pieces
}

func opBytes(op *raw.Op) int { return len(op.Key) + len(op.Value) }
