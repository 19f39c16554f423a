package client

import (
	"iter"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Scan yields the keys of a range in order, across shards, a page at a time, with the transaction's own writes among them:
// those that were there when the scan began. An error ends it.
func (t *Txn) Scan(r Range, opts ...ScanOption) iter.Seq2[KV, error] { return t.scan(r, false, opts) }

// ReverseScan is Scan from the end of the range down.
func (t *Txn) ReverseScan(r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return t.scan(r, true, opts)
}

func (t *Txn) scan(r Range, reverse bool, opts []ScanOption) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		p, err := newPages(t.ctx, &t.v, r, reverse, opts)
		if err == nil {
			_, err = t.begin(p.name(), p.rest.Start)
		}
		if err != nil {
			yield(KV{}, err)
			return
		}
		if t.reads != nil {
			p.seen = t.reads.part
		}
		own := t.buf.within(p.rest)
		own = slices.DeleteFunc(own, func(w entry) bool { return w.kind == writeTouch })
		if reverse {
			slices.Reverse(own)
		}
		m := merge{p: p, own: own, limit: p.left, yield: yield, e: t}
		if len(own) > 0 {
			// The page's limit knows nothing of own removals; and a counter that is added to needs its value.
			p.left, p.o.keysOnly = -1, false
		}
		m.run()
	}
}

// merge yields committed rows and own writes in one order.
type merge struct {
	p     *pages
	own   []entry // in the order of the scan
	limit int     // negative: none
	yield func(KV, error) bool
	e     *Txn
}

func (m *merge) run() {
	for row, err := range m.p.rows() {
		if err != nil {
			m.yield(KV{}, m.e.note(err))
			return
		}
		if !m.ownBefore(row.Key) {
			return
		}
		if len(m.own) > 0 && m.own[0].key.Compare(row.Key) == 0 {
			w := m.own[0]
			m.own = m.own[1:]
			if !m.put(w, true, row.Value) {
				return
			}
			continue
		}
		if !m.give(row.Key, row.Value) {
			return
		}
	}
	m.ownBefore(nil)
}

// ownBefore yields own writes that come before a key; nil: all of them.
func (m *merge) ownBefore(k shard.Key) bool {
	for len(m.own) > 0 {
		c := -1
		if k != nil {
			c = m.own[0].key.Compare(k)
			if m.p.reverse {
				c = -c
			}
		}
		if c >= 0 {
			return true
		}
		w := m.own[0]
		m.own = m.own[1:]
		if !m.put(w, false, nil) {
			return false
		}
	}
	return true
}

func (m *merge) put(w entry, found bool, value []byte) bool {
	f, ok := w.over(found, value)
	if !ok {
		e := m.p.v.db.begin(m.p.ctx, m.p.name(), w.key)
		m.yield(KV{}, e.refusal(&mvcc.Rejected{Reason: mvcc.NotCounter, Key: w.key}))
		return false
	}
	if !f.Found {
		return true
	}
	return m.give(w.key, f.Value)
}

func (m *merge) give(k shard.Key, v []byte) bool {
	if m.limit == 0 {
		return false
	}
	if m.limit > 0 {
		m.limit--
	}
	return m.yield(KV{Key: userOf(k), Value: v}, nil) && m.limit != 0
}
