package placement

import (
	"slices"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard/beat"
)

// storeState is what a leader holds a store for.
type storeState uint8

const (
	storeSuspect  storeState = iota // nothing is moved yet, and nothing is placed there
	storeUp                         //
	storeDraining                   // heard, and to be emptied
	storeDown                       // its replicas are to be replaced
	storeRemoved
)

// storeEvent is what happens to a store, as far as a leader can see.
type storeEvent uint8

const (
	storeHeard   storeEvent = iota // a store heartbeat that says all that the leader must know
	storeLeaving                   // the same, of one that is to be emptied
	storeQuiet                     // suspectAfter without one
	storeLapsed                    // downAfter without one
	storeDrain                     // an administrator wants it empty
	storeUndrain                   // no longer
	storeRemove                    // an administrator says that it is gone
)

// storeTable says what a store may go through in the picture of one leader of placement.
var storeTable = fsm.Must(fsm.Spec[storeState, storeEvent]{
	Name: "store",
	About: "One store in the picture of the leader of placement. Removal and the wish to drain are on record, the rest is soft\n" +
		"state: a new leader begins with \"suspect\" and gives every store the time since it began itself (`placement/view.go`).",
	States: []string{"suspect", "up", "draining", "down", "removed"},
	Events: []string{"heard", "heard while draining", "quiet", "lapsed", "drain", "undrain", "removed"},
	Start:  storeSuspect,
	Ends:   []storeState{storeRemoved},
	Rows: []fsm.Row[storeState, storeEvent]{
		{From: storeSuspect, On: storeHeard, To: storeUp, Why: "it takes part"},
		{From: storeSuspect, On: storeLeaving, To: storeDraining, Why: "it takes part, and is emptied"},
		{From: storeSuspect, On: storeLapsed, To: storeDown, Why: "half an hour of silence: its replicas are replaced"},
		{From: storeSuspect, On: storeRemove, To: storeRemoved, Why: "an administrator does not wait for it"},

		{From: storeUp, On: storeQuiet, To: storeSuspect, Why: "three store heartbeats are missing; no replicas are placed there"},
		{From: storeUp, On: storeDrain, To: storeDraining, Why: "its replicas and leaderships move away; it serves them until then"},
		{From: storeUp, On: storeRemove, To: storeRemoved, Why: "others have room for its replicas"},

		{From: storeDraining, On: storeQuiet, To: storeSuspect, Why: "as any other"},
		{From: storeDraining, On: storeUndrain, To: storeUp, Why: "what has not moved yet stays, and more may come"},
		{From: storeDraining, On: storeRemove, To: storeRemoved, Why: "it is empty, or nobody waits for that"},

		{From: storeDown, On: storeHeard, To: storeUp, Why: "it is back; what was not replaced yet stays"},
		{From: storeDown, On: storeLeaving, To: storeDraining, Why: "it is back, and is emptied"},
		{From: storeDown, On: storeRemove, To: storeRemoved, Why: "its id never comes back"},
	},
	Ignored: []fsm.Pair[storeState, storeEvent]{
		{In: storeUp, On: storeHeard, Why: "as ever"},
		{In: storeUp, On: storeUndrain, Why: "it was not to be emptied"},
		{In: storeDraining, On: storeLeaving, Why: "as ever"},
		{In: storeDraining, On: storeDrain, Why: "asked again"},
		{In: storeSuspect, On: storeDrain, Why: "on record, for when it is heard"},
		{In: storeSuspect, On: storeUndrain, Why: "on record, for when it is heard"},
		{In: storeDown, On: storeDrain, Why: "its replicas are replaced anyway"},
		{In: storeDown, On: storeUndrain, Why: "on record, for when it is heard"},
		{In: storeRemoved, On: storeHeard, Why: "its heartbeat was under way; the next one is told"},
		{In: storeRemoved, On: storeLeaving, Why: "its heartbeat was under way; the next one is told"},
		{In: storeRemoved, On: storeDrain, Why: "gone already"},
		{In: storeRemoved, On: storeUndrain, Why: "gone for good"},
		{In: storeRemoved, On: storeRemove, Why: "removed again"},
	},
})

// beatState is the state as others hear of it.
func (s storeState) beatState() beat.State {
	return [...]beat.State{storeSuspect: beat.Suspect, storeUp: beat.Up, storeDraining: beat.Draining, storeDown: beat.Down,
		storeRemoved: beat.Removed}[s]
}

// live reports whether a store is heard in this state.
func (s storeState) live() bool { return s == storeUp || s == storeDraining }

// Charts are the tables of states of this package and of operator, for the documents and the simulator of this module.
func Charts() []fsm.Chart { return slices.Concat([]fsm.Chart{storeTable.Chart()}, operator.Charts()) }

// turnLocked moves a store on. Requires view.mu.
func (v *view) turnLocked(sv *storeView, on storeEvent) {
	if err := storeTable.Turn(&sv.state, on, v.coverage); err != nil {
		v.illegal(err)
	}
}

// heardLocked takes a store's word that it is there. Requires mu.
func (v *view) heardLocked(sv *storeView) {
	sv.seen = v.env.Now()
	on := storeHeard
	if sv.record.draining {
		on = storeLeaving
	}
	v.turnLocked(sv, on)
}

// recordLocked takes what is on record of a store. Requires mu.
func (v *view) recordLocked(sv *storeView, r storeRecord) {
	sv.record = r
	switch {
	case r.removed:
		v.turnLocked(sv, storeRemove)
		delete(v.pending, r.id) // it will never say that it created them
	case r.draining:
		v.turnLocked(sv, storeDrain)
	default:
		v.turnLocked(sv, storeUndrain)
	}
}

// stateLocked is what a store is held for: silence turns into events when somebody looks. A leader gives every store the
// time since it began itself.
func (v *view) stateLocked(sv *storeView, now env.Time) beat.State {
	age := now.Sub(max(sv.seen, v.begun))
	if sv.state.live() && age > suspectAfter {
		v.turnLocked(sv, storeQuiet)
	}
	if sv.state == storeSuspect && age > v.patience.downAfter {
		v.turnLocked(sv, storeLapsed)
	}
	return sv.state.beatState()
}
