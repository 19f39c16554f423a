package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Txn is a transaction over any keys of the cluster: it reads as of its start, sees its own writes, and all of its writes
// appear at once, or none. Its writes stay here until Commit. Transactional keys are apart from those of Put and Get of a
// DB. A Txn is for one task at a time, and all its calls end with the context that it began with.
type Txn struct {
	db   *DB
	ctx  context.Context
	o    txnOptions
	what string // "update", "transaction", "view"

	readOnly bool
	over     bool
	v        view // v.ts is zero until the first read or lock
	// fresh: v.ts was fetched by the commit, so that nothing that came before can have been missed.
	fresh     bool
	forUpdate Timestamp // the largest that locks were taken with, as far as it is known here
	locked    bool      // it asked for pessimistic locks
	primary   shard.Key // of the pessimistic locks, the first that was taken
	buf       txnBuffer
	reads     *readSet // what was read, of a serializable transaction; else nil
	kept      *kept    // while its locks are kept alive
	lost      bool     // a call of it met a conflict
	commitTS  Timestamp
}

func (db *DB) newTxn(ctx context.Context, what string, o txnOptions) *Txn {
	t := &Txn{db: db, ctx: ctx, what: what, o: o, buf: newBuffer()}
	t.v.db = db
	t.v.impatient = func() bool { return len(t.buf.held) > 0 }
	if o.serializable {
		t.reads = newReadSet()
	}
	return t
}

// Begin starts a transaction that ends with Commit or Rollback; use Update where a closure does. Until then its locks, if it
// takes any, are kept alive, at most for maxTxnLife.
func (db *DB) Begin(ctx context.Context, opts ...TxnOption) (*Txn, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	return db.newTxn(ctx, "transaction", txnOptionsOf(opts)), nil
}

// Update runs f in a transaction and commits it. If another transaction stood in the way, f runs again in a new one, so it
// must have no effect but on its Txn; after the retry budget of the DB (see WithRetryBudget) that ends with ErrConflict. An
// error of f rolls the transaction back and is returned as it is. ErrAmbiguous says that the transaction may have been
// committed, or may yet be; it is not run again.
func (db *DB) Update(ctx context.Context, f func(tx *Txn) error, opts ...TxnOption) error {
	o := txnOptionsOf(opts)
	e := db.begin(ctx, "update", nil)
	for {
		tx := db.newTxn(ctx, "update", o)
		err := f(tx)
		switch {
		case err == nil && !tx.over:
			err = tx.Commit()
		case !tx.over:
			_ = tx.Rollback()
		}
		if err == nil || !tx.lost || !errors.Is(err, ErrConflict) {
			return err
		}
		if e.pause(conflicted, err, 0) != nil {
			return err
		}
	}
}

// View runs f in a transaction that only reads: all of it as of one timestamp, which is fetched by its first read. It takes no
// locks and never conflicts.
func (db *DB) View(ctx context.Context, f func(tx *Txn) error) error {
	tx := db.newTxn(ctx, "view", txnOptions{})
	tx.readOnly = true
	defer func() { tx.over = true }()
	return f(tx)
}

// StartTS is the timestamp as of which the transaction reads; zero before its first read or lock.
func (t *Txn) StartTS() Timestamp { return t.v.ts }

// CommitTS is when the transaction committed; zero if it has not, or wrote nothing.
func (t *Txn) CommitTS() Timestamp { return t.commitTS }

// begin starts a call's effort, and gives the transaction its start if it has none.
func (t *Txn) begin(op string, key shard.Key) (effort, error) {
	e := t.db.begin(t.ctx, t.what+": "+op, key)
	if t.over {
		return e, e.fail(ErrTxnDone, nil)
	}
	return e, t.started(&e)
}

func (t *Txn) started(e *effort) error {
	if t.v.ts != 0 {
		return nil
	}
	ts := t.db.stamps.latest()
	if ts == 0 || !t.readOnly || !bug.CachedTimestamp.On() {
		var err error
		if ts, err = e.stamp(); err != nil {
			return err
		}
	}
	t.v.ts, t.v.own = ts, ts
	return nil
}

// note remembers a conflict, after which Update begins anew.
func (t *Txn) note(err error) error {
	if errors.Is(err, ErrConflict) {
		t.lost = true
	}
	return err
}

