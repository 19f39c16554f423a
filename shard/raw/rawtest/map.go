// Package rawtest is the in-memory twin of a shard's data, for tests of what evaluates commands and queries.
package rawtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/btree"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/mvcc/mvcctest"
	"github.com/skerrydb/skerry/shard/raw"
)

// ErrRead is what a Map with FailReads returns.
var ErrRead = errors.New("injected read error")

// Map is an ordered map of stored values: a raw.Writer, by Reader a raw.Reader, by Txn a mvcc.Writer. Like the real ones it hands out
// values that are only valid until the next call: it spoils them then, so that who keeps one is found out.
type Map struct {
	kv btree.Map[string, []byte]
	// Reads and Writes count the calls.
	Reads, Writes int
	// FailReads makes every read fail.
	FailReads bool

	txn  mvcctest.Map
	lent [][]byte
}

var _ raw.Writer = (*Map)(nil)

// Copy returns an equal Map.
func (m *Map) Copy() *Map { return &Map{kv: *m.kv.Copy(), txn: *m.txn.Copy()} }

// Txn is the transactional data beside the raw ones.
func (m *Map) Txn() mvcc.Writer {
	m.txn.Fail = m.FailReads
	return &m.txn
}

// lend gives out a copy that is valid until the next call.
func (m *Map) lend(b []byte) []byte {
	c := bytes.Clone(b)
	m.lent = append(m.lent, c)
	return c
}

func (m *Map) spoil() {
	for _, b := range m.lent {
		for i := range b {
			b[i] = '!'
		}
	}
	m.lent = m.lent[:0]
}

// Get implements raw.Writer.
func (m *Map) Get(k shard.Key) ([]byte, bool, error) {
	m.spoil()
	m.Reads++
	if m.FailReads {
		return nil, false, ErrRead
	}
	v, ok := m.kv.Get(string(k))
	if !ok {
		return nil, false, nil
	}
	return m.lend(v), true, nil
}

// Set implements raw.Writer.
func (m *Map) Set(k shard.Key, v []byte) {
	m.spoil()
	m.Writes++
	m.kv.Set(string(k), append([]byte{}, v...))
}

// Scratch implements raw.Writer.
func (m *Map) Scratch(n int) []byte { return make([]byte, 0, n) }

// Delete implements raw.Writer.
func (m *Map) Delete(k shard.Key) {
	m.spoil()
	m.Writes++
	m.kv.Delete(string(k))
}

// DeleteRange implements raw.Writer.
func (m *Map) DeleteRange(r shard.Range) {
	m.spoil()
	m.Writes++
	var gone []string
	m.kv.Ascend(string(r.Start), func(k string, _ []byte) bool {
		if !r.Contains(shard.Key(k)) {
			return false
		}
		gone = append(gone, k)
		return true
	})
	for _, k := range gone {
		m.kv.Delete(k)
	}
}

// Scan implements raw.Writer.
func (m *Map) Scan(r shard.Range, f func(k shard.Key, v []byte) bool) error {
	return m.scan(r, false, f)
}

func (m *Map) scan(r shard.Range, reverse bool, f func(k shard.Key, v []byte) bool) error {
	m.spoil()
	m.Reads++
	if m.FailReads {
		return ErrRead
	}
	visit := func(k string, v []byte) bool {
		if !r.Contains(shard.Key(k)) {
			return reverse && len(r.End) != 0 && k >= string(r.End) // the end itself is where a descent begins
		}
		defer m.spoil()
		return f(m.lend([]byte(k)), m.lend(v))
	}
	switch {
	case !reverse:
		m.kv.Ascend(string(r.Start), visit)
	case len(r.End) == 0:
		m.kv.Reverse(visit)
	default:
		m.kv.Descend(string(r.End), visit)
	}
	return nil
}

// Reader returns m as a raw.Reader.
func (m *Map) Reader() Reader { return Reader{m} }

// Reader reads a Map.
type Reader struct{ m *Map }

var _ raw.Reader = Reader{}

// Get implements raw.Reader.
func (r Reader) Get(k shard.Key) ([]byte, bool, error) { return r.m.Get(k) }

// Scan implements raw.Reader.
func (r Reader) Scan(in shard.Range, reverse bool, f func(k shard.Key, v []byte) bool) error {
	return r.m.scan(in, reverse, f)
}

// String prints one stored value a line: key, value, expire_at.
func (m *Map) String() string {
	var b strings.Builder
	m.kv.Scan(func(k string, stored []byte) bool {
		v, err := raw.DecodeValue(stored)
		switch {
		case err != nil:
			fmt.Fprintf(&b, "%s damaged %x\n", k, stored)
		case v.ExpireAt != 0:
			fmt.Fprintf(&b, "%s=%q expires at %d\n", k, v.User, v.ExpireAt)
		default:
			fmt.Fprintf(&b, "%s=%q\n", k, v.User)
		}
		return true
	})
	b.WriteString(m.txn.String())
	if b.Len() == 0 {
		return "empty\n"
	}
	return b.String()
}
