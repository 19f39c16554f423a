package shard

import "github.com/tidwall/btree"

// Map is an ordered set of descriptors of which no two overlap. Placement keeps its truth in one, a client its routes,
// a store what it holds; all three decide with the same Insert which of two descriptors is newer.
//
// Not safe for concurrent use, but Copy costs almost nothing: a writer that publishes copies gives readers a Map that
// never changes.
//
// INVARIANT: byStart and byID hold the same descriptors; no two overlap.
type Map struct {
	byStart *btree.BTreeG[startItem]
	byID    *btree.BTreeG[idItem]
}

// The keys stand beside the pointers, so that a search allocates no descriptor.
type startItem struct {
	start Key
	d     *Descriptor
}

type idItem struct {
	id ID
	d  *Descriptor
}

// NewMap makes an empty Map.
func NewMap() *Map {
	opts := btree.Options{NoLocks: true}
	return &Map{
		byStart: btree.NewBTreeGOptions(func(a, b startItem) bool { return a.start.Compare(b.start) < 0 }, opts),
		byID:    btree.NewBTreeGOptions(func(a, b idItem) bool { return a.id < b.id }, opts),
	}
}

// Copy returns a Map with the same descriptors. It shares nodes with m until one of the two changes. Copying writes to
// m, so it needs the same exclusion as Insert.
func (m *Map) Copy() *Map { return &Map{byStart: m.byStart.Copy(), byID: m.byID.Copy()} }

// Len counts the descriptors.
func (m *Map) Len() int { return m.byID.Len() }

// Get returns the descriptor of a shard.
func (m *Map) Get(id ID) (*Descriptor, bool) {
	it, ok := m.byID.Get(idItem{id: id})
	return it.d, ok
}

// Lookup returns the descriptor whose range contains k.
func (m *Map) Lookup(k Key) (*Descriptor, bool) {
	if d := m.atOrBefore(k); d != nil && d.Range.Contains(k) {
		return d, true
	}
	return nil, false
}

// atOrBefore returns the descriptor with the largest start that is not above k, or nil.
func (m *Map) atOrBefore(k Key) *Descriptor {
	var found *Descriptor
	m.byStart.Descend(startItem{start: k}, func(it startItem) bool {
		found = it.d
		return false
	})
	return found
}

// Ascend calls f in key order with the descriptor that contains from, if there is one, and all that follow, until f
// returns false. f must not change m.
func (m *Map) Ascend(from Key, f func(*Descriptor) bool) {
	if d, ok := m.Lookup(from); ok {
		from = d.Range.Start
	}
	m.byStart.Ascend(startItem{start: from}, func(it startItem) bool { return f(it.d) })
}

// Overlapping returns, in key order, the descriptors that share a key with r.
func (m *Map) Overlapping(r Range) []*Descriptor {
	if r.Empty() {
		return nil
	}
	var out []*Descriptor
	m.Ascend(r.Start, func(d *Descriptor) bool {
		if !d.Range.Overlaps(r) {
			return false
		}
		out = append(out, d)
		return true
	})
	return out
}

// Gaps returns, in key order, the parts of r that no descriptor covers.
func (m *Map) Gaps(r Range) []Range {
	if r.Empty() {
		return nil
	}
	var out []Range
	next := r.Start // everything of r before it is covered or already in out
	for _, d := range m.Overlapping(r) {
		if next.Compare(d.Range.Start) < 0 {
			out = append(out, Range{Start: next, End: d.Range.Start})
		}
		if d.Range.CompareEnd(r.End) >= 0 {
			return out
		}
		next = d.Range.End
	}
	return append(out, Range{Start: next, End: r.End})
}

// Insert puts d into m unless m knows something newer, and reports whether m now holds d's epoch of this shard. What d
// overlaps is removed; evicted returns it in key order (the shard's own earlier descriptor is not among them).
//
// Of one shard the newer epoch wins. Of two overlapping shards the larger Version wins, because along every key the
// Version grows with each split and merge; equal Versions cannot overlap in any real history, and then what stands
// stays. One newer overlapping shard is enough to refuse d as a whole: no part of an outdated descriptor is true.
//
// Therefore whatever descriptors of a history are inserted, in whatever order, m holds exactly the newest ones as soon
// as those that now cover the keyspace were among them. (Before that, what m holds may depend on the order: it is a
// set of hints, and the epoch checks of the shards decide.)
func (m *Map) Insert(d *Descriptor) (kept bool, evicted []*Descriptor) {
	own, known := m.Get(d.ID)
	if known && !d.Epoch.Newer(own.Epoch) {
		return d.Epoch == own.Epoch, nil
	}
	over := m.Overlapping(d.Range)
	for _, o := range over {
		if o.ID != d.ID && o.Epoch.Version >= d.Epoch.Version {
			return false, nil
		}
	}
	for _, o := range over {
		if o.ID != d.ID {
			m.remove(o)
			evicted = append(evicted, o)
		}
	}
	if known {
		m.remove(own)
	}
	m.byStart.Set(startItem{start: d.Range.Start, d: d})
	m.byID.Set(idItem{id: d.ID, d: d})
	return true, evicted
}

// Delete removes a shard and reports whether it was there.
func (m *Map) Delete(id ID) bool {
	d, ok := m.Get(id)
	if ok {
		m.remove(d)
	}
	return ok
}

func (m *Map) remove(d *Descriptor) {
	m.byStart.Delete(startItem{start: d.Range.Start})
	m.byID.Delete(idItem{id: d.ID})
}
