package engine

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// Get reads the latest value of a key, copied.
func (e *Engine) Get(k shard.Key) (v []byte, ok bool, err error) { return e.get(keys.Data(k)) }

// Peek calls f with the latest value of a key, which is there until f returns.
func (e *Engine) Peek(k shard.Key, f func(v []byte)) (ok bool, err error) {
	b := peekKeys.Get().(*[]byte)
	defer peekKeys.Put(b)
	*b = keys.AppendData((*b)[:0], k)
	return e.peek(*b, f)
}

var peekKeys = sync.Pool{New: func() any { return new([]byte) }}

// Reader is a consistent view of the store, as it was when NewReader returned. For one goroutine at a time.
//
// It is an iterator, because an iterator is the only view that survives an excise: a Pebble snapshot would lose what
// was excised, and would show data of a replica that was installed since as if they had always been there. While it is
// open, it keeps memtables and files alive; it is closed soon.
type Reader struct {
	e   *Engine
	it  *pebble.Iterator
	err error // of opening; returned by every read
	buf []byte
}

// NewReader opens a view. The caller closes it.
func (e *Engine) NewReader() *Reader {
	r := &Reader{e: e}
	r.it, r.err = e.iter(keys.Span{})
	e.began(r)
	return r
}

// Get reads a key. The value is valid until the next call.
func (r *Reader) Get(k shard.Key) (v []byte, ok bool, err error) {
	r.buf = keys.AppendData(r.buf[:0], k)
	return r.peek(r.buf)
}

// get reads a physical key. The value is a copy.
func (r *Reader) get(k []byte) ([]byte, bool, error) {
	p, ok, err := r.peek(k)
	if !ok || err != nil {
		return nil, false, err
	}
	return append(make([]byte, 0, len(p)), p...), true, nil
}

func (r *Reader) peek(k []byte) ([]byte, bool, error) {
	if r.err != nil {
		return nil, false, r.err
	}
	if !r.it.SeekPrefixGE(k) || !keys.Equal(r.it.Key(), k) {
		return nil, false, r.check()
	}
	p, err := r.it.ValueAndErr()
	if err != nil {
		return nil, false, r.check()
	}
	return p, true, nil
}

// check stops the store if the iterator failed.
func (r *Reader) check() error {
	if err := r.it.Error(); err != nil {
		r.err = r.e.readFailed("read", err)
	}
	return r.err
}

// Applied reads how far the replica of a shard has applied in this view; ok is false if there is none, or it holds no
// data.
func (r *Reader) Applied(id shard.ID) (a shard.Applied, ok bool, err error) {
	k := keys.State(id, keys.StateApplied)
	v, ok, err := r.get(k)
	if err != nil || !ok {
		return shard.Applied{}, false, err
	}
	if a, err = decodeApplied(k, v); err != nil {
		return shard.Applied{}, false, r.e.fail(err)
	}
	return a, true, nil
}

// descriptor reads the descriptor of a shard in this view.
func (r *Reader) descriptor(id shard.ID) (d *shard.Descriptor, ok bool, err error) {
	k := keys.State(id, keys.StateDescriptor)
	v, ok, err := r.get(k)
	if err != nil || !ok {
		return nil, false, err
	}
	if d, err = decodeDescriptor(k, v); err != nil {
		return nil, false, r.e.fail(err)
	}
	return d, true, nil
}

// Scan calls f with every key of a range in order, or in reverse order, until f returns false. The arguments of f are
// valid only during the call; f does not use the Reader.
func (r *Reader) Scan(rg shard.Range, reverse bool, f func(k shard.Key, v []byte) bool) error {
	if r.err != nil || rg.Empty() {
		return r.err
	}
	s := keys.DataSpan(rg)
	r.it.SetBounds(s.Start, s.End)
	err := walk(r.it, reverse, f)
	r.it.SetBounds(nil, nil)
	if err != nil {
		r.err = r.e.readFailed("scan", err)
	}
	return r.err
}

// Close gives up the view.
func (r *Reader) Close() error {
	r.e.ended(r)
	if r.it == nil {
		return nil
	}
	err := r.it.Close()
	r.it, r.err = nil, shard.ErrClosed
	if err != nil {
		return r.e.readFailed("read", err)
	}
	return nil
}
