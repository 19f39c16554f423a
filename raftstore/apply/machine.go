package apply

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// Entry is a committed entry as the machine sees it. An entry without Data and Change is raft's own and does nothing.
type Entry struct {
	Index, Term uint64
	Data        []byte
	Change      []byte // of a membership entry: its ConfChangeV2.Context
}

// Machine is the replicated state of one replica besides its data. It belongs to the lane of that replica; Apply
// changes both fields, and the caller writes them in the same batch as what Apply wrote to w.
//
// INVARIANT: the applied index and the effects that it covers are in one batch. Apart, a crash between them would lose
// a write or execute it twice.
type Machine struct {
	Desc    *shard.Descriptor // never changed in place
	Applied shard.Applied
	// Changed, if it is not nil, is told of every version by which a commit gives a key a value or takes it away.
	Changed func(k shard.Key, ts mvcc.Timestamp)
	// Written, if it is not nil, remembers the latest writes of transactions since it was set. Txns is set by the first of
	// their commands.
	Written *mvcc.Written
	Txns    bool

	// Scratch may be shared by machines that one goroutine applies to. Nil: the first entry makes one.
	Scratch *Scratch
}

// Scratch is room that machines need while they apply an entry, and until its result was read.
type Scratch struct {
	cmd     raw.Command
	replies []Reply // of the last entry
}

// Writer is what evaluation writes to: the batch of one lane, with its transactional side.
type Writer interface {
	raw.Writer
	Txn() mvcc.Writer
}

// Result is what one entry came to.
type Result struct {
	// Replies are the outcomes of a data entry's commands, in their order. An admin command has one, with no Op; its
	// caller is found by the entry's index and term. The slice is the scratch's, until the next entry is applied with it;
	// bodies must not be changed.
	Replies []Reply
	// Event is what the shell has to do after the batch is committed, or nil. A refused split or change has none: then
	// ApplyConfChange is not called either.
	Event Event
	// Wrote says that w got something.
	Wrote bool
}

// Reply is the outcome of one command. Err is one of package shard's errors, of class routing or rejected.
type Reply struct {
	Op   call.OpID
	Err  error
	Body []byte
}

// Preview is the event of the next entry if that is a split that will have an effect, without the count of its locks;
// nil otherwise.
func (m *Machine) Preview(e Entry) *Split {
	if KindOf(e.Data) != KindSplit || len(e.Change) > 0 {
		return nil
	}
	next := Machine{Desc: m.Desc, Applied: m.Applied, Scratch: m.Scratch}
	res, err := next.Apply(e, nil)
	if err != nil || res.Event == nil {
		return nil // the error comes again when it is its turn
	}
	return res.Event.(*Split)
}

// Apply evaluates one entry, which must follow the last one. An error means that this replica cannot go on: it could
// not read its data, or the entry is not one that it knows. Then what w got must not be committed, and the store stops.
func (m *Machine) Apply(e Entry, w Writer) (Result, error) {
	if e.Index != m.Applied.Index+1 || e.Term < m.Applied.Term {
		return Result{}, fmt.Errorf("apply entry %d of term %d: the last applied one is %d of term %d",
			e.Index, e.Term, m.Applied.Index, m.Applied.Term)
	}
	m.Applied.Index, m.Applied.Term = e.Index, e.Term
	data, membership := e.Data, false
	if len(e.Change) > 0 {
		if len(e.Data) > 0 {
			return Result{}, fmt.Errorf("apply entry %d: both data and a membership change", e.Index)
		}
		data, membership = e.Change, true
	}
	if len(data) == 0 {
		return Result{}, nil
	}
	if m.Scratch == nil {
		m.Scratch = new(Scratch)
	}
	res, err := m.dispatch(data, membership, w)
	if err != nil {
		return Result{}, fmt.Errorf("apply entry %d of term %d: %w", e.Index, e.Term, err)
	}
	return res, nil
}

func (m *Machine) dispatch(data []byte, membership bool, w Writer) (Result, error) {
	d := codec.Decoder{B: data}
	kind, eval := readHeader(&d)
	if err := d.Err(); err != nil {
		return Result{}, err
	}
	// INVARIANT: an entry is evaluated by the rules of its own version or not at all.
	if known := version.Newest().Eval(); eval == 0 || eval > known {
		return Result{}, fmt.Errorf("evaluation version %d is unknown here, the newest known is %d; install a newer program",
			eval, known)
	}
	if membership != (kind == KindChange) {
		return Result{}, fmt.Errorf("a %s command in the wrong type of entry", kind)
	}
	switch kind {
	case KindData:
		return m.data(&d, eval, w)
	case KindClock:
		return m.clock(&d)
	case KindTruncate:
		return m.truncate(&d)
	case KindSplit:
		return m.split(&d, w)
	case KindChange:
		return m.change(&d)
	case KindCompare:
		if eval >= evalCompare {
			return m.compare(&d)
		}
	}
	return Result{}, fmt.Errorf("unknown %s", kind)
}

// advance moves the shard time.
//
// INVARIANT: it moves only here, by entries, and never back; so all replicas agree at every index on what is expired.
func (m *Machine) advance(stamp shard.Millis) { m.Applied.Time = max(m.Applied.Time, stamp) }

// stale is the answer to a command that was proposed under another epoch. Nothing happens but that the index moves.
func (m *Machine) stale() error {
	return &shard.StaleEpochError{Shard: m.Desc.ID, Current: []*shard.Descriptor{m.Desc}}
}
