package simfs

import "math"

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// mix is a hash of its arguments (the finalizer of SplitMix64, chained).
func mix(xs ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, x := range xs {
		h += x + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// What the hashes of a crash are for, so that no two are the same.
const (
	forMode = iota
	forLength
	forTear
	forTorn
	forSector
	forGarbage
	forZeros
)

// Freeze ends what can become durable: what is written, renamed, removed or synced from here on has no effect on a
// crash, except that batches written to the log are those that it may lose. Faults end, so that Pebble can be closed.
func (f *FS) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
	f.faults.failWrite, f.faults.failSync = nil, nil
}

// Crash returns the disk after a loss of power at the moment of Freeze, which it implies; n tells crashes of a seed
// apart. The engine on it was closed since Freeze, with whatever error. It is a pure function of what was durable, of
// the batches behind that, and of its arguments. The old disk is of no further use.
func (f *FS) Crash(seed uint64, n int) *FS {
	f.Freeze()
	f.mu.Lock()
	defer f.mu.Unlock()
	out := New()
	out.usage = f.usage
	c := crash{fs: f, out: out, seed: seed, n: uint64(n), copies: map[*node]*node{}}
	out.root = c.copy(f.root)
	return out
}

// Torn reports whether the crash that made this disk left a piece of a batch, or zeros, at the end of the log. Where
// batches lie in logs depends on timing, so whether a tail is torn does as well.
func (f *FS) Torn() bool { return f.torn }

// sealName is the file whose presence says that the store was closed in order.
const sealName = "SEAL"

// crash copies what survives.
type crash struct {
	fs, out *FS
	seed, n uint64
	copies  map[*node]*node // a file may have several names; only looked up
	dbs     int
	// sealed: the store was closed in order (engine/seal.go), and nothing is undone.
	sealed bool
}

func (c *crash) hash(xs ...uint64) uint64 { return mix(c.seed, c.n, mix(xs...)) }

// copy is what survives of a node.
func (c *crash) copy(n *node) *node {
	if m := c.copies[n]; m != nil {
		return m
	}
	m := &node{kind: n.kind, num: n.num, dir: n.dir, db: n.db}
	c.copies[n] = m
	switch {
	case n.db:
		if c.dbs++; c.dbs > 1 {
			panic("simfs: more than one database on a disk")
		}
		c.copyDB(n, m)
	case n.dir:
		if n.durable.get(sealName) != nil { // it comes before the directory of the database
			c.sealed = true
		}
		c.copyEntries(m, n.durable)
	default:
		d := n.data.clone(n.synced)
		if n.before != nil {
			d = n.before.clone(n.synced)
		}
		c.leave(n, &d)
		c.setData(m, d)
	}
	return m
}

// leave writes what survives of the writes since the last sync to a segment of the raft log: nothing, everything, those up to
// one, or any sectors. After a fault nothing does.
func (c *crash) leave(n *node, d *data) {
	mode, count := c.hash(forMode, n.num)%4, len(n.unsynced)
	switch {
	case mode == 0 || count == 0 || c.fs.faults.ever || c.sealed:
		return
	case mode == 2:
		count = int(c.hash(forLength, n.num) % uint64(count+1))
	}
	for i, w := range n.unsynced[:count] {
		if mode != 3 {
			d.writeAt(w.p, w.off)
			continue
		}
		for from := 0; from < len(w.p); {
			to := min(len(w.p), from+sectorBytes-int((w.off+int64(from))%sectorBytes))
			if c.hash(forSector, n.num, uint64(i), uint64(from))%2 == 0 {
				d.writeAt(w.p[from:to], w.off+int64(from))
			}
			from = to
		}
	}
}

// setData sets what a file holds, all of it durable.
func (c *crash) setData(m *node, d data) { m.data, m.synced = d, d.size }

func (c *crash) copyEntries(m *node, es entries) {
	m.entries = make(entries, 0, len(es))
	for _, e := range es {
		m.entries = append(m.entries, entry{e.name, c.copy(e.n)})
	}
	m.durable = m.entries
}

// copyDB is copy for the directory of a database.
func (c *crash) copyDB(n, m *node) {
	logs := n.scanLogs()
	at := c.firstLost(logs)
	if c.sealed {
		at = lostBatch{log: math.MaxUint64}
	}
	for _, l := range logs {
		if l.n.num <= at.log {
			c.copyLog(l, at)
		}
	}
	k := n.cut(at.log)
	if k.n != nil {
		mf := &node{kind: manifest, num: k.n.num}
		c.setData(mf, k.n.data.clone(k.at.end))
		c.copies[k.n], c.out.manifest = mf, mf
	}
	es := n.surviving()
	if c.sealed {
		es = n.durable
	}
	for _, name := range k.later {
		es = es.without(name)
	}
	var whole entries
	for _, e := range es {
		// A log that is not in copies holds nothing that survives.
		if e.n.kind != walLog || c.copies[e.n] != nil {
			whole = append(whole, e)
		}
	}
	c.copyEntries(m, whole)
}

// lostBatch is the first batch that is lost.
type lostBatch struct {
	log   uint64 // in which it is; math.MaxUint64 if none is lost
	batch int    // the how manieth of the log
}

// firstLost chooses how many of the batches that need not survive do: none, all, or some. That depends on how many there
// are, and not on the logs that they are in.
func (c *crash) firstLost(logs []scanned) lostBatch {
	total := 0
	c.fs.promised.eachOther(logs, func(lostBatch) bool { total++; return true })
	left := int(c.hash(forLength, uint64(total)) % uint64(total+1))
	switch mode := c.hash(forMode) % 4; {
	case mode == 0 || c.fs.faults.ever:
		left = 0
	case mode == 1:
		left = total
	}
	at := lostBatch{log: math.MaxUint64}
	c.fs.promised.eachOther(logs, func(b lostBatch) bool {
		if left--; left < 0 {
			at = b
		}
		return left >= 0
	})
	return at
}

// copyLog puts what survives of a log into copies. One that loses nothing is copied whole, with its end, which Pebble
// demands of all logs but the last. One that does is the last, and may end with a torn piece of the batch.
func (c *crash) copyLog(l scanned, at lostBatch) {
	m := &node{kind: walLog, num: l.n.num}
	if l.n.num < at.log {
		c.setData(m, l.n.data.clone(l.n.data.size))
	} else {
		torn := c.tear(l, at.batch)
		c.setData(m, torn)
		c.out.torn = at.batch == 0 && torn.size > 0 || at.batch > 0 && torn.size > l.batches[at.batch-1].end
		l.batches = l.batches[:at.batch]
	}
	p := &c.out.promised
	p.wal, p.synced = m.num, m.synced
	if n := len(l.batches); n > 0 {
		p.seq = max(p.seq, l.batches[n-1].last)
	}
	c.copies[l.n], c.out.wal = m, m
}

// tear is the log before a batch, with a piece of the batch as a disk may have written it: cut anywhere, what is in the
// last sector zeroed or garbled, and zeros behind it that were allocated before.
//
// INVARIANT: what is torn can never be read as a batch.
func (c *crash) tear(l scanned, lost int) data {
	start := int64(0)
	if lost > 0 {
		start = l.batches[lost-1].end
	}
	clean, at := l.n.data.clone(start), uint64(start)
	size, mode := l.batches[lost].end-start, c.hash(forTear, at)%4
	if mode == 0 || size < 2 {
		return clean
	}
	p := make([]byte, 1+int64(c.hash(forTorn, at)%uint64(size-1)))
	_, _ = l.n.data.readAt(p, start)
	// What lies before the batch in its first sector was written again with it, as it is.
	sector := max(start, (start+int64(len(p))-1)/sectorBytes*sectorBytes) - start
	spoilt := p[sector:]
	spoilt = spoilt[c.hash(forSector, at)%uint64(len(spoilt)):]
	for i := range spoilt {
		switch mode {
		case 2:
			spoilt[i] = 0
		case 3:
			spoilt[i] ^= byte(c.hash(forGarbage, at, uint64(i))) | 1
		}
	}
	torn := clean.clone(start)
	torn.append(p)
	if h := c.hash(forZeros, at); h%2 == 0 {
		torn.append(make([]byte, h>>8%(3*chunkBytes)))
	}
	if n := len(scanLog(&node{num: l.n.num, data: torn}).batches); n > lost {
		return clean // its end consists of zeros, which are all there
	}
	return torn
}
