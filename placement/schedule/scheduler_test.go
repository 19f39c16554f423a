package schedule

import (
	"testing"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// wide is a cluster of more shards than a call examines: all on stores 1, 2 and 3.
func wide(t *testing.T, shards int, stores ...string) *model {
	m := &model{at: make(map[shard.StoreID]int), byID: make(map[shard.ID]int), rules: Rules{Replicas: 3}}
	for _, l := range stores {
		m.at[parseStore(t, l).ID] = len(m.stores)
		m.stores = append(m.stores, parseStore(t, l))
	}
	for i := range shards {
		sh := Shard{Desc: &shard.Descriptor{ID: shard.ID(100_000 + i), Range: shard.Range{Start: keyOf(i), End: keyOf(i + 1)}}, Bytes: 1 << 20, Leader: 1}
		for s := range 3 {
			m.replica++
			sh.Desc.Replicas = append(sh.Desc.Replicas, shard.Replica{ID: m.replica, Store: shard.StoreID(s + 1), Role: shard.Voter})
		}
		m.byID[sh.Desc.ID] = i
		m.shards = append(m.shards, sh)
	}
	m.recount()
	return m
}

// onStore makes the last voter of a shard stand elsewhere.
func (m *model) onStore(i int, id shard.StoreID) { m.shards[i].Desc.Replicas[2].Store = id }

// TestWaitingComesFirst: what a limit held back is asked again by the next call, before anything of lesser urgency, though
// the round over the shards is elsewhere by then.
func TestWaitingComesFirst(t *testing.T) {
	m := wide(t, 3*scanShards, "1", "2", "3", "4 down", "5 draining", "6 receiving=4")
	m.onStore(0, 4)
	for i := scanShards; i < 2*scanShards; i++ {
		m.onStore(i, 5)
	}
	m.stores[2].State = Suspect // the only other place for any of them
	s := New(1, Limits{})
	if ps := s.Propose(m.view(), 10); len(ps) != 0 {
		t.Fatalf("something was proposed although the only place is busy: %v", ps)
	}
	m.stores[5].Receiving = 3
	ps := s.Propose(m.view(), 10)
	if len(ps) == 0 || ps[0].Kind != operator.Replace || ps[0].Shard != 100_000 {
		t.Fatalf("the shard that waited does not come first: %v", ps)
	}
}

// TestTouch: a touched shard is examined by the next call, wherever the round is.
func TestTouch(t *testing.T) {
	m := wide(t, 3*scanShards, "1", "2", "3", "4 down", "5")
	last := len(m.shards) - 1
	m.onStore(last, 4)
	s := New(1, Limits{})
	if ps := s.Propose(m.view(), 10); len(ps) != 0 {
		t.Fatalf("found without being looked at: %v", ps)
	}
	s.Touch(m.shards[last].Desc.ID)
	ps := s.Propose(m.view(), 10)
	if len(ps) != 1 || ps[0].Shard != m.shards[last].Desc.ID {
		t.Fatalf("touched and not examined: %v", ps)
	}
	// And without being touched it is found by the round.
	s = New(1, Limits{})
	for range 2 {
		if ps := s.Propose(m.view(), 10); len(ps) != 0 {
			t.Fatalf("something else is balanced before all shards were examined: %v", ps)
		}
	}
	if ps := s.Propose(m.view(), 10); len(ps) == 0 || ps[0].Kind != operator.Replace {
		t.Fatalf("a full round did not find it: %v", ps)
	}
}

// TestPauseLeavesNothingBehind: what would be balanced during a pause is balanced right after it, and its shards do not rest as if it
// had been.
func TestPauseLeavesNothingBehind(t *testing.T) {
	m := wide(t, 40, "1", "2", "3", "4")
	s := New(1, Limits{})
	for range 3 {
		v := m.view()
		v.Paused = true
		if ps := s.Propose(v, 10); len(ps) != 0 {
			t.Fatalf("proposed during a pause: %v", ps)
		}
	}
	ps := s.Propose(m.view(), 10)
	if want := New(1, Limits{}).Propose(m.view(), 10); len(ps) == 0 || len(ps) != len(want) {
		t.Fatalf("proposed after a pause: %v; without one: %v", ps, want)
	}
}

// TestCalm: a cluster in which whole rounds found nothing is looked at by and by, at full pace again as soon as something is
// heard, and what nobody tells of is found by the next round.
func TestCalm(t *testing.T) {
	m := wide(t, 2*scanShards, "1", "2", "3")
	for i := range m.shards {
		m.shards[i].Leader = shard.StoreID(i%3 + 1)
	}
	m.recount()
	s := New(1, Limits{})
	looks := 0
	propose := func() []Proposal {
		v := m.view()
		shards := v.Shards
		looks = 0
		v.Shards = func(from shard.Key, f func(*Shard) bool) {
			shards(from, func(sh *Shard) bool { looks++; return f(sh) })
		}
		return s.Propose(v, 10)
	}
	rest := func() {
		t.Helper()
		for range 2*calmRounds + 2 {
			if ps := propose(); len(ps) != 0 {
				t.Fatalf("not at rest: %v", ps)
			}
		}
		if most := 5 * len(m.shards) / calmCalls; looks > most {
			t.Fatalf("a call at rest looks at %d shards, of %d; %d would do", looks, len(m.shards), most)
		}
	}
	rest()
	s.Touch(m.shards[5].Desc.ID)
	propose()
	if propose(); looks < scanShards {
		t.Fatalf("a call after a shard was touched looks at %d shards", looks)
	}
	rest()
	two, three := &m.stores[1], &m.stores[2]
	for what, tell := range map[string]func(bool){
		"slow network": func(is bool) { two.SlowNet = is },
		"slow disk":    func(is bool) { two.SlowDisk = is },
		"evicting":     func(is bool) { three.Evicting = is },
		"leaving":      func(is bool) { three.Leaving = is },
		"suspect":      func(is bool) { two.State = map[bool]State{true: Suspect}[is] },
		"labels":       func(is bool) { two.Labels = map[bool][]Label{true: {{"zone", "a"}}}[is] },
		"limits":       func(is bool) { s.SetLimits(map[bool]Limits{true: {Receiving: 7}}[is]) },
	} {
		rest()
		tell(true)
		if propose(); looks < scanShards {
			t.Errorf("%s: the next call looks at %d shards", what, looks)
		}
		tell(false)
	}
	rest()
	for i := range m.shards { // leaders that moved by themselves, of which nobody told
		m.shards[i].Leader = 1
	}
	m.recount()
	for calls := 1; len(propose()) == 0; calls++ {
		if calls == calmCalls {
			t.Fatal("a round did not find what is to be balanced")
		}
	}
	if propose(); looks < scanShards {
		t.Fatalf("a call with something to do looks at %d shards", looks)
	}
}

// BenchmarkPropose is a call over a million shards at rest.
func BenchmarkPropose(b *testing.B) {
	m := &model{at: make(map[shard.StoreID]int), byID: make(map[shard.ID]int), rules: Rules{Replicas: 3}}
	for i := range 1000 {
		m.at[shard.StoreID(i+1)] = i
		m.stores = append(m.stores, Store{ID: shard.StoreID(i + 1)})
	}
	for i := range 1_000_000 {
		d := &shard.Descriptor{ID: shard.ID(100_000 + i), Range: shard.Range{Start: shard.Key{byte(i >> 16), byte(i >> 8), byte(i)}, End: shard.Key{byte((i + 1) >> 16), byte((i + 1) >> 8), byte(i + 1)}}}
		for s := range 3 {
			d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(3*i + s), Store: shard.StoreID((i+s)%1000 + 1), Role: shard.Voter})
		}
		m.byID[d.ID] = i
		m.shards = append(m.shards, Shard{Desc: d, Bytes: 96 << 20, Leader: shard.StoreID(i%1000 + 1)})
	}
	m.recount()
	s, v := New(1, Limits{}), m.view()
	b.ReportAllocs()
	for b.Loop() {
		if ps := s.Propose(v, 64); len(ps) > 0 {
			b.Fatal("not at rest")
		}
	}
}
