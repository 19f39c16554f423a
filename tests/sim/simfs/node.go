package simfs

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// kind says which rules a file follows at a crash.
type kind uint8

const (
	plain    kind = iota // bytes that were synced
	walLog               // records up to a sequence number
	manifest             // edits up to the first that cannot be
	raftLog              // bytes that were synced, and of those written since whatever a seed says
)

// classify tells Pebble's logs and manifests, and the segments of the raft log, by their names, and their file numbers.
func classify(name string) (kind, uint64) {
	if s, ok := strings.CutPrefix(name, "MANIFEST-"); ok {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return manifest, n
		}
	}
	if s, ok := strings.CutSuffix(name, ".log"); ok {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return walLog, n
		}
	}
	if s, ok := strings.CutSuffix(name, ".raft"); ok {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return raftLog, n
		}
	}
	return plain, 0
}

// node is a file or a directory. It may have several names, or none any more. All under FS.mu.
type node struct {
	// of a file
	kind   kind
	num    uint64 // file number of a log, manifest or segment
	data   data
	synced int64 // bytes; of a log it says only what Pebble did, see Durable
	// before holds the synced bytes if some of them were overwritten since, which Pebble never does.
	before *data
	// unsynced are the writes to a segment of the raft log since its last sync, in order.
	unsynced []piece
	// batches are those in the first scannedBytes of a log.
	batches      []batch
	scannedBytes int64

	// of a directory
	dir     bool
	entries entries
	durable entries // as of the last sync
	// db is set once the directory holds a manifest.
	db bool
	// limbo holds what Pebble removed from a database and a crash may bring back.
	limbo []removed
}

// piece is bytes at an offset of a file.
type piece struct {
	off int64
	p   []byte
}

// removed is a file in limbo.
type removed struct {
	entry
	at position // in the manifests, when it was removed: what a crash keeps up to there does not need it
}

// position is a place in the sequence of manifests.
type position struct {
	manifest uint64
	end      int64 // of the edits before it
}

func (p position) upTo(q position) bool {
	return p.manifest < q.manifest || p.manifest == q.manifest && p.end <= q.end
}

// entry is a name in a directory.
type entry struct {
	name string
	n    *node
}

// entries are in the order of names. They are immutable: that is what makes the sync of a directory an assignment.
type entries []entry

func (es entries) find(name string) (int, bool) {
	return slices.BinarySearchFunc(es, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
}

func (es entries) get(name string) *node {
	if i, ok := es.find(name); ok {
		return es[i].n
	}
	return nil
}

func (es entries) with(name string, n *node) entries {
	i, ok := es.find(name)
	out := make(entries, 0, len(es)+1)
	out = append(append(out, es[:i]...), entry{name, n})
	if ok {
		i++
	}
	return append(out, es[i:]...)
}

func (es entries) without(name string) entries {
	i, ok := es.find(name)
	if !ok {
		return es
	}
	return slices.Concat(es[:i], es[i+1:])
}

// split is the names along a path from the root.
func split(name string) []string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}
