package placement

import (
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard/beat"
)

// storeState is what a leader holds a store for.
type storeState uint8

const (
	storeSuspect storeState = iota // nothing is moved yet, and nothing is placed there
	storeUp
	storeDown // its replicas are to be replaced
	storeRemoved
)

// storeEvent is what happens to a store, as far as a leader can see.
type storeEvent uint8

const (
	storeHeard  storeEvent = iota // a store heartbeat that says all that the leader must know
	storeQuiet                    // suspectAfter without one
	storeLapsed                   // downAfter without one
	storeRemove                   // an administrator says that it is gone
)

// storeTable says what a store may go through in the picture of one leader of placement.
//
// Draining is no state of it: nobody can ask for it yet (beat.Draining is reserved for that).
var storeTable = fsm.Must(fsm.Spec[storeState, storeEvent]{
	Name: "store",
	About: "One store in the picture of the leader of placement. It is soft state but for the removal: a new leader begins with\n" +
		"\"suspect\" and gives every store the time since it began itself (`placement/view.go`).",
	States: []string{"suspect", "up", "down", "removed"},
	Events: []string{"heard", "quiet", "lapsed", "removed"},
	Start:  storeSuspect,
	Ends:   []storeState{storeRemoved},
	Rows: []fsm.Row[storeState, storeEvent]{
		{From: storeSuspect, On: storeHeard, To: storeUp, Why: "it takes part"},
		{From: storeSuspect, On: storeLapsed, To: storeDown, Why: "half an hour of silence: its replicas are replaced"},
		{From: storeSuspect, On: storeRemove, To: storeRemoved, Why: "an administrator does not wait for it"},

		{From: storeUp, On: storeQuiet, To: storeSuspect, Why: "three store heartbeats are missing; no replicas are placed there"},
		{From: storeUp, On: storeRemove, To: storeRemoved, Why: "others have room for its replicas"},

		{From: storeDown, On: storeHeard, To: storeUp, Why: "it is back; what was not replaced yet stays"},
		{From: storeDown, On: storeRemove, To: storeRemoved, Why: "its id never comes back"},
	},
	Ignored: []fsm.Pair[storeState, storeEvent]{
		{In: storeUp, On: storeHeard, Why: "as ever"},
		{In: storeRemoved, On: storeHeard, Why: "its heartbeat was under way; the next one is told"},
		{In: storeRemoved, On: storeRemove, Why: "removed again"},
	},
})

// beatState is the state as others hear of it.
func (s storeState) beatState() beat.State {
	return [...]beat.State{storeSuspect: beat.Suspect, storeUp: beat.Up, storeDown: beat.Down, storeRemoved: beat.Removed}[s]
}

// Charts are the tables of states of this package and of operator, for the documents and the simulator of this module.
func Charts() []fsm.Chart { return []fsm.Chart{storeTable.Chart(), operator.Chart()} }

// turnLocked moves a store on. Requires view.mu.
func (v *view) turnLocked(sv *storeView, on storeEvent) {
	if err := storeTable.Turn(&sv.state, on, v.coverage); err != nil {
		v.illegal(err)
	}
}

// stateLocked is what a store is held for: silence turns into events when somebody looks. A leader gives every store the
// time since it began itself.
func (v *view) stateLocked(sv *storeView, now env.Time) beat.State {
	age := now.Sub(max(sv.seen, v.begun))
	if sv.state == storeUp && age > suspectAfter {
		v.turnLocked(sv, storeQuiet)
	}
	if sv.state == storeSuspect && age > downAfter {
		v.turnLocked(sv, storeLapsed)
	}
	return sv.state.beatState()
}
