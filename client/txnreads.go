package client

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// maxReadSet bounds what a serializable transaction remembers of its reads: keys, and pages of scans.
const maxReadSet = 100_000

// readSet is what a serializable transaction has read. A nil one remembers nothing.
type readSet struct {
	mu     sync.Mutex
	points map[string]Timestamp // key to the commit timestamp of the version that was read; zero: there was none
	parts  []readPart
	full   bool
}

// readPart is one page of a scan: which range it covers, and what was there.
type readPart struct {
	part shard.Range
	sum  uint64
}

func newReadSet() *readSet { return &readSet{points: make(map[string]Timestamp)} }

func versionOf(r *mvcc.Row) Timestamp {
	if !r.Found {
		return 0
	}
	return r.CommitTS
}

func (s *readSet) point(keys []shard.Key, rows []mvcc.Row) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range keys {
		s.points[string(k)] = versionOf(&rows[i])
	}
	s.full = s.full || len(s.points) > maxReadSet
}

func (s *readSet) part(r shard.Range, rows []mvcc.Row) {
	if n := len(rows); n > 1 && rows[0].Key.Compare(rows[n-1].Key) > 0 {
		rows = slices.Clone(rows) // of a reverse scan
		slices.Reverse(rows)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = append(s.parts, readPart{part: shard.Range{Start: r.Start.Clone(), End: r.End.Clone()}, sum: sumOf(xxhash.New(), rows)})
	s.full = s.full || len(s.parts) > maxReadSet
}

// sumOf says which versions of which keys there are.
func sumOf(d *xxhash.Digest, rows []mvcc.Row) uint64 {
	var n [12]byte
	for i := range rows {
		binary.BigEndian.PutUint64(n[:8], uint64(rows[i].CommitTS))
		binary.BigEndian.PutUint32(n[8:], uint32(len(rows[i].Key)))
		_, _ = d.Write(n[:]) // a Digest's Write never returns an error
		_, _ = d.Write(rows[i].Key)
	}
	return d.Sum64()
}

// beyond reports whether something was read that is not watched by the lock of a key written. A pessimistic lock watches it
// only from when it was taken, which may be after the read.
func (s *readSet) beyond(muts []mvcc.Mutation, held map[string]bool) bool {
	if s == nil {
		return false
	}
	if len(s.parts) > 0 {
		return true
	}
	n := 0
	for i := range muts {
		if _, ok := s.points[string(muts[i].Key)]; ok && !held[string(muts[i].Key)] {
			n++
		}
	}
	return n < len(s.points)
}

var errReadChanged = errors.New("what was read was written since")

// still checks that at a timestamp everything reads as it was read, but for the keys written. It returns errReadChanged
// and the key, or another error.
//
// INVARIANT: at is the commit timestamp, and all keys written are locked. The reads at it keep every later commit above
// it (rule T2), or meet its lock and wait or push it above. So what was read is what is there just before the
// transaction, in the order of commit timestamps, which is thereby an order in which serializable transactions could
// have run one after the other.
func (s *readSet) still(ctx context.Context, db *DB, own, at Timestamp, impatient func() bool) (shard.Key, error) {
	v := view{db: db, ts: at, own: own, impatient: impatient}
	var keys []shard.Key
	// in any order: sorted below
	for k := range s.points {
		keys = append(keys, shard.Key(k))
	}
	slices.SortFunc(keys, shard.Key.Compare)
	if len(keys) > 0 {
		e := db.begin(ctx, "validate what was read", keys[0])
		rows := make([]mvcc.Row, len(keys))
		if err := v.get(&e, keys, rows); err != nil {
			return keys[0], err
		}
		for i, k := range keys {
			if versionOf(&rows[i]) != s.points[string(k)] {
				return k, errReadChanged
			}
		}
	}
	for i := range s.parts {
		if err := s.parts[i].still(ctx, &v); err != nil {
			return s.parts[i].part.Start, err
		}
	}
	return nil, nil
}

func (p *readPart) still(ctx context.Context, v *view) error {
	if p.part.Empty() {
		return nil
	}
	c := cursor[mvcc.Row]{db: v.db, from: v, op: "validate a scan", o: scanOptions{keysOnly: true}, rest: p.part, rows: maxPageRows}
	var rows []mvcc.Row
	for row, err := range rowsOf(c.pages(ctx)) {
		if err != nil {
			return err
		}
		rows = append(rows, mvcc.Row{Key: row.Key, CommitTS: row.CommitTS})
	}
	if sumOf(xxhash.New(), rows) != p.sum {
		return errReadChanged
	}
	return nil
}
