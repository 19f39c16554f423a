package engine

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// found is what the state records of one shard say at start.
type found struct {
	id      shard.ID
	hard    *hardRecord
	desc    *shard.Descriptor
	applied *shard.Applied
	next    shard.ReplicaID // of the tombstone
	marks   []shard.Range
}

// Replicas recovers every replica of the store, in the order of shard ids: it reads and checks their state, finishes
// what DestroyReplica began before a crash, and removes snapshots that were being received. It is called once, before
// anything else but Ident and Record. Any violation of an invariant is an error that names the shard and the numbers.
func (e *Engine) Replicas() ([]ReplicaState, error) {
	all, err := e.findStates()
	if err != nil {
		return nil, err
	}
	if err := e.adoptLogs(all); err != nil {
		return nil, e.fail(err)
	}
	var out []ReplicaState
	for _, f := range all {
		if f.hard == nil && f.desc == nil && f.applied == nil {
			continue // only a tombstone or a mark
		}
		rs, err := e.recoverReplica(f)
		if err != nil {
			return nil, e.fail(err)
		}
		out = append(out, rs)
	}
	if err := checkOverlaps(all); err != nil {
		return nil, e.fail(err)
	}
	for _, f := range all {
		for _, m := range f.marks {
			if err := e.FinishDestroy(f.id, m); err != nil {
				return nil, err
			}
		}
	}
	return out, e.clearStaging()
}

// findStates reads all state records.
func (e *Engine) findStates() ([]*found, error) {
	it, err := e.iter(keys.AllStates())
	if err != nil {
		return nil, err
	}
	defer it.Close()
	var all []*found
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, e.readFailed("read replica states", err)
		}
		id, kind, ok := keys.DecodeState(it.Key())
		if !ok {
			return nil, e.fail(corrupt(it.Key(), "not a state key"))
		}
		if len(all) == 0 || all[len(all)-1].id != id {
			all = append(all, &found{id: id})
		}
		if err := all[len(all)-1].add(kind, it.Key(), v); err != nil {
			return nil, e.fail(err)
		}
	}
	if err := it.Error(); err != nil {
		return nil, e.readFailed("read replica states", err)
	}
	return all, nil
}

func (f *found) add(kind keys.StateKind, k, v []byte) (err error) {
	switch kind {
	case keys.StateApplied:
		var a shard.Applied
		a, err = decodeApplied(k, v)
		f.applied = &a
	case keys.StateDescriptor:
		f.desc, err = decodeDescriptor(k, v)
		if err == nil && f.desc.ID != f.id {
			err = corrupt(k, "descriptor of %s", f.desc.ID)
		}
	case keys.StateHard:
		var h hardRecord
		h, err = decodeHard(k, v)
		f.hard = &h
	case keys.StateTombstone:
		f.next, err = decodeTombstone(k, v)
	case keys.StateDestroying:
		f.marks, err = decodeMarks(k, v)
	default:
		err = corrupt(k, "state record of unknown kind")
	}
	return err
}

// state is what the records say of a replica, which has a hard state, without its log.
func (f *found) state() ReplicaState {
	rs := ReplicaState{Shard: f.id, Replica: f.hard.replica, Desc: f.desc, Hard: f.hard.hard,
		recovered: true, base: f.hard.base}
	if f.applied != nil {
		rs.Applied, rs.recoveredIndex = *f.applied, f.applied.Index
	}
	return rs
}

const restoreAdvice = "the store is damaged: remove it from the cluster and add an empty one"

