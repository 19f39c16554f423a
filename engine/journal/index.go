package journal

import "fmt"

// ref is where the value of an entry lies.
type ref struct {
	seq    uint32 // of the segment; see maxSeq
	off, n uint32
}

// maxSeq is the largest sequence number of a segment: 2^32 segments of 16 MiB are more than anybody writes.
const maxSeq = 1<<32 - 1

// log is the log of one shard: entries without a gap.
//
// INVARIANT: seq does not fall along refs. What is overwritten comes to lie in the newest segment with all that is behind it,
// and a log is carried as a whole.
type log struct {
	life  Life
	first uint64 // index of refs[0]
	refs  []ref
	end   uint64 // the index behind the last entry, of those in a batch that was checked as well
}

// last is the index of the last entry.
func (l *log) last() uint64 { return l.first + uint64(len(l.refs)) - 1 }

// check refuses items that do not join on to the logs and to each other, before anything of them is written.
func (j *Journal) check(items []item) error {
	for i := range items {
		it := &items[i]
		l := j.logs[it.shard]
		if it.kind != itemAppend || l == nil || l.life != it.life {
			continue
		}
		if len(l.refs) > 0 && it.first > l.end {
			return fmt.Errorf("entries from %d on do not join on to the log of shard %d, which ends before %d", it.first, it.shard, l.end)
		}
		l.end = it.first + uint64(it.to-it.from)
	}
	return nil
}

// take does what an item says, of a record that begins at off of a segment.
func (j *Journal) take(b *Batch, it *item, seg *segment, off uint32) {
	l := j.logs[it.shard]
	if l != nil && (it.kind == itemForget || l.life != it.life) {
		j.drop(it.shard)
		l = nil
	}
	if it.kind == itemForget {
		return
	}
	if l == nil {
		l = &log{life: it.life}
		j.logs[it.shard] = l
	}
	if len(l.refs) == 0 || it.first <= l.first {
		j.uncount(l.refs)
		l.first, l.refs = it.first, l.refs[:0]
	} else {
		keep := it.first - l.first
		j.uncount(l.refs[keep:])
		l.refs = l.refs[:keep]
	}
	for _, s := range b.spans[it.from:it.to] {
		l.refs = append(l.refs, ref{uint32(seg.seq), off + s.off, s.n})
		seg.entries++
		seg.live += int64(s.n)
	}
	l.end = l.last() + 1
}

// uncount says that these are wanted no more.
func (j *Journal) uncount(refs []ref) {
	var seg *segment
	for _, r := range refs {
		if seg == nil || seg.seq != uint64(r.seq) {
			seg = j.segment(r.seq)
		}
		seg.entries--
		seg.live -= int64(r.n)
	}
}

// drop forgets the log of a shard.
func (j *Journal) drop(shard uint64) {
	if l := j.logs[shard]; l != nil {
		j.uncount(l.refs)
		delete(j.logs, shard)
	}
}

// segment finds a segment of the chain by its sequence number. There are few.
func (j *Journal) segment(seq uint32) *segment {
	for i := len(j.segs) - 1; i >= 0; i-- {
		if j.segs[i].seq == uint64(seq) {
			return j.segs[i]
		}
	}
	panic(fmt.Sprintf("journal: an entry lies in segment %d, which is gone", seq))
}

// Truncate says that the entries of a shard up to and with index are wanted no more. What says so in the database need not be
// on disk yet, but was written to it.
func (j *Journal) Truncate(shard, index uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logs[shard]
	if l == nil || len(l.refs) == 0 || index < l.first {
		return
	}
	n := min(index-l.first+1, uint64(len(l.refs)))
	j.uncount(l.refs[:n])
	l.first += n
	if l.refs = l.refs[n:]; len(l.refs) == 0 {
		l.refs = nil
	}
}

// Forget says that the log of a shard is wanted no more: its life has ended, which the database says; see Truncate.
func (j *Journal) Forget(shard uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.drop(shard)
}

// Bounds are the first and the last entry of a shard's log; ok is false if it holds none.
func (j *Journal) Bounds(shard uint64) (first, last uint64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.logs[shard]
	if l == nil || len(l.refs) == 0 {
		return 0, 0, false
	}
	return l.first, l.last(), true
}
