package engine

import (
	"sync"
	"sync/atomic"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Bounds of one tail. Followers are fed from it; one that lags further reads from the disk.
const (
	// TailEntries is how many entries of a log are in memory, at most.
	TailEntries = 512
	// A tail may take an equal part of the pool, within these: a log of large values that is written fast has megabytes under way.
	tailBytesMin, tailBytesMax = 1 << 20, 8 << 20
	// tailEntryBytes is what an entry costs besides its data: the message, its pointed-to fields, the slice slot.
	tailEntryBytes = 192
)

// tail is the end of one log in memory: entries without a gap, the last of which is the log's last.
// All fields are protected by tailPool.mu.
type tail struct {
	entries    []*pb.Entry
	bytes      int
	prev, next *tail // in the pool's list; nil if the tail is empty
}

// tailPool bounds the tails of all logs of a store together.
//
// One mutex protects all tails, because to evict is to touch the tail of a log that another worker owns. It is held for
// some slice operations and never across I/O. Eviction takes whole tails, least recently appended first.
//
// The bound is over the data of entries. Entries that were received alias the frame they came in and pin it, so what is
// really held can be more, but not more than the frames that brought them.
type tailPool struct {
	limit int64
	used  atomic.Int64 // bytes of all tails; written under mu, read anywhere

	mu    sync.Mutex
	count int  // of the ring
	root  tail // of the ring of non-empty tails; root.next is the most recently appended
}

func entryBytes(e *pb.Entry) int { return len(e.GetData()) + tailEntryBytes }

// append puts entries, which have no gap, at the end of t, replacing what t held from the first of them on. If they do
// not join on to t, they replace it.
func (p *tailPool) append(t *tail, entries []*pb.Entry) {
	if len(entries) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	first := entries[0].GetIndex()
	if n := len(t.entries); n > 0 {
		begin := t.entries[0].GetIndex()
		if first < begin || first > begin+uint64(n) {
			p.dropFront(t, n)
		} else {
			p.dropBack(t, n-int(first-begin))
		}
	}
	for _, e := range entries {
		t.bytes += entryBytes(e)
		p.used.Add(int64(entryBytes(e)))
	}
	t.entries = append(t.entries, entries...)
	p.bump(t)
	most := min(max(tailBytesMin, int(p.limit)/p.count), tailBytesMax)
	for len(t.entries) > 1 && (len(t.entries) > TailEntries || t.bytes > most) {
		p.dropFront(t, 1)
	}
	for p.used.Load() > p.limit && p.root.prev != t {
		old := p.root.prev
		p.dropFront(old, len(old.entries))
	}
	for p.used.Load() > p.limit && len(t.entries) > 0 {
		p.dropFront(t, 1)
	}
}

// truncate drops the entries up to and with index.
func (p *tailPool) truncate(t *tail, index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(t.entries) == 0 {
		return
	}
	if begin := t.entries[0].GetIndex(); index >= begin {
		p.dropFront(t, int(min(index-begin+1, uint64(len(t.entries)))))
	}
}

// clear drops everything.
func (p *tailPool) clear(t *tail) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropFront(t, len(t.entries))
}

// slice copies the pointers to the entries [lo, hi), as many as fit into maxSize and at least one; nil if t does not
// hold lo.
func (p *tailPool) slice(t *tail, lo, hi, maxSize uint64) []*pb.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(t.entries) == 0 {
		return nil
	}
	begin := t.entries[0].GetIndex()
	if lo < begin || lo >= begin+uint64(len(t.entries)) {
		return nil
	}
	part := t.entries[lo-begin:]
	if n := hi - lo; n < uint64(len(part)) {
		part = part[:n]
	}
	n, size := 1, entrySize(part[0])
	for n < len(part) {
		if size += entrySize(part[n]); size > maxSize {
			break
		}
		n++
	}
	return append(make([]*pb.Entry, 0, n), part[:n]...)
}

// term returns the term of the entry at index if t holds it.
func (p *tailPool) term(t *tail, index uint64) (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(t.entries) == 0 {
		return 0, false
	}
	begin := t.entries[0].GetIndex()
	if index < begin || index >= begin+uint64(len(t.entries)) {
		return 0, false
	}
	return t.entries[index-begin].GetTerm(), true
}

// dropFront and dropBack remove n entries and give up their memory.
func (p *tailPool) dropFront(t *tail, n int) {
	p.release(t, t.entries[:n])
	t.entries = t.entries[n:]
	p.maybeUnlink(t)
}

func (p *tailPool) dropBack(t *tail, n int) {
	keep := len(t.entries) - n
	p.release(t, t.entries[keep:])
	t.entries = t.entries[:keep]
	p.maybeUnlink(t)
}

func (p *tailPool) release(t *tail, entries []*pb.Entry) {
	freed := 0
	for _, e := range entries {
		freed += entryBytes(e)
	}
	clear(entries)
	t.bytes -= freed
	p.used.Add(-int64(freed))
}

func (p *tailPool) maybeUnlink(t *tail) {
	if len(t.entries) > 0 {
		return
	}
	t.entries = nil
	if t.next != nil {
		t.prev.next, t.next.prev = t.next, t.prev
		t.prev, t.next = nil, nil
		p.count--
	}
}

// bump makes t the most recently appended.
func (p *tailPool) bump(t *tail) {
	if p.root.next == nil {
		p.root.prev, p.root.next = &p.root, &p.root
	}
	if p.root.next == t {
		return
	}
	if t.next != nil {
		t.prev.next, t.next.prev = t.next, t.prev
	} else {
		p.count++
	}
	t.prev, t.next = &p.root, p.root.next
	t.prev.next, t.next.prev = t, t
}

// entrySize is the size of an entry's wire encoding with all its fields set, by which raft counts its limits.
func entrySize(e *pb.Entry) uint64 {
	n := 2 + 1 + uvarintLen(e.GetTerm()) + 1 + uvarintLen(e.GetIndex())
	if d := len(e.GetData()); d > 0 {
		n += 1 + uvarintLen(uint64(d)) + d
	}
	return uint64(n)
}
