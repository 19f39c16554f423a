package journal

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Read calls f with the values of a shard's entries from lo to hi, both included, in order, until f returns false or an error.
// A value is valid only during the call. What the log does not hold is left out.
func (j *Journal) Read(shard, lo, hi uint64, f func(index uint64, value []byte) (bool, error)) error {
	refs, first, files := j.find(shard, lo, hi)
	defer j.reading.RUnlock()
	var buf []byte
	for i, r := range refs {
		if cap(buf) < int(r.n) {
			buf = make([]byte, r.n)
		}
		buf = buf[:r.n]
		if _, err := files[r.seq].ReadAt(buf, int64(r.off)); err != nil {
			return fmt.Errorf("read entry %d of shard %d: %w", first+uint64(i), shard, err)
		}
		if more, err := f(first+uint64(i), buf); err != nil || !more {
			return err
		}
	}
	return nil
}

// find returns where the entries lie, and holds reading, so that nothing is written over them: what is no longer wanted by
// now stays as it is until it is read.
func (j *Journal) find(shard, lo, hi uint64) (refs []ref, first uint64, files map[uint32]vfs.File) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.reading.RLock()
	l := j.logs[shard]
	if l == nil || len(l.refs) == 0 {
		return nil, 0, nil
	}
	first, hi = max(lo, l.first), min(hi, l.last())
	if first > hi {
		return nil, 0, nil
	}
	refs = append(refs, l.refs[first-l.first:hi-l.first+1]...)
	files = make(map[uint32]vfs.File, 2)
	for _, r := range refs {
		if files[r.seq] == nil {
			files[r.seq] = j.segment(r.seq).f
		}
	}
	return refs, first, files
}
