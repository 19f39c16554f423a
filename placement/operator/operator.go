package operator

import (
	"slices"
	"strconv"
	"time"

	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/shard"
)

// ID of an operator. It comes from the same counter as those of shards and stores, so that one that was listed before the
// leader of placement changed never means another one afterwards.
type ID uint64

func (id ID) String() string { return "o" + strconv.FormatUint(uint64(id), 10) }

// State is how far an operator has come.
type State uint8

// The states of an operator.
const (
	OpPlanned    State = iota // waits for the limits, or for the shard's leader to report
	OpRunning                 // its first step was sent
	OpFinished                // the shard is where it shall be
	OpCancelled               // somebody did not want it any more
	OpTimedOut                // it took too long
	OpSuperseded              // another one is more urgent, or its goal cannot be reached any more
)

func (s State) String() string { return opTable.State(s) }

// Event is what happens to an operator.
type Event uint8

// The events of an operator.
const (
	OpStep      Event = iota // a step was put into an answer to the shard's leader
	OpReach                  // the leader reports the shard as the goal wants it
	OpCancel                 // an administrator says so
	OpLapse                  // its time is over
	OpSupersede              // something else is due
)

// opTable says what an operator may go through.
var opTable = fsm.Must(fsm.Spec[State, Event]{
	Name: "operator",
	About: "One plan of placement for one shard: where its voters and its leader shall be. It is soft state: with the leadership of\n" +
		"placement it is gone, and what it left half done is found and ended by the next leader (`placement/operator`).",
	States: []string{"planned", "running", "finished", "cancelled", "timed out", "superseded"},
	Events: []string{"step sent", "goal reached", "cancelled", "lapsed", "superseded"},
	Start:  OpPlanned,
	Ends:   []State{OpFinished, OpCancelled, OpTimedOut, OpSuperseded},
	Rows: []fsm.Row[State, Event]{
		{From: OpPlanned, On: OpStep, To: OpRunning, Why: "the limits allow it, and the shard's leader asked"},
		{From: OpPlanned, On: OpReach, To: OpFinished, Why: "the shard came there without it"},
		{From: OpPlanned, On: OpCancel, To: OpCancelled, Why: "nothing was done yet"},
		{From: OpPlanned, On: OpLapse, To: OpTimedOut, Why: "nobody led the shard, or there was never room for it"},
		{From: OpPlanned, On: OpSupersede, To: OpSuperseded, Why: "something more urgent is due for the shard, or a store of the goal is gone"},

		{From: OpRunning, On: OpStep, To: OpRunning, Why: "the next step, or the same one again"},
		{From: OpRunning, On: OpReach, To: OpFinished, Why: "all steps took effect"},
		{From: OpRunning, On: OpCancel, To: OpCancelled, Why: "what is half done is undone by an operator of its own"},
		{From: OpRunning, On: OpLapse, To: OpTimedOut, Why: "it took longer than its size explains"},
		{From: OpRunning, On: OpSupersede, To: OpSuperseded, Why: "the next operator goes on from where the shard is"},
	},
})

// Operator is one plan for one shard. Whoever holds it changes it by Turn and by its Book only.
type Operator struct {
	ID    ID
	Kind  Kind
	Shard shard.ID
	Goal  Goal
	Why   string // one sentence for a person
	Bytes uint64 // that it copies, about
	// Begun, Started and Ended are times on the clock of the leader of placement; Started and Ended are 0 before.
	Begun, Started, Ended time.Duration
	// Reason says why it ended.
	Reason string
	// Receives are the stores that it makes a new replica on, Sends the one that it copies from; zero if none.
	Receives []shard.StoreID
	Sends    shard.StoreID
	// ByHand: an administrator wanted it.
	ByHand bool

	state   State
	counted bool // in its book's counts of what runs
}

// State is how far it has come.
func (o *Operator) State() State { return o.state }

// Over reports whether it has ended.
func (o *Operator) Over() bool { return o.state > OpRunning }

// Times of operators, in patiences (Limits). A snapshot may be throttled far below a disk's speed, so bytes count slowly.
const (
	patiences        = 10      // of one that copies, and of one that waits to begin
	plannedPatiences = 360     // of one by hand that waits: for the thousands of shards of one scatter
	slowestBytes     = 1 << 20 // per second that a copy makes at the least
)

// lapsed reports whether its time is over. One that copies nothing is no work, and holds back what is: it gets one patience.
func (o *Operator) lapsed(now, patience time.Duration) bool {
	switch {
	case o.state == OpPlanned && o.ByHand:
		return now-o.Begun > plannedPatiences*patience
	case o.state == OpPlanned:
		return now-o.Begun > patiences*patience
	case len(o.Goal.Voters) == 0:
		return now-o.Started > patience
	}
	one := patiences*patience + time.Duration(o.Bytes/slowestBytes)*time.Second
	return now-o.Started > one*time.Duration(max(1, len(o.Receives)))
}

// order is the order of the kinds; the first comes first.
var order = [...]Kind{Finish, Replace, AddReplica, RemoveReplica, FixRule, Drain, EvictLeaders, EvadeSlow, Move, TransferLeader, Scatter, BalanceShards, BalanceLeaders, BalanceLoad}

// Rank is how urgent a kind is; the smallest comes first.
func (k Kind) Rank() int {
	if i := slices.Index(order[:], k); i >= 0 {
		return i
	}
	return len(order)
}
