// Package version numbers what a cluster may do. Programs of different age run in one cluster while it is upgraded; what the
// older ones do not understand must not be written or sent before the last of them is gone, and must never be taken back
// after it was. So a cluster has a version, which is on record and only grows, and every program has a range of versions
// in which it can take part. (CockroachDB's cluster version, and its finalization by an administrator.)
//
// docs/upgrades.md says how to add one.
package version

import "fmt"

// Number is the version of a cluster.
type Number uint64

// The versions, each by what it brings. A number is never used for anything else again.
const (
	// First is what holds where nothing is on record, and what a program means that does not say which versions it knows.
	First Number = 1
	// Settings: settings of the cluster, and stores that shall lead nothing, are on record.
	Settings Number = 2
	// Comparisons: replicas sum up their data at one applied index, by an entry that says so.
	Comparisons Number = 3
	// Journal: the raft log of a store lies in files of its own, beside its database.
	Journal Number = 4

	// Oldest is the oldest version that this program can take part in, built the newest that its code knows.
	Oldest = First
	built  = Journal
)

// The evaluation versions of log entries that the code knows, see package apply: the first that a cluster may have, and the
// newest.
const (
	evalFirst = 2
	evalBuilt = 3
)

// next makes a program of the next release out of this one, for tests of upgrades: each character is a version more, and
// with it an evaluation version of its own. Only the linker sets it (-X github.com/skerrydb/skerry/internal/version.next=1).
var next string

// Newest is the newest version that this program can take part in, and that a cluster begins with.
func Newest() Number { return built + Number(len(next)) }

// Eval is the newest evaluation version of log entries that may be proposed in a cluster of this version.
func (n Number) Eval() uint64 {
	switch {
	case n < Comparisons:
		return evalFirst
	case n > built:
		return evalBuilt + uint64(n-built)
	}
	return evalBuilt
}

func (n Number) String() string { return fmt.Sprint(uint64(n)) }

// Range is the versions that a program can take part in, both ends included. The zero value is that of a program which knew
// of no versions.
type Range struct {
	Oldest Number `json:"oldest"`
	Newest Number `json:"newest"`
}

// Ours is the range of this program.
func Ours() Range { return Range{Oldest, Newest()} }

// Known is the range with what the zero value means.
func (r Range) Known() Range {
	if r == (Range{}) {
		return Range{First, First}
	}
	return r
}

// Has reports whether a program of this range can take part in a cluster of a version.
func (r Range) Has(n Number) bool {
	r = r.Known()
	return r.Oldest <= n && n <= r.Newest
}

func (r Range) String() string {
	r = r.Known()
	if r.Oldest == r.Newest {
		return r.Oldest.String()
	}
	return fmt.Sprintf("%s to %s", r.Oldest, r.Newest)
}
