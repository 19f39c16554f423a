package journal

// A new file has no size and blocks that count as never written: each sync of it has to write that down in the filesystem's own journal,
// beside the data, and waits for whatever else goes there, such as the tables of a compaction. So the file of the next segment is
// filled with zeros beforehand, on a goroutine of its own: a sync then writes data and nothing else, as in a file that is used again.

const (
	// aheadPart of a segment is written when the next file is begun, so that there is time.
	aheadPart = 4
	// fillBytes are handed to the disk at once.
	fillBytes = 512 << 10
)

// lookAhead begins to fill the next file, once for each segment, if none waits to be used.
func (j *Journal) lookAhead() {
	s := j.segs[len(j.segs)-1]
	if !j.opt.Ahead || j.aheadOf == s.seq || j.ready != nil || len(j.free) > 0 || int64(s.end) < j.opt.SegmentBytes/aheadPart {
		return
	}
	j.aheadOf = s.seq
	j.slot++
	next := j.newSegment(j.slot)
	j.filling.Add(1)
	go func() {
		defer j.filling.Done()
		err := j.makeFile(next)
		if err == nil {
			err = j.fill(next)
		}
		if err != nil { // whoever needs a file makes one, and says why it cannot
			if next.f != nil {
				_ = next.f.Close()
				_ = j.opt.FS.Remove(next.name)
			}
			return
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.ready = next
	}()
}

// fill writes zeros to the whole file, and syncs it.
func (j *Journal) fill(s *segment) error {
	zeros := make([]byte, min(fillBytes, j.opt.SegmentBytes))
	for off := int64(0); off < j.opt.SegmentBytes; off += int64(len(zeros)) {
		if _, err := s.f.WriteAt(zeros[:min(int64(len(zeros)), j.opt.SegmentBytes-off)], off); err != nil {
			return err
		}
		if _, err := s.f.SyncTo(off); err != nil {
			return err
		}
	}
	return s.f.Sync()
}
