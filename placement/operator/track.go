package operator

import (
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/shard"
)

// StepState is how far a step has come.
type StepState uint8

// The states of a step.
const (
	Planned    StepState = iota // not yet in an answer to the shard's leader
	Sent                        // the leader was told
	Done                        // its effect shows
	Superseded                  // the shard or its stores are otherwise by now
)

func (s StepState) String() string { return stepTable.State(s) }

// StepEvent is what happens to a step.
type StepEvent uint8

// The events of a step.
const (
	WasSent      StepEvent = iota // an answer with it went out
	TookEffect                    // the leader reports the shard as the step leaves it
	WasOvertaken                  // the shard has changed otherwise, or is led elsewhere, or another step is due
)

// stepTable says what a step may go through.
//
// Nothing times out and nobody can cancel a step, only its operator: a step follows from the descriptor and the goal, and is
// sent until one of them changes.
var stepTable = fsm.Must(fsm.Spec[StepState, StepEvent]{
	Name: "operator step",
	About: "One step of placement for one shard, from the plan to what the next report of the shard's leader shows. It is soft state: a\n" +
		"new leader of placement plans again, and the epoch makes sending again harmless (`placement/operator`).",
	States: []string{"planned", "sent", "done", "superseded"},
	Events: []string{"sent", "took effect", "overtaken"},
	Start:  Planned,
	Ends:   []StepState{Done, Superseded},
	Rows: []fsm.Row[StepState, StepEvent]{
		{From: Planned, On: WasSent, To: Sent, Why: "in the answer to a store heartbeat"},
		{From: Planned, On: TookEffect, To: Done, Why: "the answer was lost to this leader, not to the store, or another leader had sent the same"},
		{From: Planned, On: WasOvertaken, To: Superseded, Why: "no answer with it went out before the shard or its stores changed"},

		{From: Sent, On: WasSent, To: Sent, Why: "the shard is as before: told again with the next heartbeat"},
		{From: Sent, On: TookEffect, To: Done, Why: "the next step follows from the new descriptor"},
		{From: Sent, On: WasOvertaken, To: Superseded, Why: "the shard or its stores changed otherwise; the epoch refuses what is still under way"},
	},
})

// Charts are the tables of states of operators and of their steps.
func Charts() []fsm.Chart { return []fsm.Chart{opTable.Chart(), stepTable.Chart()} }

// Track follows one step of one shard.
type Track struct {
	Step  Step
	Epoch shard.Epoch // of the shard when it was planned
	state StepState
}

// State is how far the step has come.
func (t *Track) State() StepState { return t.state }

// Turn moves the step on. An error says that the event cannot happen to it.
func (t *Track) Turn(on StepEvent, c *fsm.Coverage) error { return stepTable.Turn(&t.state, on, c) }

// Is reports whether s is the same step. The id of a learner is not part of a plan.
func (t *Track) Is(d *shard.Descriptor, s Step) bool {
	return t.Epoch == d.Epoch && t.Step.TransferTo == s.TransferTo && t.Step.NeedID == s.NeedID && t.Step.what() == s.what()
}

func (s Step) what() string {
	if s.Change == nil {
		return ""
	}
	return s.Change.String()
}

// Shows says what a report of a shard means for the step: TookEffect, WasOvertaken, or, with false, nothing yet.
func (t *Track) Shows(d *shard.Descriptor, leader shard.StoreID) (StepEvent, bool) {
	switch {
	case t.Step.Change == nil && leader == t.Step.TransferTo:
		return TookEffect, true
	case d.Epoch == t.Epoch:
		return 0, false
	case t.Step.Change != nil && shows(d, t.Step.Change):
		return TookEffect, true
	}
	return WasOvertaken, true
}

// shows reports whether a descriptor of a later epoch has in it what a change was for.
func shows(d *shard.Descriptor, c *shard.Change) bool {
	switch c.Kind {
	case shard.AddLearner:
		_, ok := d.ReplicaOn(c.Replica.Store)
		return ok
	case shard.RemoveLearner:
		_, ok := d.Replica(c.Replica.ID)
		return !ok
	case shard.EnterJoint:
		return d.Joint()
	}
	return !d.Joint()
}
