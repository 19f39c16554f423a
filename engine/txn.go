package engine

import (
	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Transactional data of a shard lie in two spans: versions among its data, locks in a span of their own (see package
// keys). A point read finds the newest version at or below its timestamp with one seek, which the Bloom filters over
// prefixes spare where no version of the key can be: the key without its timestamp is the prefix.

// Txn is the transactional side of the view.
func (r *Reader) Txn() mvcc.Reader { return (*txnReader)(r) }

// Txn reads the latest transactional data, each call of its own view.
func (e *Engine) Txn() mvcc.Reader { return txnLatest{e} }

// Txn is the transactional side of the batch.
func (b *StateBatch) Txn() mvcc.Writer { return (*txnBatch)(b) }

// lockSpan holds the locks of the keys of a range; only transactional keys have any.
func lockSpan(r shard.Range) keys.Span {
	return keys.LockSpan(r.Intersect(shard.ModeRange(shard.ModeTxn)))
}

// versionsOf calls f with the versions of k at and below at, newest first. buf is scratch, returned grown. it may stand
// anywhere, and has no bounds that cut k's versions.
func versionsOf(it *pebble.Iterator, buf []byte, k shard.Key, at mvcc.Timestamp, f func(mvcc.Timestamp, []byte) bool) ([]byte, error) {
	buf = keys.AppendVersion(buf[:0], k, uint64(at))
	for ok := it.SeekPrefixGE(buf); ok; ok = it.Next() {
		_, ts, ok := keys.DecodeVersion(it.Key())
		if !ok {
			break
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return buf, err
		}
		if !f(mvcc.Timestamp(ts), v) {
			break
		}
	}
	return buf, it.Error()
}

// scanVersions walks over an iterator that is bounded to s, the data of a range.
func scanVersions(it *pebble.Iterator, s keys.Span, reverse bool, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
	if reverse {
		return scanVersionsBack(it, at, f)
	}
	var buf []byte
	// Pebble refuses to jump over a prefix, by a panic, if the upper bound is none; a client's or an administrator's bytes
	// may be such a bound.
	jump := keys.Split(s.End) == len(s.End)
	for ok := it.First(); ok; {
		k, ts, version := keys.DecodeVersion(it.Key())
		switch {
		case !version:
			ok = it.Next()
			continue
		case mvcc.Timestamp(ts) > at:
			buf = keys.AppendVersion(buf[:0], k, uint64(at))
			ok = it.SeekGE(buf)
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		switch f(k, mvcc.Timestamp(ts), v) {
		case mvcc.Stop:
			return it.Error()
		case mvcc.NextVersion:
			ok = it.Next()
		case mvcc.NextKey:
			if jump {
				ok = it.NextPrefix()
			} else {
				buf = keys.ImmediateSuccessor(buf[:0], keys.Prefix(it.Key()))
				ok = it.SeekGE(buf)
			}
		}
	}
	return it.Error()
}

// scanVersionsBack goes from key to key backwards, and forwards through the versions of each.
func scanVersionsBack(it *pebble.Iterator, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
	var k shard.Key
	var buf []byte
	for ok := it.Last(); ok; ok = it.SeekLT(buf) {
		p, _, version := keys.DecodeVersion(it.Key())
		if !version {
			buf = append(buf[:0], it.Key()...)
			continue
		}
		k = append(k[:0], p...)
		buf = keys.AppendVersion(buf[:0], k, uint64(at))
		for ok := it.SeekGE(buf); ok; ok = it.Next() {
			p, ts, version := keys.DecodeVersion(it.Key())
			if !version || k.Compare(p) != 0 {
				break
			}
			v, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			step := f(p, mvcc.Timestamp(ts), v)
			if step == mvcc.Stop {
				return it.Error()
			}
			if step == mvcc.NextKey {
				break
			}
		}
		buf = keys.AppendData(buf[:0], k)
	}
	return it.Error()
}

// walkLocks walks over an iterator that is bounded to the locks of a range.
func walkLocks(it *pebble.Iterator, reverse bool, f func(shard.Key, []byte) bool) error {
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		k, ok := keys.DecodeLock(it.Key())
		if !ok || !f(k, v) {
			break
		}
	}
	return it.Error()
}

// txnReader is a Reader's transactional side.
type txnReader Reader

// Lock implements mvcc.Reader.
func (r *txnReader) Lock(k shard.Key) ([]byte, bool, error) {
	r.buf = keys.AppendLock(r.buf[:0], k)
	return (*Reader)(r).get(r.buf)
}

// Locks implements mvcc.Reader.
func (r *txnReader) Locks(rg shard.Range, reverse bool, f func(shard.Key, []byte) bool) error {
	return r.within(lockSpan(rg), func(it *pebble.Iterator) error { return walkLocks(it, reverse, f) })
}

// Versions implements mvcc.Reader.
func (r *txnReader) Versions(k shard.Key, at mvcc.Timestamp, f func(mvcc.Timestamp, []byte) bool) error {
	if r.err != nil {
		return r.err
	}
	var err error
	if r.buf, err = versionsOf(r.it, r.buf, k, at, f); err != nil {
		r.err = r.e.readFailed("read versions", err)
	}
	return r.err
}

// Scan implements mvcc.Reader.
func (r *txnReader) Scan(rg shard.Range, reverse bool, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
	s := keys.DataSpan(rg)
	return r.within(s, func(it *pebble.Iterator) error { return scanVersions(it, s, reverse, at, f) })
}

// within lends the iterator out with bounds.
func (r *txnReader) within(s keys.Span, f func(*pebble.Iterator) error) error {
	if r.err != nil || s.Empty() {
		return r.err
	}
	r.it.SetBounds(s.Start, s.End)
	err := f(r.it)
	r.it.SetBounds(nil, nil)
	if err != nil {
		r.err = r.e.readFailed("scan", err)
	}
	return r.err
}

// txnLatest reads without a view: a point read costs one iterator and one seek.
type txnLatest struct{ e *Engine }

// Lock implements mvcc.Reader.
func (l txnLatest) Lock(k shard.Key) ([]byte, bool, error) { return l.e.get(keys.Lock(k)) }

// Locks implements mvcc.Reader.
func (l txnLatest) Locks(rg shard.Range, reverse bool, f func(shard.Key, []byte) bool) error {
	return l.e.within(lockSpan(rg), func(it *pebble.Iterator) error { return walkLocks(it, reverse, f) })
}

// Versions implements mvcc.Reader.
func (l txnLatest) Versions(k shard.Key, at mvcc.Timestamp, f func(mvcc.Timestamp, []byte) bool) error {
	return l.e.within(keys.Span{}, func(it *pebble.Iterator) error {
		_, err := versionsOf(it, nil, k, at, f)
		return err
	})
}

// Scan implements mvcc.Reader.
func (l txnLatest) Scan(rg shard.Range, reverse bool, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
	s := keys.DataSpan(rg)
	return l.e.within(s, func(it *pebble.Iterator) error { return scanVersions(it, s, reverse, at, f) })
}

// within opens an iterator over a span for f; the zero span is everything.
func (e *Engine) within(s keys.Span, f func(*pebble.Iterator) error) error {
	if s.Start != nil && s.Empty() {
		return e.check()
	}
	it, err := e.iter(s)
	if err != nil {
		return err
	}
	err = f(it)
	if err2 := it.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return e.readFailed("scan", err)
	}
	return nil
}

// txnBatch is a StateBatch's transactional side.
type txnBatch StateBatch

// SetLock implements mvcc.Writer.
func (b *txnBatch) SetLock(k shard.Key, v []byte) {
	start := (*StateBatch)(b).begin(len(k) + len(v))
	b.buf = keys.AppendLock(b.buf, k)
	(*StateBatch)(b).put(start, v, false)
}

// DeleteLock implements mvcc.Writer.
func (b *txnBatch) DeleteLock(k shard.Key) {
	start := (*StateBatch)(b).begin(len(k))
	b.buf = keys.AppendLock(b.buf, k)
	(*StateBatch)(b).put(start, nil, true)
}

// SetVersion implements mvcc.Writer.
func (b *txnBatch) SetVersion(k shard.Key, ts mvcc.Timestamp, v []byte) {
	start := (*StateBatch)(b).begin(len(k) + len(v))
	b.buf = keys.AppendVersion(b.buf, k, uint64(ts))
	(*StateBatch)(b).put(start, v, false)
}

// DeleteVersion implements mvcc.Writer.
func (b *txnBatch) DeleteVersion(k shard.Key, ts mvcc.Timestamp) {
	start := (*StateBatch)(b).begin(len(k))
	b.buf = keys.AppendVersion(b.buf, k, uint64(ts))
	(*StateBatch)(b).put(start, nil, true)
}

// Lock implements mvcc.Reader.
func (b *txnBatch) Lock(k shard.Key) ([]byte, bool, error) { return (*StateBatch)(b).get(keys.Lock(k)) }

// Locks implements mvcc.Reader.
func (b *txnBatch) Locks(rg shard.Range, reverse bool, f func(shard.Key, []byte) bool) error {
	return b.within(lockSpan(rg), func(it *pebble.Iterator) error { return walkLocks(it, reverse, f) })
}

// Versions implements mvcc.Reader. What the batch did not touch is read from the store, by one iterator for the life of
// the batch: nobody else changes what it writes about.
func (b *txnBatch) Versions(k shard.Key, at mvcc.Timestamp, f func(mvcc.Timestamp, []byte) bool) error {
	sb := (*StateBatch)(b)
	b.scratch = keys.AppendData(b.scratch[:0], k)
	if sb.maySee(b.scratch) {
		return b.within(keys.VersionSpan(k, uint64(at)), func(it *pebble.Iterator) error {
			_, err := versionsOf(it, nil, k, at, f)
			return err
		})
	}
	if err := sb.openView(); err != nil {
		return err
	}
	var err error
	if b.scratch, err = versionsOf(b.view, b.scratch, k, at, f); err != nil {
		return b.e.readFailed("read versions", err)
	}
	return nil
}

// Scan implements mvcc.Reader.
func (b *txnBatch) Scan(rg shard.Range, reverse bool, at mvcc.Timestamp, f func(shard.Key, mvcc.Timestamp, []byte) mvcc.Step) error {
	s := keys.DataSpan(rg)
	return b.within(s, func(it *pebble.Iterator) error { return scanVersions(it, s, reverse, at, f) })
}

// within lends out the iterator over the store and the batch, as it is now.
func (b *txnBatch) within(s keys.Span, f func(*pebble.Iterator) error) error {
	sb := (*StateBatch)(b)
	if s.Empty() || sb.Empty() {
		return b.e.within(s, f)
	}
	if err := b.e.check(); err != nil {
		return err
	}
	if err := sb.index(); err != nil {
		return err
	}
	opts := &pebble.IterOptions{LowerBound: s.Start, UpperBound: s.End}
	if b.overlay == nil {
		it, err := b.b.NewIter(opts)
		if err != nil {
			return b.e.readFailed("open iterator", err)
		}
		b.overlay = it
		b.e.began(sb)
	} else {
		b.overlay.SetOptions(opts) // which makes it see what was written since
	}
	if err := f(b.overlay); err != nil {
		return b.e.readFailed("scan", err)
	}
	return nil
}

// openView opens the batch's iterator over the store.
func (b *StateBatch) openView() error {
	if b.view != nil {
		return b.e.check()
	}
	it, err := b.e.iter(keys.Span{})
	if err != nil {
		return err
	}
	b.view = it
	b.e.began(b)
	return nil
}

// closeViews ends the iterators of transactional reads.
func (b *StateBatch) closeViews() {
	for _, it := range []**pebble.Iterator{&b.view, &b.overlay} {
		if *it == nil {
			continue
		}
		b.e.ended(b)
		err := (*it).Close()
		*it = nil
		if err != nil {
			_ = b.e.readFailed("read versions", err)
		}
	}
}
