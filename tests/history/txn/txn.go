// Package txn judges histories of transactions: whether what clients saw can have been made by a store that keeps
// snapshot isolation, or serializability.
//
// The main checker is about lists that only grow (Check), after Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation
// Anomalies from Experimental Observations", VLDB 2020): a list that is read whole tells the order in which its elements
// came, so the versions of every key are known without looking into the store, and with them who had to come before
// whom. A cycle in that is an anomaly, named after Adya ("Weak Consistency", 1999). The smaller checkers are about one
// invariant each, and work where lists do not fit: counters, accounts, registers.
//
// All are pure: the same history gives the same answer, in the same words.
package txn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/tests/history"
)

// Level is what the store promises.
type Level uint8

// The levels. Both respect real time: what ended before another transaction began is seen by it.
const (
	Snapshot     Level = iota // snapshot isolation
	Serializable              // as if one after the other
)

func (l Level) String() string {
	if l == Serializable {
		return "serializable"
	}
	return "snapshot isolation"
}

// Txn is one transaction on lists, as its client saw it.
type Txn struct {
	Name         string // in words, unique
	Begun, Ended int64  // of the history's clock; Ended is unused while the fate is Open
	Fate         history.Fate
	Ops          []Op // in order; of a transaction that was retried, those of its last attempt
}

// Op appends an element to a list, or reads it.
type Op struct {
	Key    string
	Append string   // "" is a read; no two appends to a key have the same
	Read   []string // the whole list, of a read
}

// String is one operation for people.
func (o Op) String() string {
	if o.Append != "" {
		return fmt.Sprintf("append %s to %s", o.Append, o.Key)
	}
	return fmt.Sprintf("read %s [%s]", o.Key, strings.Join(o.Read, " "))
}

// String is the whole transaction for people.
func (t *Txn) String() string {
	var ops []string
	for _, o := range t.Ops {
		ops = append(ops, o.String())
	}
	fate := [...]string{history.Open: "open", history.Done: "committed", history.Refused: "aborted"}[t.Fate]
	return fmt.Sprintf("%s (%s): %s", t.Name, fate, strings.Join(ops, ", "))
}

// Kind is the name of an anomaly.
type Kind string

// The anomalies, worst first.
const (
	// Garbage is an element that nobody appended, Duplicate one that is in a list twice, Disorder two reads of a list of
	// which none is the beginning of the other, Internal a transaction that does not see its own writes or sees a list
	// change under it.
	Garbage   Kind = "garbage"
	Duplicate Kind = "duplicate"
	Disorder  Kind = "incompatible order"
	Internal  Kind = "internal"
	// G1a is a read of what was aborted, G1b one of a state in the middle of a transaction.
	G1a Kind = "G1a: aborted read"
	G1b Kind = "G1b: intermediate read"
	// LostUpdate is two transactions that both append to what they both read.
	LostUpdate Kind = "lost update"
	// G0 is a cycle of writes; G1c one of writes and reads; GSingle has one read that misses a write; Nonadjacent several,
	// but no two in a row, which snapshot isolation does not allow either; G2 two in a row, as in a write skew.
	G0          Kind = "G0: write cycle"
	G1c         Kind = "G1c: circular information flow"
	GSingle     Kind = "G-single: read skew"
	Nonadjacent Kind = "G-nonadjacent"
	G2          Kind = "G2: anti-dependency cycle"
)

// Anomaly is what was found.
type Anomaly struct {
	Kind     Kind
	RealTime bool   // the cycle needs the order of time
	Words    string // for people, several lines
}

func (a Anomaly) String() string {
	if a.RealTime {
		return fmt.Sprintf("%s, in real time\n%s", a.Kind, a.Words)
	}
	return fmt.Sprintf("%s\n%s", a.Kind, a.Words)
}

// Check says what a store that promises a level cannot have done. Of each kind of cycle it reports one, of the fewest
// steps. Refused transactions must have had no effect; open ones may have had one.
func Check(txns []Txn, level Level) []Anomaly {
	o := observe(txns)
	if len(o.found) > 0 {
		return o.found // no order of versions can be told from it
	}
	found := o.lostUpdates()
	return slices.Concat(found, o.graph().cycles(level))
}
