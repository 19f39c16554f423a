package journal

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/internal/bug"
)

// defaultSegmentBytes is the size of a segment. A record that is larger makes a larger one.
const defaultSegmentBytes = 16 << 20

// Options configures a Journal.
type Options struct {
	FS  vfs.FS
	Dir string // exists
	// SegmentBytes is where a segment ends; 0 is 16 MiB.
	SegmentBytes int64
	// Ahead: the file of the next segment is made and filled on a goroutine of its own.
	Ahead bool
	// ReadOnly: nothing on disk is changed; only reads, Adopt and Close may follow.
	ReadOnly bool
}

// Journal is the raft log of all replicas of a store. Safe for concurrent use. An error of Append, Sync or Adopt ends it:
// what is on disk is not known any more.
type Journal struct {
	opt Options

	// syncing is held by Sync: one at a time.
	syncing sync.Mutex
	// reading is held by those who read entries, and by whoever overwrites a segment. Taken after mu, which readers give back.
	reading sync.RWMutex

	mu   sync.Mutex
	logs map[uint64]*log
	// segs is the chain from the oldest segment that is needed, see Free; the last is the one that is written to. Empty before the first
	// record.
	segs []*segment
	// free may be written over; freed may be as soon as a record is on disk that says that they are not needed.
	free  []*segment
	freed []freed
	// ready is a new file that was filled, nil if there is none; filling is done when no other is. One was begun last while aheadOf was
	// the newest segment.
	ready   *segment
	filling sync.WaitGroup
	aheadOf uint64
	// peak is the most segments that were needed at once, of late and before; rolls counts those that were begun of late.
	peak   [2]int
	rolls  int
	begun  bool // a segment was begun since Open
	synced place
	seq    uint64 // of the newest segment ever seen
	slot   int    // the largest number of a file
	oldest uint64
	// carried are the shards whose logs begin in the segment carriedOf, those that were not carried yet, in order.
	carried   []uint64
	carriedOf uint64
	allowed   int64 // how much may be carried, negative after a log that was larger
	copied    int64 // how much was carried since Open
	scratch   Batch // of carry and Adopt
}

// segment is one use of a file.
type segment struct {
	f       vfs.File
	name    string
	slot    int
	seq     uint64
	prev    place
	end     uint32 // of its last record
	entries int    // of the logs that lie in it
	live    int64  // their bytes
}

// freed is a segment that nobody needs, as a record says that ends at said; the zero place: that is not written yet.
type freed struct {
	s    *segment
	said place
}

// Place is where a record ends.
type Place struct{ p place }

// end is where the last record ends.
func (j *Journal) end() place {
	if n := len(j.segs); n > 0 {
		return place{j.segs[n-1].seq, j.segs[n-1].end}
	}
	return place{}
}

// Append writes a record. Its entries can be read at once; they are on disk when Sync of the place returns.
func (j *Journal) Append(b *Batch) (Place, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.carry(len(b.buf)); err != nil {
		return Place{}, err
	}
	err := j.write(b)
	return Place{j.end()}, err
}

// write appends a record to the newest segment.
func (j *Journal) write(b *Batch) error {
	if err := j.check(b.items); err != nil {
		return err
	}
	if !j.begun || j.full(len(b.buf)) {
		if err := j.roll(); err != nil {
			return err
		}
	}
	s := j.segs[len(j.segs)-1]
	sealRecord(b.buf, header{seq: s.seq, synced: j.synced, prev: s.prev, oldest: j.oldest})
	if _, err := s.f.WriteAt(b.buf, int64(s.end)); err != nil {
		return err
	}
	at := s.end
	s.end += uint32(len(b.buf))
	for i := range j.freed {
		if j.freed[i].said == (place{}) {
			j.freed[i].said = place{s.seq, s.end}
		}
	}
	for i := range b.items {
		j.take(b, &b.items[i], s, at)
	}
	j.lookAhead()
	return nil
}

// full reports whether so many bytes do not fit the newest segment any more.
func (j *Journal) full(bytes int) bool {
	end := int64(j.segs[len(j.segs)-1].end)
	return end > 0 && end+int64(bytes) > j.opt.SegmentBytes
}

// roll begins a segment.
func (j *Journal) roll() error {
	if j.seq >= maxSeq {
		return errors.New("journal: there are no sequence numbers left")
	}
	s, err := j.file()
	if err != nil {
		return err
	}
	j.seq++
	s.seq, s.prev, s.end = j.seq, j.end(), 0
	j.segs, j.begun = append(j.segs, s), true
	j.notePeak()
	if len(j.segs) == 1 {
		j.oldest = s.seq
	}
	return nil
}

