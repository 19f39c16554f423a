package raftstore

import (
	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore/group"
)

// The end of a log is in memory for those who will ask for it: the followers to which it is sent, and the one who applies it. Both have
// done so some milliseconds after an append. What is kept for longer costs memory, and Go's collector looks at each of its entries in
// every cycle, while nothing else of the store runs at its usual pace.

// trimEntries is after how many applied entries a replica looks at what may go.
const trimEntries = 16

// trimTail drops from memory what this replica has applied and its followers have. The last entry of those stays: raft asks for its
// term when it sends the next one. What a follower lacks that is farther behind is not in memory anyway.
func (r *replica) trimTail() {
	applied := r.machine.Applied.Index
	if applied < r.trimAt {
		return
	}
	r.trimAt = applied + trimEntries
	to := applied
	if r.group.Leading() {
		r.group.Progress(func(p group.Progress) {
			if p.Match+engine.TailEntries >= applied {
				to = min(to, p.Match)
			}
		})
	}
	r.log.Trim(to)
}
