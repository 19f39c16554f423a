// Package mvcctest is the in-memory twin of a shard's transactional data, for tests of what evaluates commands and
// queries.
package mvcctest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/btree"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Map is a shard's versions and locks in the order of physical keys: a mvcc.Writer. The zero value is empty. It lends
// out bytes and spoils them when the call is over, so that who keeps them is found out.
type Map struct {
	kv    *btree.BTreeG[pair]
	Seeks int  // reads so far
	Fail  bool // makes every read fail
	lent  [][]byte
}

type pair struct{ k, v []byte }

// ErrRead is what a Map with Fail returns.
var ErrRead = errors.New("injected read error")

var _ mvcc.Writer = (*Map)(nil)

func (t *Map) tree() *btree.BTreeG[pair] {
	if t.kv == nil {
		t.kv = btree.NewBTreeGOptions(func(a, b pair) bool { return keys.Compare(a.k, b.k) < 0 }, btree.Options{NoLocks: true})
	}
	return t.kv
}

// Copy returns an equal Map.
func (t *Map) Copy() *Map { return &Map{kv: t.tree().Copy()} }

func (t *Map) lend(b []byte) []byte {
	c := bytes.Clone(b)
	t.lent = append(t.lent, c)
	return c
}

func (t *Map) spoil() {
	for _, b := range t.lent {
		for i := range b {
			b[i] = '!'
		}
	}
	t.lent = t.lent[:0]
}

func (t *Map) read() error {
	t.spoil()
	t.Seeks++
	if t.Fail {
		return ErrRead
	}
	return nil
}

func (t *Map) set(k, v []byte)      { t.spoil(); t.tree().Set(pair{k, bytes.Clone(v)}) }
func (t *Map) remove(k []byte) bool { t.spoil(); _, ok := t.tree().Delete(pair{k: k}); return ok }

// SetLock implements mvcc.Writer.
func (t *Map) SetLock(k shard.Key, v []byte) { t.set(keys.Lock(k), v) }

// SetVersion implements mvcc.Writer.
func (t *Map) SetVersion(k shard.Key, ts mvcc.Timestamp, v []byte) {
	t.set(keys.Version(k, uint64(ts)), v)
}

// DeleteLock implements mvcc.Writer.
func (t *Map) DeleteLock(k shard.Key) { t.remove(keys.Lock(k)) }

// DeleteVersion implements mvcc.Writer.
func (t *Map) DeleteVersion(k shard.Key, ts mvcc.Timestamp) {
	if !t.remove(keys.Version(k, uint64(ts))) {
		panic(fmt.Sprintf("no version of %s at %d to delete", k, ts))
	}
}

// Lock implements mvcc.Reader.
func (t *Map) Lock(k shard.Key) ([]byte, bool, error) {
	if err := t.read(); err != nil {
		return nil, false, err
	}
	p, ok := t.tree().Get(pair{k: keys.Lock(k)})
	if !ok {
		return nil, false, nil
	}
	return t.lend(p.v), true, nil
}

// Locks implements mvcc.Reader.
func (t *Map) Locks(r shard.Range, reverse bool, f func(shard.Key, []byte) bool) error {
	if err := t.read(); err != nil {
		return err
	}
	t.walk(keys.LockSpan(r), reverse, func(p pair) bool {
		k, _ := keys.DecodeLock(p.k)
		defer t.spoil()
		return f(t.lend(k), t.lend(p.v))
	})
	return nil
}

func (t *Map) walk(s keys.Span, reverse bool, f func(pair) bool) {
	if s.Empty() {
		return
	}
	in := func(p pair) bool {
		if !s.Contains(p.k) {
			return reverse && keys.Compare(p.k, s.End) >= 0
		}
		return f(p)
	}
	if reverse {
		t.tree().Descend(pair{k: s.End}, in)
	} else {
		t.tree().Ascend(pair{k: s.Start}, in)
	}
}

// Versions implements mvcc.Reader.
func (t *Map) Versions(k shard.Key, at mvcc.Timestamp, f func(mvcc.Timestamp, []byte) bool) error {
	if err := t.read(); err != nil {
		return err
	}
	t.walk(keys.VersionSpan(k, uint64(at)), false, func(p pair) bool {
		_, ts, _ := keys.DecodeVersion(p.k)
		defer t.spoil()
		return f(mvcc.Timestamp(ts), t.lend(p.v))
	})
	return nil
}

// Scan implements mvcc.Reader.
func (t *Map) Scan(r shard.Range, reverse bool, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
	if err := t.read(); err != nil {
		return err
	}
	var all []shard.Key
	t.walk(keys.DataSpan(r), reverse, func(p pair) bool {
		if k, _, ok := keys.DecodeVersion(p.k); ok && (len(all) == 0 || all[len(all)-1].Compare(k) != 0) {
			all = append(all, k.Clone())
		}
		return true
	})
	step := mvcc.NextKey
	for _, k := range all {
		t.walk(keys.VersionSpan(k, uint64(at)), false, func(p pair) bool {
			_, ts, _ := keys.DecodeVersion(p.k)
			defer t.spoil()
			step = f(t.lend(k), mvcc.Timestamp(ts), t.lend(p.v))
			return step == mvcc.NextVersion
		})
		if step == mvcc.Stop {
			break
		}
	}
	return nil
}

// Each calls f with everything that is stored, versions before locks: ts is zero of a lock.
func (t *Map) Each(f func(k shard.Key, ts mvcc.Timestamp, v []byte)) {
	t.tree().Scan(func(p pair) bool {
		if k, ok := keys.DecodeLock(p.k); ok {
			f(k, 0, p.v)
			return true
		}
		k, ts, _ := keys.DecodeVersion(p.k)
		f(k, mvcc.Timestamp(ts), p.v)
		return true
	})
}

// String prints one stored thing a line.
func (t *Map) String() string {
	var b strings.Builder
	t.Each(func(k shard.Key, ts mvcc.Timestamp, v []byte) {
		l, err := mvcc.DecodeLock(v)
		switch {
		case ts != 0:
			fmt.Fprintf(&b, "  %s@%d %x\n", Name(k), ts, v)
		case err != nil:
			fmt.Fprintf(&b, "  damaged lock of %s\n", Name(k))
		default:
			fmt.Fprintf(&b, "  %s locked: %s\n", Name(k), ShowLock(l))
		}
	})
	return b.String()
}

// ShowLock prints a lock for people.
func ShowLock(l *mvcc.Lock) string {
	s := fmt.Sprintf("%s by %d, primary %s, until %d", l.Kind, l.StartTS, Name(l.Primary), l.ExpireAt)
	if l.ForUpdateTS != 0 {
		s += fmt.Sprintf(", for update at %d", l.ForUpdateTS)
	}
	if l.MinCommitTS != 0 {
		s += fmt.Sprintf(", commits from %d", l.MinCommitTS)
	}
	if l.Async {
		s += ", async"
	}
	for _, k := range l.Secondaries {
		s += " " + Name(k)
	}
	if len(l.Value) > 0 {
		s += fmt.Sprintf(", %q", l.Value)
	}
	if l.Long {
		s += ", long"
	}
	return s
}

// Name is the user key.
func Name(k shard.Key) string {
	u, ok := mvcc.UserKey(k)
	if !ok {
		return k.String()
	}
	return string(u)
}
