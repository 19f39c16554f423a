package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/internal/fault"
)

// ErrCorruption is wrapped by the error of Open for a journal that is damaged, other than by a crash.
var ErrCorruption = fault.New(fault.Corrupt, "corruption")

// suffix ends the names of segments.
const suffix = ".raft"

func fileName(slot int) string { return fmt.Sprintf("%06d%s", slot, suffix) }

// Open reads a journal, or begins one in an empty directory. Adopt follows.
func Open(o Options) (*Journal, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	j := &Journal{opt: o, logs: make(map[uint64]*log), oldest: 1}
	found, err := j.look()
	if err == nil {
		err = j.replay(found)
	}
	if err == nil && !o.ReadOnly {
		// What is read here counts as written for good from now on; after the end of a process alone it may not be yet.
		for _, s := range j.segs {
			err = errors.Join(err, s.f.SyncData())
		}
	}
	if err != nil {
		for _, s := range found {
			_ = s.f.Close()
		}
		return nil, err
	}
	j.synced = j.end()
	return j, nil
}

// image is a segment's file as Open finds it. Open reads each once, into one buffer: a journal may be of gigabytes.
type image struct {
	*segment
	size  int64
	head  header // of the first record
	whole bool   // there is one
	// What survey found.
	surveyed bool
	newest   uint64 // the largest seq of a record
	witness  header // of the record that shows best how far the journal was on disk
	at       int    // where that record begins
}

// readHead reads the first record.
func (im *image) readHead() error {
	b := make([]byte, min(headerLen, im.size))
	if _, err := im.f.ReadAt(b, 0); err != nil && len(b) > 0 {
		return fmt.Errorf("read %s: %w", im.name, err)
	}
	if n, ok := recordLen(b); ok && n <= im.size {
		b = make([]byte, n)
		if _, err := im.f.ReadAt(b, 0); err != nil {
			return fmt.Errorf("read %s: %w", im.name, err)
		}
	}
	if im.head, _, im.whole = readRecord(b); im.whole {
		im.seq, im.prev = im.head.seq, im.head.prev
	}
	return nil
}

// read returns what the file holds, in the buffer.
func (im *image) read(buf *[]byte) ([]byte, error) {
	*buf = slices.Grow((*buf)[:0], int(im.size))[:im.size]
	if im.size == 0 {
		return *buf, nil
	}
	if _, err := im.f.ReadAt(*buf, 0); err != nil {
		return nil, fmt.Errorf("read %s: %w", im.name, err)
	}
	return *buf, nil
}

// survey looks at what the file holds from an offset on, wherever a whole record lies.
func (im *image) survey(b []byte, from int) {
	im.surveyed = true
	eachRecord(b, from, func(off int, h header) {
		if im.newest == 0 || shown(im.witness, im.at).before(shown(h, off)) {
			im.witness, im.at = h, off
		}
		im.newest = max(im.newest, h.seq)
	})
}

// shown is how far a record that begins at off shows the journal to have been on disk, if it lies behind that itself.
func shown(h header, off int) place {
	if p := (place{h.seq, uint32(off)}); p.before(h.synced) {
		return p
	}
	return h.synced
}