// Get reads one key. A key that does not exist is ErrNotFound.
func (t *Txn) Get(key []byte) ([]byte, error) {
	if t.o.pessimistic && !t.readOnly {
		return t.GetForUpdate(key)
	}
	f, err := t.GetMany([][]byte{key})
	if err != nil {
		return nil, err
	}
	if !f[0].Found {
		return nil, refuse(t.what+": get", key, ErrNotFound, "", "")
	}
	return f[0].Value, nil
}

// GetMany reads keys, of all shards at once. Results are in the order of the keys.
func (t *Txn) GetMany(keys [][]byte) ([]Found, error) {
	sorted, err := sortedKeys(t.what+": get", keys)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	var ask []shard.Key
	for _, k := range sorted {
		if p, ok := t.buf.writes[string(k)]; !ok || p.kind == writeAdd || p.kind == writeTouch {
			ask = append(ask, k)
		}
	}
	rows := make([]mvcc.Row, len(ask))
	e, err := t.begin("get", sorted[0])
	if err != nil {
		return nil, err
	}
	if len(ask) > 0 {
		if err := t.v.get(&e, ask, rows); err != nil {
			return nil, t.note(err)
		}
		t.reads.point(ask, rows)
	}
	out := make([]Found, len(keys))
	for i, k := range keys {
		key := mvcc.Key(k)
		var row mvcc.Row
		if at, ok := slices.BinarySearchFunc(ask, key, shard.Key.Compare); ok {
			row = rows[at]
		}
		p, ok := t.buf.writes[string(key)]
		if !ok {
			out[i] = foundOf(&row)
			continue
		}
		if out[i], ok = p.over(row.Found, row.Value); !ok {
			return nil, e.refusal(&mvcc.Rejected{Reason: mvcc.NotCounter, Key: key})
		}
	}
	return out, nil
}

// Put sets a key.
func (t *Txn) Put(key, value []byte) error {
	if err := checkValue(t.what+": put", key, value); err != nil {
		return err
	}
	return t.write("put", key, func(k shard.Key) bool {
		t.buf.put(k, pending{kind: writePut, value: slices.Clone(value)})
		return true
	})
}

// Delete removes a key, which need not exist.
func (t *Txn) Delete(key []byte) error {
	return t.write("delete", key, func(k shard.Key) bool { t.buf.put(k, pending{kind: writeDelete}); return true })
}

// Add adds delta to a counter: 8 bytes, big-endian, two's complement, wrapping; a key without a value is zero. The addition is
// evaluated where the counter is, when the transaction commits, on what the counter holds then: it never conflicts with
// other additions. A transaction that does nothing but one Add is the fastest that there is. In one with more writes the
// counter is locked for the length of the commit.
func (t *Txn) Add(key []byte, delta int64) error {
	return t.write("add", key, func(k shard.Key) bool { return t.buf.add(k, delta) })
}

// write puts a write into the buffer.
func (t *Txn) write(op string, key []byte, put func(k shard.Key) bool) error {
	if err := t.writable(op, key); err != nil {
		return err
	}
	k := mvcc.Key(key)
	if t.o.pessimistic && op != "add" {
		if err := t.lock(op, []shard.Key{k}, nil); err != nil {
			return err
		}
	}
	if !put(k) {
		return refuse(t.what+": "+op, key, ErrNotCounter, "", "put 8 bytes, big-endian, first, or delete the key")
	}
	if len(t.buf.writes) > maxTxnKeys || t.buf.bytes > t.o.maxBytes {
		return refuse(t.what+": "+op, key, ErrTxnTooLarge,
			fmt.Sprintf("%d keys and %d bytes, at most %d and %d", len(t.buf.writes), t.buf.bytes, maxTxnKeys, t.o.maxBytes), "write less in one transaction")
	}
	return nil
}

func (t *Txn) writable(op string, key []byte) error {
	switch {
	case t.over:
		return refuse(t.what+": "+op, key, ErrTxnDone, "", "begin another one")
	case t.readOnly:
		return refuse(t.what+": "+op, key, ErrReadOnly, "", "use Update")
	}
	return checkKey(t.what+": "+op, key)
}

// Rollback gives the transaction up. After Commit, or a second time, it does nothing.
func (t *Txn) Rollback() error {
	if t.over {
		return nil
	}
	t.over = true
	t.release()
	return nil
}
