package client

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// writeKind is what a transaction means to do to a key.
type writeKind uint8

const (
	writePut writeKind = iota + 1
	writeDelete
	writeAdd   // of a delta, to whatever the key holds when the transaction commits
	writeTouch // nothing, but nobody else may write it
)

// pending is a write that the transaction keeps to itself until it commits.
type pending struct {
	kind  writeKind
	value []byte // writePut
	delta int64  // writeAdd
}

// txnBuffer is what a transaction writes and which keys it has locked, by key.
type txnBuffer struct {
	writes map[string]pending
	held   map[string]bool // pessimistic locks, also those that may have been taken
	bytes  int
}

func newBuffer() txnBuffer {
	return txnBuffer{writes: make(map[string]pending), held: make(map[string]bool)}
}

// put replaces what is meant for k.
func (b *txnBuffer) put(k shard.Key, p pending) {
	old, ok := b.writes[string(k)]
	if ok {
		b.bytes -= len(k) + len(old.value)
	}
	b.bytes += len(k) + len(p.value)
	b.writes[string(k)] = p
}

// add adds to what is meant for k. It reports false if that is no counter.
func (b *txnBuffer) add(k shard.Key, delta int64) bool {
	old, ok := b.writes[string(k)]
	switch {
	case !ok || old.kind == writeTouch:
		b.put(k, pending{kind: writeAdd, delta: delta})
	case old.kind == writeAdd:
		b.put(k, pending{kind: writeAdd, delta: old.delta + delta})
	default:
		v, ok := counterPlus(old.value, old.kind == writePut, delta)
		if !ok {
			return false
		}
		b.put(k, pending{kind: writePut, value: v})
	}
	return true
}

// touch locks k without a write, if none is meant.
func (b *txnBuffer) touch(k shard.Key) {
	if _, ok := b.writes[string(k)]; !ok {
		b.put(k, pending{kind: writeTouch})
	}
}

// counterPlus adds to a counter: 8 bytes, big-endian, two's complement, wrapping; a key without a value is zero.
func counterPlus(v []byte, exists bool, delta int64) ([]byte, bool) {
	var n uint64
	if exists {
		if len(v) != 8 {
			return nil, false
		}
		n = binary.BigEndian.Uint64(v)
	}
	return binary.BigEndian.AppendUint64(nil, n+uint64(delta)), true
}

// over is what a key holds for its own transaction, of which the others see row.
func (p pending) over(found bool, value []byte) (Found, bool) {
	switch p.kind {
	case writePut:
		return Found{Value: append([]byte{}, p.value...), Found: true}, true
	case writeDelete:
		return Found{}, true
	case writeAdd:
		v, ok := counterPlus(value, found, p.delta)
		return Found{Value: v, Found: ok}, ok
	}
	if !found {
		return Found{}, true
	}
	return Found{Value: append([]byte{}, value...), Found: true}, true
}

// entry is a pending write with its key.
type entry struct {
	key shard.Key
	pending
}

// within are the writes in a range, in order.
func (b *txnBuffer) within(r shard.Range) []entry {
	var out []entry
	// in any order: sorted below
	for k, p := range b.writes {
		if key := shard.Key(k); r.Contains(key) {
			out = append(out, entry{key: key, pending: p})
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Compare(string(a.key), string(b.key)) })
	return out
}

// mutations is what the transaction's commit writes, in the order of keys. There are no more writeAdds.
func (b *txnBuffer) mutations() []mvcc.Mutation {
	var out []mvcc.Mutation
	// in any order: sorted below
	for k, p := range b.writes {
		m := mvcc.Mutation{Key: shard.Key(k), Held: b.held[k]}
		switch p.kind {
		case writePut:
			m.Kind, m.Value = mvcc.Put, p.value
		case writeDelete:
			m.Kind = mvcc.Delete
		default:
			m.Kind = mvcc.Touch
		}
		out = append(out, m)
	}
	// in any order: sorted below
	for k := range b.held {
		if _, ok := b.writes[k]; !ok {
			out = append(out, mvcc.Mutation{Kind: mvcc.Touch, Key: shard.Key(k), Held: true})
		}
	}
	slices.SortFunc(out, func(a, b mvcc.Mutation) int { return a.Key.Compare(b.Key) })
	return out
}

// heldKeys are the keys with pessimistic locks, in order.
func (b *txnBuffer) heldKeys() []shard.Key {
	var out []shard.Key
	// in any order: sorted below
	for k := range b.held {
		out = append(out, shard.Key(k))
	}
	slices.SortFunc(out, shard.Key.Compare)
	return out
}
