package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// Sum is what a replica holds, in short: two replicas that applied the same entries have the same.
type Sum struct {
	// Hash is xxhash64 over the applied state and the descriptor, then over every pair in the order of keys, data before
	// locks: length and bytes of the physical key, length and bytes of the value. Numbers are 8 bytes, big-endian.
	Hash  uint64
	Pairs uint64
	Bytes uint64 // of keys and values
}

func (s Sum) String() string { return fmt.Sprintf("%016x of %d pairs", s.Hash, s.Pairs) }

// Summer sums up everything that is replicated of one replica, from one view of the store. For one goroutine at a time.
//
// INVARIANT: nothing enters that may differ between two replicas which applied the same entries, nor between two programs
// that evaluate them alike: not the log, not the hard state, not how a record is encoded.
type Summer struct {
	r     *Reader
	id    shard.ID
	meta  SnapshotMeta
	begun bool
	valid bool // the iterator stands on a key
	locks bool // it stands among the locks, behind which there is nothing
	hash  xxhash.Digest
	sum   Sum
	buf   []byte
}

// NewSummer opens a view of the replica of a shard as it is now. It reads nothing yet. The caller closes it.
func (e *Engine) NewSummer(id shard.ID) *Summer { return &Summer{r: e.NewReader(), id: id} }

// Next reads about so many bytes of keys and values more, and returns how many it was; done is true once that was all.
func (s *Summer) Next(bytes int) (n int, done bool, err error) {
	if !s.begun {
		if err := s.begin(); err != nil {
			return 0, false, err
		}
	}
	it := s.r.it
	for s.valid && n < bytes {
		v, err := it.ValueAndErr()
		if err != nil {
			s.r.err = s.r.e.readFailed("sum up "+s.id.String(), err)
			return n, false, s.r.err
		}
		k := it.Key()
		s.add(k)
		s.add(v)
		s.sum.Pairs++
		n += len(k) + len(v)
		s.valid = it.Next()
		s.goOn()
	}
	if err := s.r.check(); err != nil {
		return n, false, err
	}
	s.sum.Bytes += uint64(n)
	s.sum.Hash = s.hash.Sum64()
	return n, !s.valid, nil
}

// begin reads the replica's state in the view, and goes to its first key.
func (s *Summer) begin() error {
	desc, ok, err := s.r.descriptor(s.id)
	if err != nil {
		return err
	}
	applied, ok2, err := s.r.Applied(s.id)
	if err != nil {
		return err
	}
	if !ok || !ok2 {
		return fmt.Errorf("engine: sum up %s: no initialised replica here", s.id)
	}
	s.meta, s.begun = SnapshotMeta{Desc: desc, Applied: applied}, true
	s.hash.Reset()
	s.addState()
	span := keys.DataSpan(desc.Range)
	s.r.it.SetBounds(span.Start, span.End)
	s.valid = s.r.it.First()
	s.goOn()
	return s.r.check()
}

// addState adds the replicated state, field by field. A field that a later evaluation version brings is added only to sums
// of entries of that version.
func (s *Summer) addState() {
	a, d := &s.meta.Applied, s.meta.Desc
	s.numbers(a.Index, a.Term, a.TruncIndex, a.TruncTerm, uint64(a.Time), a.Expiring, a.Locks, a.SafePoint, a.Collected)
	s.numbers(uint64(d.ID), d.Epoch.ConfVer, d.Epoch.Version, uint64(len(d.Replicas)))
	for _, r := range d.Replicas {
		s.numbers(uint64(r.ID), uint64(r.Store), uint64(r.Role))
	}
	s.add(d.Range.Start)
	s.add(d.Range.End)
}

func (s *Summer) numbers(ns ...uint64) {
	s.buf = s.buf[:0]
	for _, n := range ns {
		s.buf = binary.BigEndian.AppendUint64(s.buf, n)
	}
	_, _ = s.hash.Write(s.buf) // never fails
}

// add adds bytes behind their length, so that no two sequences of them read alike.
func (s *Summer) add(b []byte) {
	s.buf = binary.BigEndian.AppendUint64(s.buf[:0], uint64(len(b)))
	_, _ = s.hash.Write(s.buf)
	_, _ = s.hash.Write(b)
}

// goOn goes from the end of the data to the locks.
func (s *Summer) goOn() {
	if s.valid || s.locks || s.r.it.Error() != nil {
		return
	}
	s.locks = true
	if span := lockSpan(s.meta.Desc.Range); !span.Empty() {
		s.r.it.SetBounds(span.Start, span.End)
		s.valid = s.r.it.First()
	}
}

// Meta is the replica's state in the view, once Next was called.
func (s *Summer) Meta() SnapshotMeta { return s.meta }

// Sum is that of what was read so far.
func (s *Summer) Sum() Sum { return s.sum }

// Close gives up the view.
func (s *Summer) Close() error { return s.r.Close() }
