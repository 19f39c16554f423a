package apply

import (
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Event is an effect beyond the shard's data.
type Event interface{ event() }

// Split says that the shard was split: Left is its own new descriptor, Right are the shards to be born in the same
// batch, in key order. Parent is the applied state from which shard.Applied.Child makes theirs.
type Split struct {
	Left   *shard.Descriptor
	Right  []*shard.Descriptor
	Parent shard.Applied
	Locks  []uint64 // of each of Right
}

// Changed says that the membership took one step, to Desc. The worker calls ApplyConfChange only for this event.
type Changed struct {
	Desc   *shard.Descriptor
	Change shard.Change
}

// Truncated says that the log no longer needs its entries up to Index. They are deleted, and the first index moves,
// only after raft was told that this entry is applied.
type Truncated struct {
	Index, Term uint64
}

// Compared says that the shard's data at Index are to be summed up, before anything behind it is applied, and the sum told
// to the replica By on Store, which proposed it.
type Compared struct {
	Index, Term uint64
	By          shard.ReplicaID
	Store       shard.StoreID
}

func (*Split) event()     {}
func (*Changed) event()   {}
func (*Truncated) event() {}
func (*Compared) event()  {}

// answer is the result of an admin command.
func answer(err error, ev Event) Result { return Result{Replies: []Reply{{Err: err}}, Event: ev} }

func (m *Machine) clock(d *codec.Decoder) (Result, error) {
	stamp := shard.Millis(d.Uvarint())
	if err := d.Done(); err != nil {
		return Result{}, err
	}
	m.advance(stamp)
	return answer(nil, nil), nil
}

// truncate moves the truncated index of the state. A command that comes late, after a larger one or naming entries that
// are not applied before it, has no effect.
//
// INVARIANT: TruncIndex < Index, because entries that are not applied are needed, and because the log stays non-empty.
func (m *Machine) truncate(d *codec.Decoder) (Result, error) {
	index, term := d.Uvarint(), d.Uvarint()
	if err := d.Done(); err != nil {
		return Result{}, err
	}
	a := &m.Applied
	if index <= a.TruncIndex || index >= a.Index || term < a.TruncTerm || term > a.Term {
		return answer(nil, nil), nil
	}
	a.TruncIndex, a.TruncTerm = index, term
	return answer(nil, &Truncated{Index: index, Term: term}), nil
}

// compare changes nothing but the applied index: what a replica finds when it looks at itself is no part of its state.
func (m *Machine) compare(d *codec.Decoder) (Result, error) {
	by, store := shard.ReplicaID(d.Uvarint()), shard.StoreID(d.Uvarint())
	if err := d.Done(); err != nil {
		return Result{}, err
	}
	return answer(nil, &Compared{Index: m.Applied.Index, Term: m.Applied.Term, By: by, Store: store}), nil
}

// split divides the range, and what counts things of it. Without w it only tells what the event will be.
func (m *Machine) split(d *codec.Decoder, w Writer) (Result, error) {
	epoch := shard.Epoch{ConfVer: d.Uvarint(), Version: d.Uvarint()}
	var at []shard.Key
	var ids []shard.SplitID
	for d.Err() == nil && len(d.B) > 0 {
		at = append(at, d.Bytes())
		ids = append(ids, shard.SplitID{Shard: shard.ID(d.Uvarint()), Replicas: shard.ReadReplicaIDs(d)})
	}
	if err := d.Done(); err != nil {
		return Result{}, err
	}
	// A split takes its replicas from the descriptor, so it checks the whole epoch.
	if epoch != m.Desc.Epoch {
		return answer(m.stale(), nil), nil
	}
	parts, err := m.Desc.Split(at, ids)
	if err != nil {
		return answer(err, nil), nil
	}
	m.Desc = parts[0]
	ev := &Split{Left: parts[0], Right: parts[1:], Parent: m.Applied}
	if w != nil {
		if err := m.divideLocks(ev, w); err != nil {
			return Result{}, err
		}
	}
	return answer(nil, ev), nil
}

func (m *Machine) change(d *codec.Decoder) (Result, error) {
	confVer := d.Uvarint()
	c := shard.ReadChange(d)
	if err := d.Done(); err != nil {
		return Result{}, err
	}
	if confVer != m.Desc.Epoch.ConfVer {
		return answer(m.stale(), nil), nil
	}
	desc, err := m.Desc.Apply(c)
	if err != nil {
		return answer(err, nil), nil
	}
	m.Desc = desc
	return answer(nil, &Changed{Desc: desc, Change: c}), nil
}
