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
		c, err := newCursor(t.db, &t.v, r, r.wholeTxn(), reverse, opts)
		if err == nil {
			_, err = t.begin(c.op, c.rest.Start)
		}
		if err != nil {
			yield(KV{}, err)
			return
		}
		c.o.follower = false // a transaction reads where its locks lie
		if t.reads != nil {
			c.from = watchedRows{&t.v, t.reads}
		}
		own := t.buf.within(c.rest)
		own = slices.DeleteFunc(own, func(w entry) bool { return w.kind == writeTouch })
		if reverse {
			slices.Reverse(own)
		}
		m := merge{c: c, own: own, limit: c.o.limit, yield: yield, e: t}
		if m.limit == 0 {
			m.limit = -1
		}
		if len(own) > 0 {
			// The page's limit knows nothing of own removals; and a counter that is added to needs its value.
			c.o.limit, c.o.keysOnly = 0, false
		}
		m.run()
	}
}

// watchedRows is a view of which the reads of a serializable transaction are remembered. It is read one page at a time: what nobody takes
// would be remembered as well.
type watchedRows struct {
	*view
	reads *readSet
}

func (w watchedRows) read(e *effort, t *target, q *query) (page[mvcc.Row], error) {
	a, p, err := w.view.scan(e, t, q)
	if err == nil {
		w.reads.part(a.Range, a.Rows)
	}
	return p, err
}

// merge yields committed rows and own writes in one order.
type merge struct {
	c     *cursor[mvcc.Row]
	own   []entry // in the order of the scan
	limit int     // negative: none
	yield func(KV, error) bool
	e     *Txn
}

func (m *merge) run() {
	for row, err := range rowsOf(m.c.pages(m.e.ctx)) {
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
			if m.c.reverse {
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
		e := m.e.db.begin(m.e.ctx, m.c.op, w.key)
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
