package mvcc_test

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

// twin is the in-memory twin of a shard's transactional data, in the order of physical keys: a mvcc.Writer. It lends
// out bytes and spoils them when the call is over, so that who keeps them is found out.
type twin struct {
	kv    *btree.BTreeG[pair]
	seeks int // reads so far
	fail  bool
	lent  [][]byte
}

type pair struct{ k, v []byte }

var errRead = errors.New("injected read error")

var _ mvcc.Writer = (*twin)(nil)

func newTwin() *twin {
	return &twin{kv: btree.NewBTreeGOptions(func(a, b pair) bool { return keys.Compare(a.k, b.k) < 0 }, btree.Options{NoLocks: true})}
}

func (t *twin) lend(b []byte) []byte {
	c := bytes.Clone(b)
	t.lent = append(t.lent, c)
	return c
}

func (t *twin) spoil() {
	for _, b := range t.lent {
		for i := range b {
			b[i] = '!'
		}
	}
	t.lent = t.lent[:0]
}

func (t *twin) read() error {
	t.spoil()
	t.seeks++
	if t.fail {
		return errRead
	}
	return nil
}

func (t *twin) set(k, v []byte)      { t.spoil(); t.kv.Set(pair{k, bytes.Clone(v)}) }
func (t *twin) remove(k []byte) bool { t.spoil(); _, ok := t.kv.Delete(pair{k: k}); return ok }

func (t *twin) SetLock(k shard.Key, v []byte) { t.set(keys.Lock(k), v) }
func (t *twin) SetVersion(k shard.Key, ts mvcc.Timestamp, v []byte) {
	t.set(keys.Version(k, uint64(ts)), v)
}
func (t *twin) DeleteLock(k shard.Key) { t.remove(keys.Lock(k)) }
func (t *twin) DeleteVersion(k shard.Key, ts mvcc.Timestamp) {
	if !t.remove(keys.Version(k, uint64(ts))) {
		panic(fmt.Sprintf("no version of %s at %d to delete", k, ts))
	}
}

func (t *twin) Lock(k shard.Key) ([]byte, bool, error) {
	if err := t.read(); err != nil {
		return nil, false, err
	}
	p, ok := t.kv.Get(pair{k: keys.Lock(k)})
	if !ok {
		return nil, false, nil
	}
	return t.lend(p.v), true, nil
}

func (t *twin) Locks(r shard.Range, reverse bool, f func(shard.Key, []byte) bool) error {
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

func (t *twin) walk(s keys.Span, reverse bool, f func(pair) bool) {
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
		t.kv.Descend(pair{k: s.End}, in)
	} else {
		t.kv.Ascend(pair{k: s.Start}, in)
	}
}

func (t *twin) Versions(k shard.Key, at mvcc.Timestamp, f func(mvcc.Timestamp, []byte) bool) error {
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

func (t *twin) Scan(r shard.Range, reverse bool, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
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

// String prints one stored thing a line.
func (t *twin) String() string {
	var b strings.Builder
	t.kv.Scan(func(p pair) bool {
		if k, ok := keys.DecodeLock(p.k); ok {
			l, err := mvcc.DecodeLock(p.v)
			if err != nil {
				fmt.Fprintf(&b, "  damaged lock of %s\n", name(k))
				return true
			}
			fmt.Fprintf(&b, "  %s locked: %s\n", name(k), showLock(l))
			return true
		}
		k, ts, _ := keys.DecodeVersion(p.k)
		fmt.Fprintf(&b, "  %s@%d %s\n", name(k), ts, mvcc.ShowRecord(p.v))
		return true
	})
	if b.Len() == 0 {
		return "  empty\n"
	}
	return b.String()
}

func showLock(l *mvcc.Lock) string {
	s := fmt.Sprintf("%s by %d, primary %s, until %d", l.Kind, l.StartTS, name(l.Primary), l.ExpireAt)
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
		s += " " + name(k)
	}
	if len(l.Value) > 0 {
		s += fmt.Sprintf(", %q", l.Value)
	}
	if l.Long {
		s += ", long"
	}
	return s
}

// name is the user key.
func name(k shard.Key) string {
	u, ok := mvcc.UserKey(k)
	if !ok {
		return k.String()
	}
	return string(u)
}
