package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// Get returns the value of a key, or ErrNotFound. The value is the caller's; an empty one is not nil. The read is
// linearizable.
func (db *DB) Get(ctx context.Context, key []byte, opts ...ReadOption) ([]byte, error) {
	row, err := db.getOne(ctx, "get", key, raw.Query{Kind: raw.Get}, opts)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, row.Value...), nil // the row shares its memory with other answers
}

// GetTTL returns what is left of a key's life, zero if it has no end, or ErrNotFound.
func (db *DB) GetTTL(ctx context.Context, key []byte, opts ...ReadOption) (time.Duration, error) {
	row, err := db.getOne(ctx, "get ttl", key, raw.Query{Kind: raw.Get, KeysOnly: true, WithTTL: true}, opts)
	return row.ExpireIn, err
}

func (db *DB) getOne(ctx context.Context, op string, key []byte, q raw.Query, opts []ReadOption) (raw.Row, error) {
	if err := checkKey(op, key); err != nil {
		return raw.Row{}, err
	}
	k := shard.RawKey(key)
	e := db.begin(ctx, op, k)
	t := keyTarget(k)
	q.Keys = []shard.Key{k}
	body, err := e.read(&t, q.Append(nil), readOptionsOf(opts).follower)
	if err != nil {
		return raw.Row{}, err
	}
	var room [1]raw.Row
	a := raw.Answer{Rows: room[:0]}
	if err := a.Decode(body); err != nil {
		return raw.Row{}, e.unreadable(err)
	}
	if len(a.Rows) != 1 {
		return raw.Row{}, e.fail(ErrInvalid, fmt.Errorf("the store answered with %d rows for one key", len(a.Rows)))
	}
	if !a.Rows[0].Found {
		return raw.Row{}, e.fail(ErrNotFound, nil)
	}
	return a.Rows[0], nil
}

// answer decodes what a store read.
func (e *effort) answer(body []byte) (*raw.Answer, error) {
	a, err := raw.DecodeAnswer(body)
	if err != nil {
		return nil, e.unreadable(err)
	}
	return a, nil
}

func (e *effort) unreadable(err error) error {
	return e.fail(ErrInvalid, fmt.Errorf("the store's answer cannot be read, use a client of the cluster's version: %w", err))
}

// Put writes a key. An error is ErrAmbiguous if the write may have happened; with every other one it did not.
func (db *DB) Put(ctx context.Context, key, value []byte, opts ...PutOption) error {
	o := putOptionsOf(opts)
	if err := checkPut("put", key, value, &o); err != nil {
		return err
	}
	k := shard.RawKey(key)
	return db.writeOne(ctx, "put", k, &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: k, Value: value, TTL: o.ttl}}})
}

// Delete removes a key, which need not exist.
func (db *DB) Delete(ctx context.Context, key []byte) error {
	if err := checkKey("delete", key); err != nil {
		return err
	}
	k := shard.RawKey(key)
	return db.writeOne(ctx, "delete", k, &raw.Command{Ops: []raw.Op{{Kind: raw.Delete, Key: k}}})
}

// PutIfAbsent writes a key that does not exist yet. If it does, the error is ErrConflict with a *ConflictError that holds
// its value.
func (db *DB) PutIfAbsent(ctx context.Context, key, value []byte, opts ...PutOption) error {
	o := putOptionsOf(opts)
	if err := checkPut("put if absent", key, value, &o); err != nil {
		return err
	}
	k := shard.RawKey(key)
	return db.writeOne(ctx, "put if absent", k, &raw.Command{Conditions: []raw.Condition{{Key: k}},
		Ops: []raw.Op{{Kind: raw.Put, Key: k, Value: value, TTL: o.ttl}}})
}

// CompareAndSwap writes a key that exists with the value old. If it does not, the error is ErrConflict with a
// *ConflictError that says what is there. A nil old means the empty value; see PutIfAbsent for a key that shall not
// exist.
func (db *DB) CompareAndSwap(ctx context.Context, key, old, value []byte, opts ...PutOption) error {
	o := putOptionsOf(opts)
	if err := checkPut("compare and swap", key, value, &o); err != nil {
		return err
	}
	if err := checkValue("compare and swap", key, old); err != nil {
		return err
	}
	k := shard.RawKey(key)
	return db.writeOne(ctx, "compare and swap", k, &raw.Command{
		Conditions: []raw.Condition{{Key: k, Exists: true, HasValue: true, Value: old}},
		Ops:        []raw.Op{{Kind: raw.Put, Key: k, Value: value, TTL: o.ttl}}})
}

func checkPut(op string, key, value []byte, o *putOptions) error {
	if err := checkKey(op, key); err != nil {
		return err
	}
	if err := checkValue(op, key, value); err != nil {
		return err
	}
	return checkTTL(op, key, o)
}

// writeOne executes a command on one key.
func (db *DB) writeOne(ctx context.Context, op string, k shard.Key, cmd *raw.Command) error {
	e := db.begin(ctx, op, k)
	t := keyTarget(k)
	if err := cmd.Check(); err != nil {
		return e.fail(ErrInvalid, err)
	}
	res, err := e.write(&t, cmd)
	if err != nil {
		return err
	}
	return e.conflict(cmd, &res)
}

// conflict makes the error of a command of which a condition did not hold.
func (e *effort) conflict(cmd *raw.Command, res *raw.Result) error {
	if res.Failed < 0 {
		return nil
	}
	if res.Failed >= len(cmd.Conditions) {
		return e.fail(ErrInvalid, errors.New("the store names a condition that the command does not have"))
	}
	k := cmd.Conditions[res.Failed].Key
	return e.fail(ErrConflict, &ConflictError{Key: bytes.Clone(k.User()), Exists: res.Exists, Current: bytes.Clone(res.Current)})
}
