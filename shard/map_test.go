package shard

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestMap shows which of two descriptors a Map keeps, and how it is searched.
func TestMap(t *testing.T) {
	var m *Map
	datadriven.RunTest(t, "testdata/map.txt", func(t *testing.T, td *datadriven.TestData) string {
		in := lines(td.Input)
		switch td.Cmd {
		case "new":
			m = NewMap()
			return ""
		case "insert":
			return eachLine(in, func(l string) string {
				kept, evicted := m.Insert(parse(t, l))
				checkMap(t, m)
				return fmt.Sprintf("kept=%t evicted=%v", kept, idsOf(evicted))
			})
		case "copy-and-delete": // the copy changes, m does not
			c := m.Copy()
			out := fmt.Sprintf("deleted=%t\n%s", c.Delete(ID(num(t, in[0], "s"))), showMap(c))
			checkMap(t, c)
			return out
		case "show":
			return showMap(m)
		case "lookup":
			return eachLine(in, func(l string) string {
				d, ok := m.Lookup(Key(strings.Trim(l, "*")))
				return fmt.Sprint(l, ": ", ok, " ", idsOf([]*Descriptor{d}))
			})
		case "range":
			return eachLine(in, func(l string) string {
				r := parseRange(l)
				return fmt.Sprintf("%s: holds %v, lacks %v", l, idsOf(m.Overlapping(r)), m.Gaps(r))
			})
		case "ascend":
			var out []*Descriptor
			m.Ascend(Key(in[0]), func(d *Descriptor) bool { out = append(out, d); return len(out) < 2 })
			return fmt.Sprintln(idsOf(out))
		}
		t.Fatalf("unknown command %s", td.Cmd)
		return ""
	})
}

func idsOf(ds []*Descriptor) (ids []ID) {
	for _, d := range ds {
		if d != nil {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func showMap(m *Map) string {
	var b strings.Builder
	m.Ascend(nil, func(d *Descriptor) bool {
		fmt.Fprintf(&b, "%s%s e%s\n", d.ID, d.Range, d.Epoch)
		return true
	})
	return b.String()
}

// checkMap fails if two descriptors overlap or the two indexes differ.
func checkMap(t interface {
	Helper()
	Fatalf(string, ...any)
}, m *Map) {
	t.Helper()
	n := 0
	var last *Descriptor
	m.Ascend(nil, func(d *Descriptor) bool {
		if got, ok := m.Get(d.ID); !ok || got != d {
			t.Fatalf("%s is found by its range, not by its id", d)
		}
		if last != nil && (last.Range.Overlaps(d.Range) || last.Range.Start.Compare(d.Range.Start) >= 0) {
			t.Fatalf("%s and %s overlap", last, d)
		}
		last = d
		n++
		return true
	})
	if n != m.Len() {
		t.Fatalf("%d descriptors in order, %d in all", n, m.Len())
	}
}

// history is a random life of a keyspace: splits, merges and membership changes from one shard on. It keeps every
// descriptor that there ever was, in the order of their birth.
type history struct {
	now    []*Descriptor // in key order
	all    []*Descriptor
	nextID uint64
}

func newHistory() *history {
	d := &Descriptor{ID: 1000, Epoch: Epoch{1, 1}, Replicas: []Replica{{1, 1, Voter}, {2, 2, Voter}, {3, 3, Learner}}}
	return &history{now: []*Descriptor{d}, all: []*Descriptor{d}, nextID: 2000}
}

func (h *history) id() uint64 { h.nextID++; return h.nextID }

func (h *history) step(t *rapid.T) {
	i := rapid.IntRange(0, len(h.now)-1).Draw(t, "shard")
	switch rapid.IntRange(0, 4).Draw(t, "step") {
	case 0, 1:
		h.split(t, i)
	case 2:
		h.merge(i)
	default:
		h.change(t, i)
	}
}

func (h *history) split(t *rapid.T, i int) {
	d := h.now[i]
	keys := rapid.SliceOfNDistinct(rapid.StringMatching("[a-e]{1,3}"), 1, 3, rapid.ID[string]).Draw(t, "keys")
	slices.Sort(keys)
	var at []Key
	var ids []SplitID
	for _, k := range keys {
		if Key(k).Compare(d.Range.Start) <= 0 || !d.Range.Contains(Key(k)) {
			continue
		}
		id := SplitID{Shard: ID(h.id())}
		for range d.Replicas {
			id.Replicas = append(id.Replicas, ReplicaID(h.id()))
		}
		at, ids = append(at, Key(k)), append(ids, id)
	}
	if parts, err := d.Split(at, ids); err == nil {
		h.replace(i, 1, parts...)
	}
}

func (h *history) merge(i int) {
	if i+1 < len(h.now) {
		if d, err := Merge(h.now[i], h.now[i+1]); err == nil {
			h.replace(i, 2, d)
		}
	}
}

func (h *history) change(t *rapid.T, i int) {
	d := h.now[i]
	c := Change{Kind: ChangeKind(rapid.IntRange(1, 4).Draw(t, "kind"))}
	r := d.Replicas[rapid.IntRange(0, len(d.Replicas)-1).Draw(t, "replica")]
	c.Replica = r
	switch {
	case c.Kind == AddLearner:
		c.Replica = Replica{ID: ReplicaID(h.id()), Store: StoreID(h.id())}
	case c.Kind == EnterJoint && r.Role == Learner:
		c.Promote = []ReplicaID{r.ID}
	case c.Kind == EnterJoint:
		c.Demote = []ReplicaID{r.ID}
	}
	if next, err := d.Apply(c); err == nil {
		h.replace(i, 1, next)
	}
}

func (h *history) replace(i, n int, by ...*Descriptor) {
	h.now = slices.Replace(h.now, i, i+n, by...)
	h.all = append(h.all, by...)
}

// TestMapConverges: whatever the order in which the descriptors of a history arrive, and however often, the Map ends
// with those that are true now. Every step on the way is valid, and leaves no two descriptors of one epoch unequal.
func TestMapConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			h.step(t)
		}
		m := NewMap()
		for _, d := range rapid.Permutation(append(slices.Clone(h.all), h.all...)).Draw(t, "order") {
			if err := d.Validate(); err != nil {
				t.Fatal(err)
			}
			m.Insert(d)
			checkMap(t, m)
		}
		var got []*Descriptor
		m.Ascend(nil, func(d *Descriptor) bool { got = append(got, d); return true })
		if !slices.Equal(got, h.now) {
			t.Fatalf("converged to\n%v\nwant\n%v", got, h.now)
		}
		if gaps := m.Gaps(Range{}); gaps != nil {
			t.Fatalf("gaps %v", gaps)
		}
	})
}

