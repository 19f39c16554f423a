package sim

import (
	"fmt"
	"slices"
	"strings"
)

// Shrink looks for a smaller world that fails the same way: fewer kinds of faults, shorter, fewer clients, keys, shards
// and stores, a better network. run runs a world and returns its failure, empty if it has none. A change of a knob
// changes everything that happens, so each change is tried with several salts.
//
// It returns the options of the smallest world found; tried is told of every attempt.
func Shrink(o Options, k *Knobs, failure string, run func(o Options) string, tried func(o Options, failed bool)) Options {
	best, kind := o, failureKind(failure)
	attempt := func(change ...string) bool {
		for salt := range uint64(6) {
			try := best
			try.Salt = salt
			try.Set = append(slices.Clone(best.Set), change...)
			failed := failureKind(run(try)) == kind
			tried(try, failed)
			if failed {
				best = try
				return true
			}
		}
		return false
	}
	for faults := k.Faults / 2; faults > k.Faults/32 && attempt("faults="+faults.String()); faults /= 2 {
	}
	left := slices.Clone(k.Nemeses)
	for i := 0; i < len(left); {
		fewer := slices.Delete(slices.Clone(left), i, i+1)
		if attempt("nemeses=" + strings.Join(fewer, "+")) {
			left = fewer
		} else {
			i++
		}
	}
	for _, change := range []string{"loss=0", "dup=0", "reorder=0", "late=0", "drift=0", "skew=0s", "strategy=uniform", "workers=1", "stores=3", "members=1", "shards=1", "groups=1"} {
		attempt(change)
	}
	for clients := k.Clients / 2; clients > 0 && attempt(fmt.Sprintf("clients=%d", clients)); clients /= 2 {
	}
	return best
}

// failureKind is the part of a failure that does not change from world to world: what stands before the first colon.
func failureKind(failure string) string {
	kind, _, _ := strings.Cut(failure, ":")
	return kind
}

// Command is the command that runs a world again.
func (o *Options) Command() string {
	c := fmt.Sprintf("skerry-sim run --seed %d", o.Seed)
	if o.Salt != 0 {
		c += fmt.Sprintf(" --salt %d", o.Salt)
	}
	if o.Bug != "" {
		c += " --bug " + o.Bug
	}
	for _, s := range lastOfEach(o.Set) {
		c += " --set " + s
	}
	return c
}

// lastOfEach keeps of several settings of one knob the last.
func lastOfEach(set []string) []string {
	var out []string
	for i, s := range set {
		name, _, _ := strings.Cut(s, "=")
		again := slices.ContainsFunc(set[i+1:], func(t string) bool { return strings.HasPrefix(t, name+"=") })
		if !again {
			out = append(out, s)
		}
	}
	return out
}
