package client

import (
	"context"
	"iter"
	"sync"

	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Scan yields the keys of a range in order, across shards, a page at a time; the next page is fetched meanwhile, and of a long scan pages of
// the next shards as well. An error ends it. Keys and values are the caller's, unless he gives ReuseRows; one that is kept keeps its page in
// memory.
//
// A key that exists throughout the scan appears exactly once. A page is a linearizable read of its part of one shard;
// the scan as a whole is no view of one moment.
func (db *DB) Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return db.scan(ctx, r, false, opts)
}

// ReverseScan is Scan from the end of the range down.
func (db *DB) ReverseScan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return db.scan(ctx, r, true, opts)
}

func (db *DB) scan(ctx context.Context, r Range, reverse bool, opts []ScanOption) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		c, err := newCursor(db, rawRows{}, r, r.whole(), reverse, opts)
		if err != nil {
			yield(KV{}, err)
			return
		}
		for row, err := range rowsOf(walkOf(c).pages(ctx)) {
			if err != nil {
				yield(KV{}, err)
				return
			}
			if !yield(KV{Key: row.Key.User(), Value: row.Value}, nil) {
				return
			}
		}
	}
}

// rawRows is the source of raw keys.
type rawRows struct{}

var spareRawRows sync.Pool // of *[]raw.Row

func (rawRows) read(e *effort, t *target, q *query) (page[raw.Row], error) {
	body := (&raw.Query{Kind: raw.Scan, Range: q.in, Reverse: q.reverse, KeysOnly: q.o.keysOnly, Limit: q.limit, MaxBytes: q.bytes}).Append(nil)
	rep, err := e.fetch(t, call.Request{Kind: call.Read, Follower: q.o.follower, Lend: q.o.reuse, Body: body})
	if err != nil {
		return page[raw.Row]{}, err
	}
	a := raw.Answer{Rows: spareRows[raw.Row](&spareRawRows)}
	if err := a.Decode(rep.Body); err != nil {
		return page[raw.Row]{}, e.unreadable(err)
	}
	return page[raw.Row]{rows: a.Rows, spare: &spareRawRows, room: q.room(&rep), more: a.More, next: a.Next}, nil
}
