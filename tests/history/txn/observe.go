package txn

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/tests/history"
)

// place is an element of a list.
type place struct{ key, element string }

// list is what is known of one key.
type list struct {
	versions []string // the longest read: the order of all elements that were seen
	longest  int      // who read it
	unseen   []int    // committed transactions whose appends nobody saw, each once: they come after all versions
}

// view is a read of what others wrote: the first one of a key in a transaction, before its own appends.
type view struct {
	txn  int
	key  string
	n    int  // elements
	grew bool // the transaction appends to the key as well
}

// observation is a history with its lists put in order.
type observation struct {
	txns   []Txn
	keys   []string // sorted
	lists  map[string]*list
	writer map[place]int // who appended what
	last   map[place]int // elements that are the last that their transaction appends to a key; the value is the writer
	real   []bool        // the transaction took effect: it is known to have committed, or its appends were seen
	views  []view
	found  []Anomaly
}

func (o *observation) add(k Kind, format string, args ...any) {
	o.found = append(o.found, Anomaly{Kind: k, Words: fmt.Sprintf(format, args...)})
}

// observe finds out what every list looked like and when, and what cannot be put in order.
func observe(txns []Txn) *observation {
	o := &observation{txns: txns, lists: make(map[string]*list), writer: make(map[place]int), last: make(map[place]int), real: make([]bool, len(txns))}
	o.writers()
	for i := range txns {
		o.internal(&txns[i])
	}
	o.order()
	if len(o.found) > 0 {
		return o
	}
	for i := range txns {
		o.look(i)
	}
	o.rest()
	return o
}

// writers notes who appends what.
func (o *observation) writers() {
	for i := range o.txns {
		newest := make(map[string]string)
		for _, op := range o.txns[i].Ops {
			o.list(op.Key)
			if op.Append == "" {
				continue
			}
			at := place{op.Key, op.Append}
			if _, ok := o.writer[at]; ok {
				o.add(Duplicate, "%s is appended to %s by two operations: the history is not one of lists", op.Append, op.Key)
			}
			o.writer[at] = i
			newest[op.Key] = op.Append
		}
		for k, e := range newest { // in any order: it fills a map
			o.last[place{k, e}] = i
		}
		o.real[i] = o.txns[i].Fate == history.Done
	}
	slices.Sort(o.keys)
}

func (o *observation) list(key string) *list {
	l := o.lists[key]
	if l == nil {
		l = &list{longest: -1}
		o.lists[key] = l
		o.keys = append(o.keys, key)
	}
	return l
}

// internal demands that a transaction sees what it read before, and what it appended since.
func (o *observation) internal(t *Txn) {
	known := make(map[string][]string) // what a read must show, or end with
	read := make(map[string]bool)
	for _, op := range t.Ops {
		if op.Append != "" {
			known[op.Key] = append(slices.Clone(known[op.Key]), op.Append)
			continue
		}
		want := known[op.Key]
		end := op.Read[max(0, len(op.Read)-len(want)):]
		if read[op.Key] && !slices.Equal(op.Read, want) || !slices.Equal(end, want) {
			o.add(Internal, "%s\n  reads %s as %v, and must see %v there", t, op.Key, op.Read, want)
		}
		known[op.Key], read[op.Key] = op.Read, true
	}
}

// order finds the order of versions of each key, and holds every read against it.
func (o *observation) order() {
	o.reads(func(i int, key string, saw []string) {
		if l := o.list(key); l.longest < 0 || len(saw) > len(l.versions) {
			l.versions, l.longest = saw, i
		}
	})
	o.reads(func(i int, key string, saw []string) {
		l := o.lists[key]
		if !slices.Equal(saw, l.versions[:len(saw)]) {
			o.add(Disorder, "%s\n%s\n  saw lists of %s of which none is the beginning of the other", &o.txns[i], &o.txns[l.longest], key)
		}
	})
	for _, key := range o.keys {
		o.checkVersions(key)
	}
}

