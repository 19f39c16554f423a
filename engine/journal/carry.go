package journal

import "slices"

// fewSegments is how many there are before any log is carried.
const fewSegments = 4

// carry copies logs that keep the oldest segment to the newest, while the files take more than twice the room of what is wanted.
// Those are logs of shards that rest: what others keep is truncated soon. So it does not hurry. As many bytes are copied as are
// appended meanwhile, a log at a time: one that is large is paid for by the appends behind it. Where much became needless at once,
// as when many shards are cut at about the same time, most of what is in the way is gone before its turn comes.
func (j *Journal) carry(appended int) error {
	if !j.crowded() || j.segs[0].entries == 0 { // a segment without entries waits for Free
		j.allowed = min(j.allowed+int64(appended), 0) // what was too much is paid, nothing is saved up
		return nil
	}
	j.allowed += int64(appended)
	old := j.segs[0]
	if j.carriedOf != old.seq {
		j.carriedOf, j.carried = old.seq, j.keep(old)
	}
	b := &j.scratch
	b.Reset()
	for len(j.carried) > 0 && int64(b.Len()) < j.allowed {
		id := j.carried[0]
		j.carried = j.carried[1:]
		if l := j.logs[id]; l != nil && len(l.refs) > 0 && uint64(l.refs[0].seq) == old.seq {
			if err := j.copy(b, id, l); err != nil {
				return err
			}
		}
	}
	if b.Empty() {
		return nil
	}
	j.allowed -= int64(b.Len())
	j.copied += int64(b.Len())
	return j.write(b)
}

// crowded reports whether there are more segments than there should be.
func (j *Journal) crowded() bool {
	n := int64(len(j.segs))
	if n <= fewSegments {
		return false
	}
	live := int64(0)
	for _, s := range j.segs {
		live += s.live
	}
	return n > fewSegments+2*live/j.opt.SegmentBytes
}

// keep are the shards whose logs begin in a segment.
func (j *Journal) keep(s *segment) (ids []uint64) {
	// in any order: they are sorted below
	for id, l := range j.logs {
		if len(l.refs) > 0 && uint64(l.refs[0].seq) == s.seq {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// copy adds a whole log to b.
func (j *Journal) copy(b *Batch, shard uint64, l *log) error {
	b.grow(l)
	b.Append(shard, l.life, l.first, len(l.refs))
	for _, r := range l.refs {
		if _, err := j.segment(r.seq).f.ReadAt(b.Entry(int(r.n)), int64(r.off)); err != nil {
			return err
		}
	}
	return nil
}
