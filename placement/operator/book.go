package operator

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/shard"
)

// Limits bound what runs at a time, so that moving shards does not starve those who use them.
type Limits struct {
	Receiving int // operators that make a new replica on one store
	Sending   int // operators that copy from one store
	Total     int // operators of all kinds
	// Patience is how long an operator may run that copies nothing; others get ten times as much, and a second per MiB.
	Patience time.Duration
}

// DefaultLimits move some tens of shards per second of moderate size and leave most of a disk to the users.
var DefaultLimits = Limits{Receiving: 4, Sending: 4, Total: 512, Patience: time.Minute}

// Bounds of a Book.
const (
	// maxPlanned bounds what people ask for at once: one scatter of a large table.
	maxPlanned = 1 << 14
	// historyLength is how many ended operators are remembered, for those who ask what happened: some minutes of a busy
	// cluster, some hundred kilobytes.
	historyLength = 512
)

// Book holds the operators of one leader of placement: at most one for each shard, and those that ended lately. Not safe
// for concurrent use.
type Book struct {
	limits   Limits
	byShard  map[shard.ID]*Operator
	byID     map[ID]*Operator
	history  []*Operator // the oldest first
	running  int
	receives map[shard.StoreID]int
	sends    map[shard.StoreID]int
	coverage *fsm.Coverage
}

// NewBook makes an empty one; a limit of zero is the default one.
func NewBook(l Limits, c *fsm.Coverage) *Book {
	return &Book{limits: l.orDefault(), byShard: make(map[shard.ID]*Operator), byID: make(map[ID]*Operator),
		receives: make(map[shard.StoreID]int), sends: make(map[shard.StoreID]int), coverage: c}
}

// SetLimits has the book go by other limits. What runs beyond them goes on.
func (b *Book) SetLimits(l Limits) { b.limits = l.orDefault() }

func (l Limits) orDefault() Limits {
	def := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	def(&l.Receiving, DefaultLimits.Receiving)
	def(&l.Sending, DefaultLimits.Sending)
	def(&l.Total, DefaultLimits.Total)
	if l.Patience <= 0 {
		l.Patience = DefaultLimits.Patience
	}
	return l
}

// Of returns the operator of a shard, nil if it has none.
func (b *Book) Of(id shard.ID) *Operator { return b.byShard[id] }

// Find returns the operator with an id, under way or ended lately; nil if there is none.
func (b *Book) Find(id ID) *Operator {
	if o := b.byID[id]; o != nil {
		return o
	}
	i := slices.IndexFunc(b.history, func(o *Operator) bool { return o.ID == id })
	if i < 0 {
		return nil
	}
	return b.history[i]
}

// Len counts the operators that have not ended.
func (b *Book) Len() int { return len(b.byID) }

// All are the operators that have not ended, by id.
func (b *Book) All() []*Operator {
	out := make([]*Operator, 0, len(b.byID))
	for _, id := range slices.Sorted(maps.Keys(b.byID)) {
		out = append(out, b.byID[id])
	}
	return out
}

// History are those that ended lately, the latest first.
func (b *Book) History() []*Operator {
	out := slices.Clone(b.history)
	slices.Reverse(out)
	return out
}

// Load is how many operators that run copy to a store and from it.
func (b *Book) Load(id shard.StoreID) (receiving, sending int) { return b.receives[id], b.sends[id] }

// Refuses says why the book does not take an operator, "" if it does. One that nobody asked for is taken only if it can
// start at once, so that what the schedulers see and what happens do not part; one by hand waits.
func (b *Book) Refuses(o *Operator) string {
	if old := b.byShard[o.Shard]; old != nil && (old.Kind.Rank() < o.Kind.Rank() || old.Kind.Rank() == o.Kind.Rank() && !o.ByHand) {
		return fmt.Sprintf("%s has %s (%s, %s) already: %s", o.Shard, old.ID, old.Kind, old.State(), old.Why)
	}
	if o.ByHand {
		if len(b.byID) >= maxPlanned {
			return fmt.Sprintf("%d operators are planned already", len(b.byID))
		}
		return ""
	}
	return b.full(o)
}

// full says which limit keeps an operator from starting, "" if none does. To end a half-done change needs no leave, and a
// hand-over costs nothing that is counted for each store.
func (b *Book) full(o *Operator) string {
	if o.Kind == Finish {
		return ""
	}
	if b.running >= b.limits.Total {
		return fmt.Sprintf("%d operators run already", b.running)
	}
	for _, st := range o.Receives {
		if n := b.receives[st]; n >= b.limits.Receiving {
			return fmt.Sprintf("%s receives %d shards already", st, n)
		}
	}
	if n := b.sends[o.Sends]; o.Sends != 0 && len(o.Receives) > 0 && n >= b.limits.Sending {
		return fmt.Sprintf("%s sends %d shards already", o.Sends, n)
	}
	return ""
}

// Waits says which limit keeps a planned operator from starting, "" if none does.
func (b *Book) Waits(o *Operator) string {
	if o.state != OpPlanned || o.counted {
		return ""
	}
	return b.full(o)
}

// Add takes an operator that Refuses did not refuse. The one that its shard had must have been ended before.
func (b *Book) Add(o *Operator, now time.Duration) {
	o.Begun = now
	b.byShard[o.Shard], b.byID[o.ID] = o, o
	if !o.ByHand {
		b.count(o, 1)
	}
}

// Sent notes that a step of an operator goes out. The first one starts it.
func (b *Book) Sent(o *Operator, now time.Duration) error {
	begins := o.state == OpPlanned
	if err := opTable.Turn(&o.state, OpStep, b.coverage); err != nil || !begins {
		return err
	}
	o.Started = now
	if !o.counted {
		b.count(o, 1)
	}
	return nil
}

// End ends an operator and says why.
func (b *Book) End(o *Operator, on Event, reason string, now time.Duration) error {
	if err := opTable.Turn(&o.state, on, b.coverage); err != nil {
		return err
	}
	if o.counted {
		b.count(o, -1)
	}
	o.Ended, o.Reason = now, reason
	delete(b.byID, o.ID)
	delete(b.byShard, o.Shard)
	if len(b.history) == historyLength {
		b.history = slices.Delete(b.history, 0, 1)
	}
	b.history = append(b.history, o)
	return nil
}

// count takes an operator into the counts of what runs, or out of them. One that nobody asked for counts from when it was
// taken, one by hand from when it starts.
func (b *Book) count(o *Operator, n int) {
	o.counted = n > 0
	b.running += n
	bump := func(m map[shard.StoreID]int, id shard.StoreID) {
		if m[id] += n; m[id] == 0 {
			delete(m, id)
		}
	}
	for _, st := range o.Receives {
		bump(b.receives, st)
	}
	if o.Sends != 0 && len(o.Receives) > 0 {
		bump(b.sends, o.Sends)
	}
}

// Lapsed are the operators whose time is over, by id.
func (b *Book) Lapsed(now time.Duration) []*Operator {
	return slices.DeleteFunc(b.All(), func(o *Operator) bool { return !o.lapsed(now, b.limits.Patience) })
}
