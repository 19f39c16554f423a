package journal

// Files that nobody needs wait to be used again. To overwrite one costs a sync nothing but its data; a new one needs blocks, which
// are written down in the filesystem's own journal with each sync of it. The logs of many shards are cut at about the same times,
// so the number of segments swings: as many files are kept as were needed of late.

const (
	// minFree is how many files wait at least.
	minFree = 4
	// peakRolls segments are begun before a peak counts as long ago, and as many again before it is forgotten.
	peakRolls = 64
)

// notePeak is told that a segment was begun.
func (j *Journal) notePeak() {
	if j.rolls++; j.rolls > peakRolls {
		j.peak, j.rolls = [2]int{0, j.peak[0]}, 1
	}
	j.peak[0] = max(j.peak[0], len(j.segs))
}

// shrink removes files of which there are more than were needed of late. While somebody reads, perhaps from one of them, they wait
// for the next time.
func (j *Journal) shrink() {
	keep := max(minFree, max(j.peak[0], j.peak[1])-len(j.segs))
	if len(j.free) <= keep || !j.reading.TryLock() {
		return
	}
	defer j.reading.Unlock()
	for _, s := range j.free[keep:] {
		_ = s.f.Close()
		_ = j.opt.FS.Remove(s.name) // it stays, and is found by the next Open
	}
	clear(j.free[keep:])
	j.free = j.free[:keep]
}

// Shrink forgets how many files were needed of late, and removes those that nobody needs now, but for a few.
func (j *Journal) Shrink() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.peak, j.rolls = [2]int{}, 0
	j.shrink()
}