// file finds a file for a segment: one that may be written over, or a new one.
func (j *Journal) file() (*segment, error) {
	if n := len(j.free); n > 0 {
		s := j.free[n-1]
		j.free = j.free[:n-1]
		j.reading.Lock() // whoever still reads what was here ends first
		defer j.reading.Unlock()
		return &segment{f: s.f, name: s.name, slot: s.slot}, nil
	}
	if s := j.ready; s != nil {
		j.ready = nil
		return s, nil
	}
	j.slot++
	s := j.newSegment(j.slot)
	return s, j.makeFile(s)
}

func (j *Journal) newSegment(slot int) *segment {
	return &segment{slot: slot, name: j.opt.FS.PathJoin(j.opt.Dir, fileName(slot))}
}

// makeFile makes the file of a new segment.
func (j *Journal) makeFile(s *segment) (err error) {
	if s.f, err = j.opt.FS.OpenReadWrite(s.name, "raft-log"); err != nil {
		return err
	}
	// A filesystem that cannot give room beforehand gives it with each write.
	if err = s.f.Preallocate(0, j.opt.SegmentBytes); errors.Is(err, syscall.ENOSPC) {
		return errors.Join(fmt.Errorf("allocate %s: %w", s.name, err), s.f.Close())
	}
	d, err := j.opt.FS.OpenDir(j.opt.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sync returns when the record that ends at p, and all before it, are on disk.
func (j *Journal) Sync(p Place) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	if !j.synced.before(p.p) {
		j.mu.Unlock()
		return nil
	}
	to := j.end()
	var dirty []*segment
	for _, s := range j.segs {
		if j.synced.before(place{s.seq, s.end}) {
			dirty = append(dirty, s)
		}
	}
	j.mu.Unlock()
	for _, s := range dirty {
		if bug.JournalNotSynced.On() {
			break
		}
		if err := s.f.SyncData(); err != nil {
			return fmt.Errorf("sync %s: %w", s.name, err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.synced = to
	j.release()
	return nil
}

// release lets the files be used again of which it is on disk that nobody needs them.
func (j *Journal) release() {
	rest := j.freed[:0]
	for _, d := range j.freed {
		if d.said == (place{}) || j.synced.before(d.said) {
			rest = append(rest, d)
			continue
		}
		j.free = append(j.free, d.s)
	}
	clear(j.freed[len(rest):])
	j.freed = rest
	j.shrink()
}

// Dead says that nobody wants an entry of the segments up to and with seq any more; 0 if there are none. Once what Truncate and
// Forget were told is on disk, Free gives them free.
func (j *Journal) Dead() (seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segs[:max(0, len(j.segs)-1)] {
		if s.entries > 0 {
			break
		}
		seq = s.seq
	}
	return seq
}

// Free gives the segments free that Dead named. The caller has synced the database since, and the records before Dead.
func (j *Journal) Free(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for n < len(j.segs)-1 && j.segs[n].seq <= seq {
		j.freed = append(j.freed, freed{s: j.segs[n]})
		n++
	}
	j.segs = append([]*segment(nil), j.segs[n:]...)
	if len(j.segs) > 0 {
		j.oldest = j.segs[0].seq
	}
}

// Bytes is how much room the files take, and how much of it are entries that somebody wants.
func (j *Journal) Bytes() (files, live int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segs {
		live += s.live
	}
	return int64(len(j.files())) * j.opt.SegmentBytes, live
}

// Carried is how many bytes were copied since Open, of logs that kept old segments.
func (j *Journal) Carried() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.copied
}

// Close closes the files. Everything that was appended is on disk before, and the end of the journal says so.
func (j *Journal) Close() error {
	var err error
	if !j.opt.ReadOnly && j.begun {
		if err = j.Sync(Place{j.end()}); err == nil {
			err = j.mark()
		}
	}
	return errors.Join(err, j.Abandon())
}

// Abandon closes the files as they are.
func (j *Journal) Abandon() (err error) {
	j.filling.Wait()
	for _, s := range j.files() {
		err = errors.Join(err, s.f.Close())
	}
	return err
}

// mark ends the journal with a record that says how far it is on disk.
func (j *Journal) mark() error {
	j.mu.Lock()
	b := Batch{buf: make([]byte, headerLen)}
	err := j.write(&b)
	end := j.end()
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.Sync(Place{end})
}

// files are all that are open.
func (j *Journal) files() []*segment {
	out := append(append([]*segment(nil), j.segs...), j.free...)
	for _, d := range j.freed {
		out = append(out, d.s)
	}
	if j.ready != nil {
		out = append(out, j.ready)
	}
	return out
}
