package txn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/tests/history"
)

// flaw is what is wrong with a reference store.
type flaw string

const (
	none          flaw = "none"
	noConflict    flaw = "writes are not checked for conflicts"
	noValidation  flaw = "reads are not validated"
	readLatest    flaw = "reads see what is newest"
	dirtyRead     flaw = "reads see what is not committed"
	staleSnapshot flaw = "snapshots are older than what was acknowledged"
	tornCommit    flaw = "the keys of a commit appear one after the other"
	forked        flaw = "two replicas take writes in orders of their own"
	revived       flaw = "what was aborted takes effect"
)

// reference is a store of lists, a step at a time: snapshot isolation by first committer wins, or, with validation of
// reads, serializability.
type reference struct {
	level Level
	flaw  flaw
	rng   func(n int) int
	now   int64
	at    int64 // of the newest commit
	lists map[string][]written
}

type written struct {
	element string
	at      int64    // of its commit
	shown   [2]int64 // when either half of the readers sees it; usually at
}

// running is a transaction under way.
type running struct {
	Txn
	todo   []Op
	start  int64
	half   int
	wrote  map[string][]string
	looked map[string]bool
}

func (s *reference) read(r *running, key string) []string {
	var out []string
	for _, w := range s.lists[key] {
		if at := w.shown[r.half]; at <= r.start || s.flaw == readLatest && at <= s.at || s.flaw == dirtyRead {
			out = append(out, w.element)
		}
	}
	return append(out, r.wrote[key]...)
}

// step does the next operation of a transaction, or commits it. It reports whether the transaction has ended.
func (s *reference) step(r *running) bool {
	s.now++
	if r.Begun == 0 {
		r.Begun, r.start, r.half = s.now, s.at, s.rng(2)
		if s.flaw == staleSnapshot {
			r.start -= int64(s.rng(3))
		}
	}
	if len(r.todo) > 0 {
		op := r.todo[0]
		r.todo = r.todo[1:]
		if op.Append == "" {
			op.Read = s.read(r, op.Key)
			r.looked[op.Key] = true
		} else {
			r.wrote[op.Key] = append(r.wrote[op.Key], op.Append)
		}
		r.Ops = append(r.Ops, op)
		return false
	}
	r.Fate, r.Ended = history.Done, s.now
	if s.conflicts(r) || s.rng(8) == 0 {
		r.Fate = history.Refused
		if s.flaw != revived && s.flaw != dirtyRead {
			return true
		}
	}
	s.commit(r)
	if r.Fate == history.Done && s.rng(10) == 0 {
		r.Fate = history.Open
	}
	return true
}

func (s *reference) conflicts(r *running) bool {
	if s.flaw == noConflict {
		return false
	}
	for key, list := range s.lists { // in any order: it looks whether there is one
		newest := int64(0)
		for _, w := range list {
			newest = max(newest, w.at)
		}
		if newest > r.start && (len(r.wrote[key]) > 0 || s.level == Serializable && s.flaw != noValidation && r.looked[key] && len(r.wrote) > 0) {
			return true
		}
	}
	return false
}

func (s *reference) commit(r *running) {
	s.at++
	for n, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range r.wrote {
			if !yield(k) {
				return
			}
		}
	}) {
		for _, e := range r.wrote[key] {
			w := written{element: e, at: s.at, shown: [2]int64{s.at, s.at}}
			switch s.flaw {
			case tornCommit:
				w.shown = [2]int64{s.at + int64(n), s.at + int64(n)}
			case forked:
				w.shown[s.rng(2)] += int64(s.rng(4))
			}
			s.lists[key] = append(s.lists[key], w)
		}
	}
}

// run runs transactions of several clients in any interleaving.
func (s *reference) run(txns int) (out []Txn) {
	s.lists = make(map[string][]written)
	keys := []string{"x", "y", "z"}
	var clients []*running
	next := 0
	begin := func() *running {
		next++
		r := &running{Txn: Txn{Name: fmt.Sprintf("T%d", next)}, wrote: make(map[string][]string), looked: make(map[string]bool)}
		for i := range 1 + s.rng(4) {
			op := Op{Key: keys[s.rng(len(keys))]}
			if s.rng(2) == 0 {
				op.Append = fmt.Sprintf("%d.%d", next, i)
			}
			r.todo = append(r.todo, op)
		}
		return r
	}
	for range 3 {
		clients = append(clients, begin())
	}
	for len(clients) > 0 {
		i := s.rng(len(clients))
		if !s.step(clients[i]) {
			continue
		}
		out = append(out, clients[i].Txn)
		if next < txns {
			clients[i] = begin()
		} else {
			clients = slices.Delete(clients, i, i+1)
		}
	}
	s.at += 10 // whoever comes now sees everything
	r := &running{wrote: make(map[string][]string), looked: make(map[string]bool), Txn: Txn{Name: "last"}}
	for _, k := range keys {
		r.todo = append(r.todo, Op{Key: k})
	}
	s.now++
	r.Begun, r.start = s.now, s.at
	for len(r.todo) > 0 {
		s.step(r)
	}
	r.Fate, r.Ended = history.Done, s.now+1
	return append(out, r.Txn)
}

// TestReferenceIsClean: whatever a store does that keeps its promise, the checker finds nothing.
func TestReferenceIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.SampledFrom([]Level{Snapshot, Serializable}).Draw(t, "level")
		s := &reference{level: level, flaw: none, rng: func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }}
		if found := Check(s.run(25), level); len(found) > 0 {
			t.Fatalf("%s: %v", level, found[0])
		}
	})
}

// TestFlawsAreFound: each flaw of a store shows in its histories, under a name that fits.
func TestFlawsAreFound(t *testing.T) {
	for _, c := range []struct {
		flaw  flaw
		level Level
		kinds []Kind
	}{
		{noConflict, Snapshot, []Kind{LostUpdate, GSingle, G0, Nonadjacent}},
		{noValidation, Serializable, []Kind{G2}},
		{readLatest, Snapshot, []Kind{Internal, GSingle, G1c, LostUpdate}},
		{dirtyRead, Snapshot, []Kind{G1a, Internal, Disorder}},
		{staleSnapshot, Snapshot, []Kind{GSingle}},
		{tornCommit, Snapshot, []Kind{GSingle, G1b, Disorder, Internal, G1c}},
		{forked, Snapshot, []Kind{GSingle, Nonadjacent, Disorder, LostUpdate}},
		{revived, Snapshot, []Kind{G1a}},
	} {
		hits, names := 0, map[Kind]int{}
		const histories = 100
		for seed := range uint64(histories) {
			rng := rand.New(rand.NewPCG(seed, 7))
			s := &reference{level: c.level, flaw: c.flaw, rng: rng.IntN}
			if found := Check(s.run(40), c.level); len(found) > 0 {
				hits++
				names[found[0].Kind]++
			}
		}
		fits := 0
		for _, k := range c.kinds {
			fits += names[k]
		}
		t.Logf("%s: in %d of %d histories: %v", c.flaw, hits, histories, names)
		if hits < histories/2 || fits == 0 {
			t.Errorf("%s is found in %d of %d histories, as %v", c.flaw, hits, histories, names)
		}
	}
}
