package simfs

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// The manifest is the list of edits that make the tables of a database. Each edit begins with the fields below, in this
// order, all optional; the engine's tables follow.
const (
	tagComparator = 1 // length, name
	tagLogNumber  = 2 // the first log that is not in tables
	// editHead is enough of an edit to find the log number: the names of comparers are short.
	editHead = 256
)

// markerPrefix begins the names of the files that say which manifest counts: the one with the highest number.
//
//	marker.manifest.<number>.MANIFEST-<number of the manifest>
const markerPrefix = "marker.manifest."

// flushedBelow is the number below which an edit says that all logs are in tables; 0 if it does not say.
func flushedBelow(edit []byte) uint64 {
	field := func() uint64 {
		v, n := binary.Uvarint(edit)
		edit = edit[max(n, 0):]
		return v
	}
	tag := field()
	if tag == tagComparator {
		if n := field(); n < uint64(len(edit)) {
			edit = edit[n:]
			tag = field()
		}
	}
	if tag != tagLogNumber {
		return 0
	}
	return field()
}

// kept is what survives of the manifests.
type kept struct {
	n  *node
	at position
	// later are the names of markers of manifests that do not survive.
	later []string
}

// cut finds the edits that survive if lost is the first log of which a batch is lost: those before the first that says
// that this log is in tables. The newest manifest counts that has any; its first edit is a picture of all before.
//
// INVARIANT: an edit survives only with all before it, and a table whose contents came from a log only if all batches
// of the log do.
func (dir *node) cut(lost uint64) kept {
	type marker struct {
		name   string
		number uint64
		n      *node
	}
	var ms []marker
	all := dir.surviving()
	for _, e := range all {
		rest, ok := strings.CutPrefix(e.name, markerPrefix)
		if !ok {
			continue
		}
		num, file, _ := strings.Cut(rest, ".")
		if number, err := strconv.ParseUint(num, 10, 64); err == nil {
			ms = append(ms, marker{e.name, number, all.get(file)})
		}
	}
	slices.SortFunc(ms, func(a, b marker) int { return cmp.Compare(b.number, a.number) })
	var k kept
	for _, m := range ms {
		if m.n != nil {
			if end := m.n.editsBefore(lost); end > 0 {
				k.n, k.at = m.n, position{manifest: m.n.num, end: end}
				return k
			}
		}
		k.later = append(k.later, m.name)
	}
	return k
}

// editsBefore is the end of the edits of a manifest that survive.
func (n *node) editsBefore(lost uint64) (end int64) {
	d := n.data.clone(n.synced)
	cut := false
	eachRecord(&d, 0, editHead, func(head []byte, at int64) {
		if cut = cut || flushedBelow(head) > lost; !cut {
			end = at
		}
	})
	return end
}

// surviving are the names of a directory that survive, with what may come back.
func (dir *node) surviving() entries {
	all := dir.durable
	for _, r := range dir.limbo {
		if all.get(r.name) == nil {
			all = all.with(r.name, r.n)
		}
	}
	return all
}

// position is where the manifests are now.
func (f *FS) position() position {
	if f.manifest == nil {
		return position{}
	}
	return position{manifest: f.manifest.num, end: f.manifest.synced}
}