// recoverReplica makes the state from which a replica starts.
//
// INVARIANT: commit = min(last, max(hard state, header of the last entry, applied)), and only then truncated <= applied
// <= last, truncated <= commit, term >= term(last). The commit index of an append is in the last entry's header because
// a commit-only hard state is not written: a follower that forgot it could campaign under a configuration that a
// committed, unapplied entry has already replaced, and two leaders of one term would commit at one index.
func (e *Engine) recoverReplica(f *found) (ReplicaState, error) {
	if f.hard == nil || (f.desc == nil) != (f.applied == nil) {
		return ReplicaState{}, fmt.Errorf("%w: %s: hard state present: %t, descriptor: %t, applied: %t; %s",
			ErrCorruption, f.id, f.hard != nil, f.desc != nil, f.applied != nil, restoreAdvice)
	}
	rs := f.state()
	if rs.Replica < f.next {
		return rs, fmt.Errorf("%w: %s: replica %s lives, but its tombstone says that ids below %s must not; %s",
			ErrCorruption, f.id, rs.Replica, f.next, restoreAdvice)
	}
	trunc := rs.truncated()
	last, headerCommit, err := e.lastEntry(f.id, trunc)
	if err != nil {
		return rs, err
	}
	rs.LastIndex, rs.LastTerm = last.index, last.term
	if bug.CommitLost.On() {
		headerCommit = 0
	}
	if e.journal() != nil && rs.Hard.Term < last.term {
		// The sync of the journal had ended and that of the database had not. Nobody was promised either: what is taken up is the
		// term, in which no vote was given.
		rs.Hard.Term, rs.Hard.Vote = last.term, 0
	}
	rs.Hard.Commit = min(last.index, max(rs.Hard.Commit, headerCommit, rs.Applied.Index))
	if trunc.index > rs.Applied.Index || rs.Applied.Index > last.index || trunc.index > rs.Hard.Commit ||
		rs.Hard.Term < last.term {
		return rs, fmt.Errorf("%w: %s %s: truncated %d <= applied %d <= last %d, truncated <= commit %d, term %d >= last term %d"+
			" does not hold; %s", ErrCorruption, f.id, rs.Replica, trunc.index, rs.Applied.Index, last.index, rs.Hard.Commit,
			rs.Hard.Term, last.term, restoreAdvice)
	}
	return rs, nil
}

// lastEntry finds the end of a log that begins behind trunc. Entries up to trunc may be there: a truncation that was
// applied, but whose deletion a crash lost.
func (e *Engine) lastEntry(id shard.ID, trunc position) (last position, commit uint64, err error) {
	if e.journal() != nil {
		return e.lastJournaled(id, trunc)
	}
	it, err := e.iter(keys.LogSpan(id))
	if err != nil {
		return position{}, 0, err
	}
	defer it.Close()
	if !it.Last() {
		return trunc, 0, iterErr(it)
	}
	_, index, _ := keys.DecodeLog(it.Key())
	if index <= trunc.index {
		return trunc, 0, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return position{}, 0, err
	}
	h, _, err := decodeLogValue(it.Key(), v)
	if err != nil {
		return position{}, 0, err
	}
	// The first entry must be there too. The ones between are checked when they are read.
	if !it.SeekGE(keys.Log(id, trunc.index+1)) {
		return position{}, 0, iterErr(it)
	}
	if _, first, _ := keys.DecodeLog(it.Key()); first != trunc.index+1 {
		return position{}, 0, corrupt(keys.Log(id, trunc.index+1), "log entry is missing, the next is %d and the last %d; %s",
			first, index, restoreAdvice)
	}
	return position{index: index, term: h.term}, h.commit, nil
}

func iterErr(it *pebble.Iterator) error {
	if err := it.Error(); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	return nil
}

// checkOverlaps checks that no two replicas hold one key, and that nothing lives where data are still to be destroyed.
//
// INVARIANT: a destroying mark is never redone over a live descriptor. The range of a mark stays occupied until the mark
// is durably gone, so such a mark can only be a mistake, and to follow it would destroy acknowledged data.
func checkOverlaps(all []*found) error {
	var live []*shard.Descriptor
	for _, f := range all {
		if f.desc != nil {
			live = append(live, f.desc)
		}
	}
	slices.SortFunc(live, func(a, b *shard.Descriptor) int { return a.Range.Start.Compare(b.Range.Start) })
	for i := 1; i < len(live); i++ {
		if a, b := live[i-1], live[i]; a.Range.Overlaps(b.Range) {
			return fmt.Errorf("%w: replicas of %s and %s overlap; %s", ErrCorruption, a, b, restoreAdvice)
		}
	}
	for _, f := range all {
		for _, m := range f.marks {
			for _, d := range live {
				if d.Range.Overlaps(m) {
					return fmt.Errorf("%w: %s: data in %s are marked for destruction, but %s lives there; %s",
						ErrCorruption, f.id, m, d, restoreAdvice)
				}
			}
		}
	}
	return nil
}
