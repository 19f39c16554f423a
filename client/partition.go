package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// Partition is the part of a range that lay in one shard when Partitions was called. It is a range and not a shard, so it
// stays right when that shard splits, merges or moves: then its calls just take a few more steps.
type Partition struct {
	Range Range
	// Leader is the store that led the shard, zero if it was not known: a place to run a job near its data.
	Leader shard.StoreID

	db *DB
}

// Partitions cuts a range at the bounds of shards, for jobs that work on many of them at once. Together the partitions
// are the range, and no two share a key.
func (db *DB) Partitions(ctx context.Context, r Range) ([]Partition, error) {
	if err := checkRange("partitions", r); err != nil {
		return nil, err
	}
	var out []Partition
	if r.empty() {
		return nil, nil
	}
	for rest := r.whole(); ; {
		e := db.begin(ctx, "partitions", rest.Start)
		t := target{first: rest.Start}
		rt, stop := e.route(&t)
		if stop != nil {
			return nil, e.stopped(stop)
		}
		if part, ok := userRange(rt.desc.Range.Intersect(rest)); ok {
			out = append(out, Partition{Range: part, Leader: rt.leader.Store, db: db})
		}
		if rt.desc.Range.CompareEnd(rest.End) >= 0 {
			return out, nil
		}
		rest.Start = rt.desc.Range.End
	}
}

// Scan is DB.Scan of the partition.
func (p *Partition) Scan(ctx context.Context, opts ...ScanOption) iter.Seq2[KV, error] {
	return p.db.Scan(ctx, p.Range, opts...)
}

// ReverseScan is DB.ReverseScan of the partition.
func (p *Partition) ReverseScan(ctx context.Context, opts ...ScanOption) iter.Seq2[KV, error] {
	return p.db.ReverseScan(ctx, p.Range, opts...)
}

// Checksum is the checksum of the partition.
func (p *Partition) Checksum(ctx context.Context, opts ...ReadOption) (Sum, error) {
	return p.db.checksum(ctx, p.Range.whole(), readOptionsOf(opts).follower)
}

// Checksum returns a checksum over the keys of a range, their values and the ends of their lives, computed where the
// data is. Equal contents give equal sums whatever the shards are. Each shard's part is a linearizable read; the whole
// is no view of one moment.
func (db *DB) Checksum(ctx context.Context, r Range, opts ...ReadOption) (Sum, error) {
	parts, err := db.Partitions(ctx, r)
	if err != nil {
		return Sum{}, err
	}
	sums := make([]Sum, len(parts))
	errs := make([]error, len(parts))
	parallel(db.env, len(parts), func(i int) { sums[i], errs[i] = parts[i].Checksum(ctx, opts...) })
	var out Sum
	for i := range parts {
		if errs[i] != nil {
			return Sum{}, errs[i]
		}
		out = out.Add(sums[i])
	}
	return out, nil
}

// checksum adds up the sums of the shards that a range lies in, one after the other.
func (db *DB) checksum(ctx context.Context, rest shard.Range, follower bool) (Sum, error) {
	var out Sum
	for {
		q := raw.Query{Kind: raw.Checksum, Range: rest}
		t := target{first: rest.Start}
		e := db.begin(ctx, "checksum", rest.Start)
		e.limit = db.budget // a store reads the whole shard for one answer
		body, err := e.read(&t, q.Append(nil), follower)
		if err != nil {
			return Sum{}, err
		}
		a, err := e.answer(body)
		if err != nil {
			return Sum{}, err
		}
		out = out.Add(a.Sum)
		if !a.More {
			return out, nil
		}
		if a.Next.Compare(rest.Start) <= 0 {
			return Sum{}, e.fail(ErrInvalid, fmt.Errorf("the checksum does not move on from %s", rest.Start))
		}
		if rest.Start = a.Next.Clone(); rest.Empty() {
			return out, nil
		}
	}
}

// DeleteRange removes every key of a range, shard by shard in order. Each shard's part is atomic. If it ends early the
// error is a *ProgressError, which says how far it came.
func (db *DB) DeleteRange(ctx context.Context, r Range) error {
	if err := checkRange("delete range", r); err != nil {
		return err
	}
	if r.empty() {
		return nil
	}
	for rest := r.whole(); ; {
		end, err := db.deletePart(ctx, rest)
		if err != nil {
			return &ProgressError{Next: rest.Start.Clone().User(), Err: err}
		}
		if rest.End.Compare(end) <= 0 {
			return nil
		}
		rest.Start = end
	}
}

// deletePart deletes the part of rest that lies in the shard of its start, and returns where that part ends.
func (db *DB) deletePart(ctx context.Context, rest shard.Range) (shard.Key, error) {
	e := db.begin(ctx, "delete range", rest.Start)
	for {
		t := target{first: rest.Start}
		rt, stop := e.route(&t)
		if stop != nil {
			return nil, e.stopped(stop)
		}
		part := rt.desc.Range.Intersect(rest)
		t.end = part.End
		_, err := e.write(&t, &raw.Command{Ops: []raw.Op{{Kind: raw.DeleteRange, Key: part.Start, End: part.End}}})
		if err == errOutgrown {
			continue
		}
		return part.End, err
	}
}
