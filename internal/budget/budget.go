// Package budget accounts for the memory that one store uses for work that is under way: everything whose amount others
// decide, clients and other stores. What has a size of its own (the block cache, memtables, what replicas cost at rest) is
// not in it.
//
// The budget is cut into shares, one for each kind of work, and no kind uses another's. That wastes some of it, and buys
// the only thing that matters when there is no room: nothing ever waits for memory that is given back only by something
// that itself waits for memory. A client that takes no answers keeps no write from being replicated, writes that wait for a
// majority keep no acknowledgement out, and whoever deletes finds a share of his own.
//
// Whoever brings work takes memory at the door, before it is queued anywhere, and is refused if it does not fit. Work that
// frees memory (applying, truncation, messages that only acknowledge) takes none, or takes it without being asked (Add).
package budget

import (
	"sync/atomic"

	"github.com/skerrydb/skerry/internal/invariant"
)

// Kind is what memory is used for.
type Kind uint8

// The kinds.
const (
	// Writes are commands of clients that add data, from their arrival to their answer, together with their log entries.
	Writes Kind = iota
	// Deletes are commands that add none: deletes, and what ends transactions.
	Deletes
	// Reads are requests to read that wait, and pages that are made for them.
	Reads
	// Replies wait for clients to take them.
	Replies
	// Inbound are frames of other stores that wait for a worker.
	Inbound
	// Outbound are frames that wait for another store to take them.
	Outbound
	// Logs are the newest entries of raft logs, which followers are fed from. They are a cache, and the oldest give way.
	Logs
	// Changes are the latest changes of shards that are watched. The oldest give way.
	Changes
	// Batches are written to the log and not synced yet. A worker makes no more while two of its own wait.
	Batches
	// Snapshots are the chunks in hand of snapshots that are received and sent. Slots bound them.
	Snapshots

	count = iota
)

// shareParts is what a whole budget is cut into.
const shareParts = 32

// row says what a kind is called and how many of shareParts it gets.
type row struct {
	name string
	part int64
}

// table has a row for every kind. INVARIANT: the parts add up to shareParts.
func table() [count]row {
	return [count]row{
		Writes:    {"writes", 8},
		Deletes:   {"deletes", 2},
		Reads:     {"reads", 2},
		Replies:   {"replies", 4},
		Inbound:   {"inbound", 4},
		Outbound:  {"outbound", 4},
		Logs:      {"logs", 4},
		Changes:   {"changes", 2},
		Batches:   {"batches", 1},
		Snapshots: {"snapshots", 1},
	}
}

// String is the kind's name, as it stands in metrics and messages.
func (k Kind) String() string { return table()[k].name }

// Kinds are all of them, in order.
func Kinds() []Kind {
	out := make([]Kind, count)
	for i := range out {
		out[i] = Kind(i)
	}
	return out
}

const (
	// DefaultBytes is the budget of a store for which nobody chose one.
	DefaultBytes = 1 << 30
	// MinBytes is the smallest one: with less, the shares would be smaller than single requests.
	MinBytes = 64 << 20
)

// Budget is the memory of one store. Safe for concurrent use: each call is one or two atomic operations. A nil *Budget
// refuses nothing and counts nothing.
type Budget struct {
	limit  int64
	shares [count]share
}

// share is one kind's part. Each has a cache line of its own.
type share struct {
	used    atomic.Int64
	refused atomic.Uint64
	limit   int64
	_       [104]byte
}

// New makes a budget of so many bytes: DefaultBytes if it is not above zero, and not less than MinBytes.
func New(bytes int64) *Budget {
	if bytes <= 0 {
		bytes = DefaultBytes
	}
	b := &Budget{limit: max(bytes, MinBytes)}
	for k, r := range table() {
		b.shares[k].limit = b.limit / shareParts * r.part
	}
	return b
}

// Take takes n bytes for work of a kind, and reports whether they fit. What was taken is given back by Give.
//
// INVARIANT: a single piece of work of any size fits while there is no other of its kind, else it could never be done. So
// a share is exceeded by one piece of work at most.
func (b *Budget) Take(k Kind, n int64) bool {
	if b == nil {
		return true
	}
	s := &b.shares[k]
	if after := s.used.Add(n); after > s.limit && after != n {
		s.used.Add(-n)
		s.refused.Add(1)
		return false
	}
	return true
}

// Add takes n bytes whether they fit or not: for what cannot be refused any more, and for what frees memory.
func (b *Budget) Add(k Kind, n int64) {
	if b != nil {
		b.shares[k].used.Add(n)
	}
}

// Give gives n bytes back.
func (b *Budget) Give(k Kind, n int64) {
	if b == nil {
		return
	}
	if left := b.shares[k].used.Add(-n); left < 0 {
		invariant.Check(false, "more memory was given back for %s than was taken: %d", k, left)
	}
}

// Refuse counts work that was refused without an attempt to take memory for it.
func (b *Budget) Refuse(k Kind) {
	if b != nil {
		b.shares[k].refused.Add(1)
	}
}

// Room reports whether a share is not used up.
func (b *Budget) Room(k Kind) bool {
	return b == nil || b.shares[k].used.Load() < b.shares[k].limit
}

// Limit is the whole budget, in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Share is the part of a kind, in bytes.
func (b *Budget) Share(k Kind) int64 { return b.shares[k].limit }

// Used is how many bytes are taken for a kind.
func (b *Budget) Used(k Kind) int64 { return b.shares[k].used.Load() }

// Refused is how often work of a kind did not fit.
func (b *Budget) Refused(k Kind) uint64 { return b.shares[k].refused.Load() }

// fullParts: a share of which less than one part in so many is left counts as full.
const fullParts = 16

// Full are the kinds whose share is used up, or nearly, and whose work is therefore refused.
func (b *Budget) Full() []Kind {
	var out []Kind
	for k := range b.shares {
		s := &b.shares[k]
		if s.used.Load() > s.limit-s.limit/fullParts {
			out = append(out, Kind(k))
		}
	}
	return out
}