// look opens all files.
func (j *Journal) look() (out []*image, err error) {
	names, err := j.opt.FS.List(j.opt.Dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, n := range names {
		slot := 0
		if _, err := fmt.Sscanf(n, "%06d"+suffix, &slot); err != nil || !strings.HasSuffix(n, suffix) || n != fileName(slot) {
			continue
		}
		im, err := j.lookAt(j.opt.FS.PathJoin(j.opt.Dir, n), slot)
		if err != nil {
			return out, err
		}
		out = append(out, im)
		j.slot = max(j.slot, slot)
	}
	return out, nil
}

func (j *Journal) lookAt(name string, slot int) (*image, error) {
	f, err := j.openFile(name)
	if err != nil {
		return nil, err
	}
	im := &image{segment: &segment{f: f, name: name, slot: slot}}
	st, err := f.Stat()
	if err == nil {
		im.size = st.Size()
		err = im.readHead()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return im, nil
}

func (j *Journal) openFile(name string) (vfs.File, error) {
	if j.opt.ReadOnly {
		return j.opt.FS.Open(name)
	}
	return j.opt.FS.OpenReadWrite(name, "raft-log")
}

// replay builds the logs from the chain of segments, and sorts out the files that are not on it.
func (j *Journal) replay(files []*image) error {
	var buf []byte
	chain, err := j.chain(files, &buf)
	if err != nil {
		return err
	}
	for i, im := range chain {
		to := uint32(im.size)
		if i+1 < len(chain) {
			to = chain[i+1].prev.off
		}
		j.segs = append(j.segs, im.segment)
		if err := j.replaySegment(im, to, &buf); err != nil {
			return err
		}
		if im.end < to {
			break
		}
	}
	var end place
	if len(j.segs) > 0 {
		end, j.oldest = j.end(), j.segs[0].seq
	}
	if err := j.checkEnd(files, end, &buf); err != nil {
		return err
	}
	j.sortOut(files)
	return nil
}

// chain finds the segments that are needed, oldest first. A segment may be there whose predecessor a crash took, or its beginning:
// then the journal ends before that one, see checkEnd.
func (j *Journal) chain(files []*image, buf *[]byte) (chain []*image, err error) {
	var whole []*image
	for _, im := range files {
		if im.whole {
			whole = append(whole, im)
			j.seq = max(j.seq, im.seq)
		}
	}
	slices.SortFunc(whole, func(a, b *image) int { return cmp.Compare(a.seq, b.seq) })
	for i := len(whole) - 1; i >= 0; {
		chain = []*image{whole[i]}
		oldest, err := whole[i].oldest(buf)
		if err != nil {
			return nil, err
		}
		for i--; i >= 0 && chain[0].seq > oldest; i-- {
			if whole[i].seq == chain[0].prev.seq {
				chain = append([]*image{whole[i]}, chain...)
			} else if whole[i].seq < chain[0].prev.seq {
				break // the one between is missing: begin anew, here
			}
		}
		if chain[0].seq <= oldest {
			return chain, nil
		}
	}
	return nil, nil
}

// oldest is the oldest segment that was needed when the last record of this one was written.
func (im *image) oldest(buf *[]byte) (oldest uint64, err error) {
	b, err := im.read(buf)
	for len(b) > 0 {
		h, p, ok := readRecord(b)
		if !ok || h.seq != im.seq {
			break
		}
		oldest = h.oldest
		b = b[headerLen+len(p):]
	}
	return oldest, err
}

// replaySegment takes the records of a segment up to an offset, or to the first that is not whole, and surveys what follows.
func (j *Journal) replaySegment(im *image, to uint32, buf *[]byte) error {
	all, err := im.read(buf)
	if err != nil {
		return err
	}
	var b Batch
	for im.end < to {
		h, p, ok := readRecord(all[min(int(im.end), len(all)):])
		if !ok || h.seq != im.seq {
			break
		}
		for err = b.decode(p); err == nil && len(b.items) > 0; b.items = b.items[1:] {
			if err = j.check(b.items[:1]); err == nil {
				j.take(&b, &b.items[0], im.segment, im.end)
			}
		}
		if err != nil {
			return fmt.Errorf("%w: %s at %d: %w", ErrCorruption, im.name, im.end, err)
		}
		im.end += headerLen + h.length
	}
	im.survey(all, int(im.end))
	return nil
}

// checkEnd refuses a journal that ends at a place where it was on disk beyond.
//
// INVARIANT: what was promised is there, or the store does not start. A record names how far the journal was on disk when it
// was written; so one behind the end that names more shows that what is missing is not what a crash took.
func (j *Journal) checkEnd(files []*image, end place, buf *[]byte) error {
	for _, im := range files {
		if !im.surveyed {
			b, err := im.read(buf)
			if err != nil {
				return err
			}
			im.survey(b, 0)
		}
		if h := im.witness; end.before(shown(h, im.at)) {
			return fmt.Errorf("%w: the raft log in %s ends in segment %d at %d, but %s at %d says that it was on disk up to segment %d at %d",
				ErrCorruption, j.opt.Dir, end.seq, end.off, im.name, im.at, h.synced.seq, h.synced.off)
		}
		j.seq = max(j.seq, im.newest)
	}
	return nil
}

// sortOut makes the files that are not on the chain ready to be used again, once a record behind the chain is on disk.
func (j *Journal) sortOut(files []*image) {
	slices.SortFunc(files, func(a, b *image) int { return cmp.Compare(b.slot, a.slot) })
	for _, im := range files {
		if !slices.Contains(j.segs, im.segment) {
			j.freed = append(j.freed, freed{s: im.segment})
		}
	}
}

// Adopt is told who lives, by shard, and how far each log is truncated. Everything else is forgotten, on disk as well, so that
// it does not come back as part of a later life. Called once, before anything else.
func (j *Journal) Adopt(lives map[uint64]Life) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var strangers []uint64
	// in any order: they are sorted below
	for id, l := range j.logs {
		if life, ok := lives[id]; !ok || life != l.life {
			strangers = append(strangers, id)
		}
	}
	slices.Sort(strangers)
	if j.opt.ReadOnly {
		for _, id := range strangers {
			j.drop(id)
		}
		return nil
	}
	if len(strangers) == 0 {
		return nil
	}
	b := &j.scratch
	b.Reset()
	for _, id := range strangers {
		b.forget(id)
	}
	if err := j.write(b); err != nil {
		return err
	}
	end := Place{j.end()}
	j.mu.Unlock()
	err := j.Sync(end)
	j.mu.Lock()
	return err
}
