package client

// The life of a write of one shard part, as a table. States are what the client does next, events are what came of it.
//
// INVARIANT (rule 9, a raw write is never sent twice): the only ways out of asking back to cutting are a definite "never"
// and a definite refusal, and sending is reached only through cutting, which draws a new id. So at most one attempt of a
// part can ever have an effect.

// writeState is what a write does next.
type writeState uint8

const (
	cutting    writeState = iota // find the shard, and what the attempt must name
	refreshing                   // hear the leader's term and applied index
	sending                      // send one attempt with a fresh id
	asking                       // ask what became of it
	done
	writeStates = iota
)

func (s writeState) String() string {
	return [...]string{"cutting", "refreshing", "sending", "asking", "done"}[s]
}

// writeEvent is what came of a step.
type writeEvent uint8

const (
	routed      writeEvent = iota // the route names term and index
	untold                        // the route does not
	outgrown                      // the keys lie in several shards by now
	applied                       // the attempt's own result
	rejected                      // a definite answer that will not change: nothing happened
	refused                       // a definite refusal of this attempt: nothing happened
	never                         // a definite answer about the attempt: it never happened and never will
	silent                        // no answer, or one that says nothing about the attempt
	unknown                       // nobody will ever know
	timeOver                      // budget, context, or the DB was closed
	writeEvents = iota
)

func (e writeEvent) String() string {
	return [...]string{"routed", "untold", "outgrown", "applied", "rejected", "refused", "never", "silent", "unknown", "time over"}[e]
}

// writeRow is one transition.
type writeRow struct {
	from writeState
	on   writeEvent
	to   writeState
	why  string
}

// writeTable holds every transition that there is. What is not in it cannot happen.
func writeTable() [23]writeRow {
	return [...]writeRow{
		{cutting, routed, sending, "term and an applied index are known"},
		{cutting, untold, refreshing, "an attempt must name both"},
		{cutting, outgrown, done, "the caller cuts the part into several"},
		{cutting, timeOver, done, "nothing was sent: unavailable"},

		{refreshing, routed, sending, "the leader told them"},
		{refreshing, refused, cutting, "another leader, or another shape of the shard"},
		{refreshing, silent, cutting, "nothing was asked of the log"},
		{refreshing, rejected, done, "this cluster cannot serve it"},
		{refreshing, timeOver, done, "nothing was sent: unavailable"},

		{sending, applied, done, "the result"},
		{sending, rejected, done, "nothing happened, and never would"},
		{sending, refused, cutting, "nothing happened: cut again, new id"},
		{sending, silent, asking, "it may have happened"},
		{sending, unknown, done, "ambiguous: the store says so itself"},
		{sending, timeOver, done, "ambiguous if an attempt is in the air, else unavailable"},

		{asking, applied, done, "the result, heard late"},
		{asking, rejected, done, "the attempt's own answer: nothing happened"},
		{asking, refused, cutting, "the attempt's own answer: nothing happened"},
		{asking, never, cutting, "nothing happened: cut again, new id"},
		{asking, silent, asking, "ask another replica"},
		{asking, unknown, done, "ambiguous"},
		{asking, timeOver, done, "ambiguous, unless a definite answer just came"},
		{done, timeOver, done, "for ever"},
	}
}

// next returns the state after an event, and false for what cannot happen.
func (s writeState) next(on writeEvent) (writeState, bool) {
	for _, row := range writeTable() {
		if row.from == s && row.on == on {
			return row.to, true
		}
	}
	return done, false
}
