package client

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Snapshot is the transactional keys as of one timestamp. Safe for concurrent use; nothing needs to be closed.
type Snapshot struct {
	v view

	mu      sync.Mutex
	checked bool // the timestamp was issued
}

// At reads as of a timestamp: of one that Timestamp fetched, or any below it down to the safe point, below which reads end
// with ErrTooOld. A timestamp that lies in the future is refused with ErrInvalid by the first read.
func (db *DB) At(ts Timestamp, opts ...ReadOption) *Snapshot {
	return &Snapshot{v: view{db: db, ts: ts, follower: readOptionsOf(opts).follower}}
}

// Stale reads as of about d ago, from any replica: one that has heard of its leader since then answers alone. So it spares
// the leaders the work, and goes on where a shard has none, as long as that was not longer ago. d is counted by the clock of
// placement, which is asked for a timestamp.
func (db *DB) Stale(ctx context.Context, d time.Duration) (*Snapshot, error) {
	ts, err := db.Timestamp(ctx)
	if err != nil {
		return nil, err
	}
	if d < 0 || shard.Millis(d.Milliseconds()) > ts.Millis() {
		return nil, refuse("read stale", nil, ErrInvalid, fmt.Sprintf("%s ago is no moment of the past", d), "give a time above zero, such as time.Second")
	}
	return db.At(ts.Ago(shard.Millis(d.Milliseconds())), ReadFromFollower()), nil
}

// TS is the timestamp that the snapshot reads at.
func (s *Snapshot) TS() Timestamp { return s.v.ts }

// check refuses a timestamp that was not issued yet: what is read there could still change.
func (s *Snapshot) check(e *effort) error {
	s.mu.Lock()
	ok := s.checked
	s.mu.Unlock()
	if ok {
		return nil
	}
	if s.v.ts > e.db.stamps.latest() {
		now, err := e.stamp()
		if err != nil {
			return err
		}
		if s.v.ts > now {
			return e.future(s.v.ts, now)
		}
	}
	if s.v.ts == 0 {
		return e.refuse("timestamp 0 was never issued", "fetch one with Timestamp (`skerry ctl ts`)")
	}
	s.mu.Lock()
	s.checked = true
	s.mu.Unlock()
	return nil
}

// future refuses a timestamp that was not issued yet.
func (e *effort) future(ts, now Timestamp) *Error {
	return e.refuse(fmt.Sprintf("timestamp %d lies in the future, above %d", ts, now), "fetch one with Timestamp (`skerry ctl ts`)")
}

// Get reads one key. A key that did not exist is ErrNotFound.
func (s *Snapshot) Get(ctx context.Context, key []byte) ([]byte, error) {
	f, err := s.GetMany(ctx, [][]byte{key})
	if err != nil {
		return nil, err
	}
	if !f[0].Found {
		return nil, refuse("get", key, ErrNotFound, "", "")
	}
	return f[0].Value, nil
}

// GetMany reads keys, of all shards at once, all as of the snapshot's timestamp.
func (s *Snapshot) GetMany(ctx context.Context, keys [][]byte) ([]Found, error) {
	sorted, err := sortedKeys("get", keys)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	e := s.v.db.begin(ctx, "get", sorted[0])
	if err := s.check(&e); err != nil {
		return nil, err
	}
	rows := make([]mvcc.Row, len(sorted))
	if err := s.v.get(&e, sorted, rows); err != nil {
		return nil, err
	}
	out := make([]Found, len(keys))
	for i, k := range keys {
		at, _ := slices.BinarySearchFunc(sorted, mvcc.Key(k), shard.Key.Compare)
		out[i] = foundOf(&rows[at])
	}
	return out, nil
}

func foundOf(r *mvcc.Row) Found {
	if !r.Found {
		return Found{}
	}
	return Found{Value: append([]byte{}, r.Value...), Found: true}
}

// sortedKeys puts users' keys into the keyspace, each once.
func sortedKeys(op string, keys [][]byte) ([]shard.Key, error) {
	out := make([]shard.Key, len(keys))
	for i, k := range keys {
		if err := checkKey(op, k); err != nil {
			return nil, err
		}
		out[i] = mvcc.Key(k)
	}
	slices.SortFunc(out, shard.Key.Compare)
	return slices.CompactFunc(out, func(a, b shard.Key) bool { return a.Compare(b) == 0 }), nil
}

// Scan yields the keys of a range in order, across shards, all as of the snapshot's timestamp. It reads ahead as DB.Scan does, and its keys and
// values are the caller's unless he gives ReuseRows.
func (s *Snapshot) Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return s.scan(ctx, r, false, opts)
}

// ReverseScan is Scan from the end of the range down.
func (s *Snapshot) ReverseScan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return s.scan(ctx, r, true, opts)
}

func (s *Snapshot) scan(ctx context.Context, r Range, reverse bool, opts []ScanOption) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		c, err := newCursor(s.v.db, &s.v, r, r.wholeTxn(), reverse, opts)
		if err == nil {
			e := s.v.db.begin(ctx, c.op, c.rest.Start)
			err = s.check(&e)
		}
		if err != nil {
			yield(KV{}, err)
			return
		}
		for row, err := range rowsOf(walkOf(c).pages(ctx)) {
			if err != nil {
				yield(KV{}, err)
				return
			}
			if !yield(KV{Key: userOf(row.Key), Value: row.Value}, nil) {
				return
			}
		}
	}
}