// reads calls f for what was seen by transactions that were not refused; a store answers for those. Of what an open one saw
// its own appends are left out: perhaps they never were.
func (o *observation) reads(f func(i int, key string, saw []string)) {
	for i := range o.txns {
		if o.txns[i].Fate == history.Refused {
			continue
		}
		for n := range o.txns[i].Ops {
			op := &o.txns[i].Ops[n]
			if op.Append != "" {
				continue
			}
			saw := op.Read
			if o.txns[i].Fate == history.Open {
				saw = saw[:len(saw)-o.own(i, op)]
			}
			f(i, op.Key, saw)
		}
	}
}

// own counts the elements at the end of what a transaction read that it appended itself.
func (o *observation) own(i int, op *Op) (n int) {
	for n < len(op.Read) {
		if w, ok := o.writer[place{op.Key, op.Read[len(op.Read)-1-n]}]; !ok || w != i {
			break
		}
		n++
	}
	return n
}

func (o *observation) checkVersions(key string) {
	l, seen := o.lists[key], make(map[string]bool)
	for _, e := range l.versions {
		w, ok := o.writer[place{key, e}]
		reader := func() *Txn { return &o.txns[l.longest] }
		switch {
		case seen[e]:
			o.add(Duplicate, "%s\n  %s is in %s twice", reader(), e, key)
		case !ok:
			o.add(Garbage, "%s\n  %s is in %s, and nobody appended it", reader(), e, key)
		case o.txns[w].Fate == history.Refused:
			o.add(G1a, "%s\n  sees %s in %s, of a transaction that was aborted:\n%s", reader(), e, key, &o.txns[w])
		case ok && w != l.longest:
			o.real[w] = true
		}
		seen[e] = true
	}
}

// look takes the views of a transaction that took effect. Of one that did not, nobody promised that its reads fit to what
// others wrote meanwhile.
func (o *observation) look(i int) {
	t := &o.txns[i]
	if !o.real[i] {
		return
	}
	read, appended := make(map[string]bool), make(map[string]bool)
	for _, op := range t.Ops {
		if op.Append != "" {
			appended[op.Key] = true
			continue
		}
		n := len(op.Read) - o.own(i, &op)
		if n > 0 && !read[op.Key] {
			e := place{op.Key, op.Read[n-1]}
			if _, whole := o.last[e]; !whole {
				o.add(G1b, "%s\n  sees %s up to %s, which is in the middle of\n%s", t, op.Key, e.element, &o.txns[o.writer[e]])
			}
		}
		if !read[op.Key] {
			o.views = append(o.views, view{txn: i, key: op.Key, n: n})
		}
		read[op.Key] = true
	}
	for v := len(o.views) - 1; v >= 0 && o.views[v].txn == i; v-- {
		for _, op := range t.Ops {
			o.views[v].grew = o.views[v].grew || op.Append != "" && op.Key == o.views[v].key
		}
	}
}

// rest finds the committed appends that nobody saw.
func (o *observation) rest() {
	position := make(map[place]bool)
	for _, key := range o.keys {
		for _, e := range o.lists[key].versions {
			position[place{key, e}] = true
		}
	}
	for i := range o.txns {
		if o.txns[i].Fate != history.Done {
			continue
		}
		for _, op := range o.txns[i].Ops {
			l := o.lists[op.Key]
			if op.Append != "" && !position[place{op.Key, op.Append}] && !slices.Contains(l.unseen, i) {
				l.unseen = append(l.unseen, i)
			}
		}
	}
}

// lostUpdates finds two transactions that took effect, read the same version of a list, and both appended to it.
func (o *observation) lostUpdates() (found []Anomaly) {
	type version struct {
		key string
		n   int
	}
	first := make(map[version]int)
	for _, v := range o.views {
		if !v.grew || !o.real[v.txn] {
			continue
		}
		at := version{v.key, v.n}
		was, ok := first[at]
		if !ok {
			first[at] = v.txn
			continue
		}
		found = append(found, Anomaly{Kind: LostUpdate, Words: fmt.Sprintf("%s\n%s\n  both append to the same version of %s, of %d elements",
			&o.txns[was], &o.txns[v.txn], v.key, v.n)})
		return found
	}
	return nil
}