// TestEpochsOrdered: the descriptors of one shard are totally ordered by epoch, in the order of their birth.
func TestEpochsOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			h.step(t)
		}
		for i, a := range h.all {
			for _, b := range h.all[i+1:] {
				if a.ID == b.ID && (!b.Epoch.Newer(a.Epoch) || a.Epoch.Newer(b.Epoch)) {
					t.Fatalf("%s is not newer than %s", b, a)
				}
				if a.ID != b.ID && a.Range.Overlaps(b.Range) && b.Epoch.Version <= a.Epoch.Version {
					t.Fatalf("%s took keys of %s with no larger Version", b, a)
				}
			}
		}
	})
}

// TestSplitMerge: a split covers what was split, piece by piece, and merging the pieces gives it back.
func TestSplitMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		whole := h.now[0]
		h.split(t, 0)
		if len(h.now) == 1 {
			return
		}
		for _, d := range h.now {
			if d.Epoch != (Epoch{1, uint64(len(h.now))}) {
				t.Fatalf("epoch of %s after a split in %d", d, len(h.now))
			}
		}
		for len(h.now) > 1 {
			n := len(h.now)
			if h.merge(rapid.IntRange(0, n-2).Draw(t, "left")); len(h.now) != n-1 {
				t.Fatalf("neighbours do not merge: %v", h.now)
			}
		}
		if got := h.now[0]; !got.Range.Equal(whole.Range) || got.ID != whole.ID || !slices.Equal(got.Replicas, whole.Replicas) {
			t.Fatalf("merged to %s, was %s", got, whole)
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	d := &Descriptor{ID: 10, Range: Range{Start: Key("ra"), End: Key("rz")}, Epoch: Epoch{2, 3},
		Replicas: []Replica{{1, 1, Voter}, {2, 2, DemotingVoter}}}
	f.Add(d.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDescriptor(b)
		if err != nil {
			return
		}
		back, err := DecodeDescriptor(d.Append(nil))
		if err != nil || back.String() != d.String() {
			t.Fatalf("%s reads back as %s, %v", d, back, err)
		}
		_ = d.Validate()
	})
}

func FuzzApplied(f *testing.F) {
	f.Add(Applied{Index: 9, Term: 2, TruncIndex: 5, TruncTerm: 1, Time: 1 << 40, Expiring: 7, Locks: 3}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeApplied(b)
		if err != nil {
			return
		}
		if back, err := DecodeApplied(a.Append(nil)); err != nil || back != a {
			t.Fatalf("%+v reads back as %+v, %v", a, back, err)
		}
	})
}

func FuzzChange(f *testing.F) {
	f.Add(Change{Kind: AddLearner, Replica: Replica{ID: 4, Store: 4}}.Append(nil))
	f.Add(Change{Kind: EnterJoint, Promote: []ReplicaID{4}, Demote: []ReplicaID{3}}.Append(nil))
	d := &Descriptor{ID: 10, Epoch: Epoch{1, 1}, Replicas: []Replica{{1, 1, Voter}, {3, 3, Voter}, {4, 4, Learner}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChange(b)
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, mustChange(t, again).Append(nil)) {
			t.Fatalf("%x reads back as something else", again)
		}
		if next, err := d.Apply(c); err == nil && next.Validate() != nil {
			t.Fatalf("%s makes %s: %v", c, next, next.Validate())
		}
	})
}

func mustChange(t *testing.T, b []byte) Change {
	c, err := DecodeChange(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDecodersAskForWhole: a decoder takes no prefix and nothing more.
func TestDecodersAskForWhole(t *testing.T) {
	d := newHistory().now[0]
	for name, c := range map[string]struct {
		enc []byte
		dec func([]byte) error
	}{
		"descriptor": {d.Append(nil), func(b []byte) error { _, err := DecodeDescriptor(b); return err }},
		"applied":    {Applied{Index: 300}.Append(nil), func(b []byte) error { _, err := DecodeApplied(b); return err }},
		"change":     {Change{Kind: LeaveJoint}.Append(nil), func(b []byte) error { _, err := DecodeChange(b); return err }},
	} {
		if err := c.dec(c.enc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for n := range c.enc {
			if c.dec(c.enc[:n]) == nil {
				t.Errorf("%s: %d of %d bytes are enough", name, n, len(c.enc))
			}
		}
		if c.dec(append(slices.Clone(c.enc), 0)) == nil {
			t.Errorf("%s: one byte too many is taken", name)
		}
		if c.dec(append([]byte{99}, c.enc[1:]...)) == nil {
			t.Errorf("%s: an unknown version is taken", name)
		}
	}
}
