package client

import "github.com/skerrydb/skerry/internal/fsm"

// writeState is what a write of one shard part does next.
type writeState uint8

const (
	cutting    writeState = iota // find the shard, and what the attempt must name
	refreshing                   // hear the leader's term and applied index
	sending                      // send one attempt with a fresh id
	asking                       // ask what became of it
	done
)

func (s writeState) String() string { return writeTable.State(s) }

// writeEvent is what came of a step.
type writeEvent uint8

const (
	routed   writeEvent = iota // the route names term and index
	untold                     // the route does not
	outgrown                   // the keys lie in several shards by now
	applied                    // the attempt's own result
	rejected                   // a definite answer that will not change: nothing happened
	refused                    // a definite refusal of this attempt: nothing happened
	never                      // a definite answer about the attempt: it never happened and never will
	silent                     // no answer, or one that says nothing about the attempt
	unknown                    // nobody will ever know
	timeOver                   // budget, context, or the DB was closed
)

func (e writeEvent) String() string { return writeTable.Event(e) }

// writeTable is the life of a write of one shard part. States are what the client does next, events are what came of it.
//
// INVARIANT (rule 9, a raw write is never sent twice): the only ways out of asking back to cutting are a definite "never"
// and a definite refusal, and sending is reached only through cutting, which draws a new id. So at most one attempt of a
// part can ever have an effect.
var writeTable = fsm.Must(fsm.Spec[writeState, writeEvent]{
	Name: "write of a client",
	About: "One command on its way to the one shard that holds its keys. States are what the client does next, events are what came\n" +
		"of it. At most one attempt of a part can ever have an effect: an attempt of which nothing was heard is asked about,\n" +
		"and the only ways from there to another one are definite. In the package `client`.",
	States: []string{"cutting", "refreshing", "sending", "asking", "done"},
	Events: []string{"routed", "untold", "outgrown", "applied", "rejected", "refused", "never", "silent", "unknown", "time over"},
	Start:  cutting,
	Ends:   []writeState{done},
	Rows: []fsm.Row[writeState, writeEvent]{
		{From: cutting, On: routed, To: sending, Why: "term and an applied index are known"},
		{From: cutting, On: untold, To: refreshing, Why: "an attempt must name both"},
		{From: cutting, On: outgrown, To: done, Why: "the caller cuts the part into several"},
		{From: cutting, On: timeOver, To: done, Why: "nothing was sent: unavailable"},

		{From: refreshing, On: routed, To: sending, Why: "the leader told them"},
		{From: refreshing, On: refused, To: cutting, Why: "another leader, or another shape of the shard"},
		{From: refreshing, On: rejected, To: done, Why: "this cluster cannot serve it"},
		{From: refreshing, On: timeOver, To: done, Why: "nothing was sent: unavailable"},

		{From: sending, On: applied, To: done, Why: "the result"},
		{From: sending, On: rejected, To: done, Why: "nothing happened, and never would"},
		{From: sending, On: refused, To: cutting, Why: "nothing happened: cut again, new id"},
		{From: sending, On: silent, To: asking, Why: "it may have happened"},
		{From: sending, On: unknown, To: done, Why: "ambiguous: the store says so itself"},
		{From: sending, On: timeOver, To: done, Why: "ambiguous if an attempt is in the air, else unavailable"},

		{From: asking, On: applied, To: done, Why: "the result, heard late"},
		{From: asking, On: rejected, To: done, Why: "the attempt's own answer: nothing happened"},
		{From: asking, On: refused, To: cutting, Why: "the attempt's own answer: nothing happened"},
		{From: asking, On: never, To: cutting, Why: "nothing happened: cut again, new id"},
		{From: asking, On: silent, To: asking, Why: "ask another replica"},
		{From: asking, On: unknown, To: done, Why: "ambiguous"},
		{From: asking, On: timeOver, To: done, Why: "ambiguous, unless a definite answer just came"},
	},
})

// Charts are the tables of states of this package, for the documents and the simulator of this module.
func Charts() []fsm.Chart { return []fsm.Chart{writeTable.Chart()} }
