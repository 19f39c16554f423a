package schedule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"pgregory.net/rapid"
)

// TestComesToRest takes random clusters, often broken ones, and does what is proposed until nothing is. Every proposal
// must be sound by itself, every move made to balance must lower a potential, and it must end.
func TestComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawCluster(t)
		s := New(rapid.Uint64().Draw(t, "seed"), Limits{})
		o := newObserver(m)
		bound := 40*len(m.shards) + 100
		now, quiet := time.Duration(0), 0
		for n := 0; ; {
			v := m.view()
			v.Now = now
			ps := s.Propose(v, rapid.IntRange(1, 20).Draw(t, "max"))
			if len(ps) == 0 {
				if quiet++; quiet == 2 { // not only because shards rest after a move
					break
				}
				now += time.Hour
				o.left = make(map[string]bool)
				continue
			}
			quiet = 0
			o.call()
			for _, p := range ps {
				if err := o.check(p); err != nil {
					t.Fatalf("%s: %s %s goal %v, leader %d: %v", m.byIDString(p.Shard), p.Kind, p.Shard, p.Goal.Voters, p.Goal.Leader, err)
				}
				m.apply(p)
			}
			if n += len(ps); n > bound {
				t.Fatalf("no rest after %d operators; the last are %+v", n, ps)
			}
		}
		if err := o.atRest(); err != nil {
			t.Fatal(err)
		}
	})
}

func (m *model) byIDString(id shard.ID) string { return m.shards[m.byID[id]].Desc.String() }

func drawCluster(t *rapid.T) *model {
	m := &model{at: make(map[shard.StoreID]int), byID: make(map[shard.ID]int), replica: 1 << 20}
	m.rules.Replicas = rapid.SampledFrom([]int{3, 3, 3, 5, 1, 2}).Draw(t, "replicas")
	m.rules.Isolation = rapid.SampledFrom([][]string{nil, {"zone"}, {"zone", "rack"}}).Draw(t, "isolation")
	zones, racks := rapid.IntRange(1, 4).Draw(t, "zones"), rapid.IntRange(1, 3).Draw(t, "racks")
	capacities := rapid.SampledFrom([][]uint64{{0}, {1 << 40}, {1 << 40, 1 << 42}, {0, 1 << 40}}).Draw(t, "capacities")
	calm := rapid.Bool().Draw(t, "calm")
	for i := range rapid.IntRange(1, 14).Draw(t, "stores") {
		s := Store{ID: shard.StoreID(1001 + i), Capacity: rapid.SampledFrom(capacities).Draw(t, "capacity")}
		s.Free = s.Capacity
		if !calm {
			s.State = rapid.SampledFrom([]State{Up, Up, Up, Up, Up, Suspect, Down, Draining, Removed}).Draw(t, "state")
			s.SlowDisk = rapid.IntRange(0, 9).Draw(t, "slow") == 0
			if rapid.IntRange(0, 9).Draw(t, "full") == 0 {
				s.Free = s.Capacity / 20
			}
		}
		s.Labels = []Label{{"disk", rapid.SampledFrom([]string{"ssd", "hdd"}).Draw(t, "disk")},
			{"rack", fmt.Sprint(rapid.IntRange(1, racks).Draw(t, "rack"))}, {"zone", fmt.Sprint(rapid.IntRange(1, zones).Draw(t, "zone"))}}
		m.at[s.ID] = i
		m.stores = append(m.stores, s)
	}
	n := rapid.IntRange(1, 150).Draw(t, "shards")
	if rapid.IntRange(0, 2).Draw(t, "ruled") == 0 {
		m.rules.Ranges = []RangeRule{{Name: "part", Start: keyOf(n / 4), End: keyOf(n/2 + 1), Replicas: rapid.IntRange(0, 4).Draw(t, "ruled replicas"),
			Require: []Constraint{{Key: "disk", Values: []string{"hdd"}, Not: true}}, Leaders: []Constraint{{Key: "zone", Values: []string{"1"}}}}}
	}
	sizes := rapid.SampledFrom([][]uint64{{0}, {96 << 20}, {0, 96 << 20}, {1 << 10, 1 << 20, 96 << 20, 2 << 30}}).Draw(t, "sizes")
	works := rapid.SampledFrom([][]int{{0}, {0}, {0, 0, 0, 3000}, {0, 10, 40, 300, 2000, 9000}, {1000}}).Draw(t, "works")
	wild := !calm && rapid.Bool().Draw(t, "wild")
	first := rapid.IntRange(1, len(m.stores)).Draw(t, "first") // shards stand on the first of the stores
	for i := range n {
		sh := Shard{Desc: &shard.Descriptor{ID: shard.ID(2000 + i), Range: shard.Range{Start: keyOf(i), End: keyOf(i + 1)}, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}}
		if i == 0 {
			sh.Desc.Range.Start = nil
		}
		if i == n-1 {
			sh.Desc.Range.End = nil
		}
		sh.Bytes = rapid.SampledFrom(sizes).Draw(t, "size")
		work := rapid.SampledFrom(works).Draw(t, "work")
		sh.Work, sh.Follow = Busy(float64(work), float64(work*rapid.IntRange(0, 4).Draw(t, "follow"))/4)
		k := min(m.rules.Replicas, first)
		if wild && rapid.IntRange(0, 3).Draw(t, "odd") == 0 {
			k = rapid.IntRange(1, min(6, len(m.stores))).Draw(t, "voters")
		}
		at := rapid.IntRange(0, 1<<20).Draw(t, "place")
		for j := range k {
			m.replica++
			sh.Desc.Replicas = append(sh.Desc.Replicas, shard.Replica{ID: m.replica, Store: m.stores[(at+j)%max(first, k)].ID, Role: shard.Voter})
		}
		if wild && rapid.IntRange(0, 5).Draw(t, "half done") == 0 {
			last := &sh.Desc.Replicas[k-1]
			last.Role = rapid.SampledFrom([]shard.Role{shard.Learner, shard.IncomingVoter, shard.DemotingVoter}).Draw(t, "role")
			if k == 1 {
				last.Role = shard.Voter
			}
		}
		sh.Leader = sh.Desc.Replicas[0].Store
		m.byID[sh.Desc.ID] = len(m.shards)
		m.shards = append(m.shards, sh)
	}
	m.recount()
	return m
}

func keyOf(i int) shard.Key { return shard.Key(fmt.Sprintf("r%06d", i)) }

// observer judges proposals by itself, with none of the scheduler's own arithmetic but the definition of isolation.
type observer struct {
	m        *model
	received map[shard.StoreID]int    // in this call
	shards   map[shard.ID]bool        // in this call
	balanced map[string]bool          // replicas brought by balancing
	left     map[string]bool          // places that balancing took a shard from
	leads    map[shard.ID]map[any]int // leaderships given by balancing
}

func newObserver(m *model) *observer {
	return &observer{m: m, balanced: make(map[string]bool), left: make(map[string]bool), leads: make(map[shard.ID]map[any]int)}
}

func (o *observer) call() {
	o.received, o.shards = make(map[shard.StoreID]int), make(map[shard.ID]bool)
}

func (o *observer) store(id shard.StoreID) *Store { return &o.m.stores[o.m.at[id]] }

func voterStores(d *shard.Descriptor) (ids []shard.StoreID) {
	for _, r := range d.Replicas {
		if r.Role == shard.Voter || r.Role == shard.IncomingVoter {
			ids = append(ids, r.Store)
		}
	}
	return ids
}

func (o *observer) alive(ids []shard.StoreID) (n int) {
	for _, id := range ids {
		if s := o.store(id).State; s == Up || s == Draining {
			n++
		}
	}
	return n
}

// potential is the sum of capacity times load squared.
func (o *observer) potential(without, with shard.StoreID, bytes uint64) float64 {
	known, sum := 0.0, 0.0
	for _, s := range o.m.stores {
		if s.Capacity > 0 && s.State != Down && s.State != Removed {
			known, sum = known+1, sum+float64(s.Capacity)
		}
	}
	phi := 0.0
	for _, s := range o.m.stores {
		w, c := float64(s.Bytes)+float64(s.Shards)*shardCost, 1.0
		if s.ID == without {
			w -= float64(bytes) + shardCost
		}
		if s.ID == with {
			w += float64(bytes) + shardCost
		}
		if s.Capacity > 0 && known > 0 {
			c = float64(s.Capacity) * known / sum
		}
		phi += w * w / c
	}
	return phi
}

// shared counts the pairs of stores that share a zone, and those that share zone and rack.
func (o *observer) shared(ids []shard.StoreID) int {
	n := 0
	for i, a := range ids {
		for _, b := range ids[:i] {
			for level, key := range o.m.rules.Isolation {
				if o.store(a).Label(key) != o.store(b).Label(key) {
					break
				}
				n += []int{1000, 1}[level]
			}
		}
	}
	return n
}

func (o *observer) violations(e Effective, ids []shard.StoreID) (n int) {
	for _, id := range ids {
		n += one(!met(e.Require, o.store(id)))
	}
	return n
}

func (o *observer) check(p Proposal) error {
	sh := &o.m.shards[o.m.byID[p.Shard]]
	if o.shards[p.Shard] || p.Epoch != sh.Desc.Epoch || p.Why == "" {
		return fmt.Errorf("twice in one call, or of another epoch, or without a reason")
	}
	o.shards[p.Shard] = true
	before, after := voterStores(sh.Desc), p.Goal.Voters
	if len(after) == 0 {
		after = slices.Sorted(slices.Values(before))
		if p.Goal.Leader == 0 {
			return fmt.Errorf("empty goal")
		}
	}
	if !slices.IsSorted(after) || len(slices.Compact(slices.Clone(after))) != len(after) {
		return fmt.Errorf("voters are not in order")
	}
	if p.Goal.Leader != 0 && !slices.Contains(after, p.Goal.Leader) {
		return fmt.Errorf("the leader is no voter")
	}
	if a, b := o.alive(after), o.alive(before); p.Kind != operator.RemoveReplica && a < b || a <= len(after)/2 {
		return fmt.Errorf("%d of %d voters answer afterwards, %d of %d before", a, len(after), b, len(before))
	}
	for _, id := range after {
		if holds(sh.Desc, id) {
			continue
		}
		s := o.store(id)
		if o.received[id]++; o.received[id] > 4 {
			return fmt.Errorf("%s receives %d", id, o.received[id])
		}
		if s.State != Up || s.Capacity > 0 && s.Free < s.Capacity/10 && s.Free < 64<<30 {
			return fmt.Errorf("%s is %s with %d free", id, s.State, s.Free)
		}
	}
	return o.checkKind(p, sh, before, after)
}

func (o *observer) checkKind(p Proposal, sh *Shard, before, after []shard.StoreID) error {
	e := o.m.rules.For(sh.Desc.Range)
	moved := func(a, b []shard.StoreID) (out []shard.StoreID) {
		return slices.DeleteFunc(slices.Clone(a), func(id shard.StoreID) bool { return slices.Contains(b, id) })
	}
	add, del := moved(after, before), moved(before, after)
	if o.violations(e, add) > 0 {
		return fmt.Errorf("a new replica violates the rules")
	}
	switch p.Kind {
	case operator.BalanceShards:
		if o.shared(after) > o.shared(before) {
			return fmt.Errorf("worse isolated for balance")
		}
		if a, b := o.potential(0, 0, 0), o.potential(del[0], add[0], sh.Bytes); b >= a {
			return fmt.Errorf("potential %g becomes %g", a, b)
		}
		key := fmt.Sprint(p.Shard, add[0])
		if o.left[key] {
			return fmt.Errorf("back where balancing took it from")
		}
		o.left[fmt.Sprint(p.Shard, del[0])] = true
		o.balanced[key] = true
	case operator.BalanceLeaders:
		if a, b := o.store(sh.Leader).Leaders, o.store(p.Goal.Leader).Leaders; a-b < 2 {
			return fmt.Errorf("leaders from %d to %d", a, b)
		}
	case operator.BalanceLoad:
		work := float64(sh.Work) - float64(sh.Follow)
		if len(add) > 0 {
			work = float64(sh.Work)
		}
		if from, to := o.store(sh.Leader).Work, o.store(p.Goal.Leader).Work; to+work >= from {
			return fmt.Errorf("work %g of %g goes to where %g is", work, from, to)
		}
		if o.shared(after) > o.shared(before) {
			return fmt.Errorf("worse isolated for balance")
		}
	case operator.FixRule:
		if p.Goal.Leader != 0 && len(p.Goal.Voters) == 0 {
			if met(e.Leaders, o.store(sh.Leader)) || !met(e.Leaders, o.store(p.Goal.Leader)) {
				return fmt.Errorf("the rules for leaders are not better met")
			}
		} else if o.violations(e, after) >= o.violations(e, before) && o.shared(after) >= o.shared(before) {
			return fmt.Errorf("neither rules nor isolation are better met")
		}
	}
	return nil
}

// atRest judges the cluster when nothing more is proposed.
func (o *observer) atRest() error {
	for i := range o.m.shards {
		sh := &o.m.shards[i]
		ids := voterStores(sh.Desc)
		e := o.m.rules.For(sh.Desc.Range)
		lead := o.store(sh.Leader).State
		if o.alive(ids) <= len(ids)/2 || sh.Desc.Joint() || lead != Up && lead != Draining {
			continue // nobody can help it
		}
		want := e.Replicas
		place := false // for one replica more
		for _, s := range o.m.stores {
			place = place || s.State == Up && !slices.Contains(ids, s.ID) && met(e.Require, &s) && (s.Capacity == 0 || s.Free > s.Capacity/9+sh.Bytes+64<<30)
		}
		for _, id := range ids {
			if s := o.store(id).State; place && (s == Down || s == Removed || s == Draining) {
				return fmt.Errorf("%s: a replica stays on %s, which is %s, though there is a place", sh.Desc, id, s)
			}
			if place && !met(e.Require, o.store(id)) && o.alive(ids) == len(ids) {
				return fmt.Errorf("%s: a replica stays on %s against the rules, though there is a place", sh.Desc, id)
			}
		}
		if place && len(ids) < want {
			return fmt.Errorf("%s: it has %d voters of %d, though there is a place", sh.Desc, len(ids), want)
		}
		if len(ids) > want && o.alive(ids) == len(ids) {
			return fmt.Errorf("%s: it has %d voters of %d", sh.Desc, len(ids), want)
		}
	}
	return o.even()
}

// even judges the balance where nothing stands in its way: one kind of store, no rules.
func (o *observer) even() error {
	if len(o.m.rules.Ranges) > 0 || len(o.m.rules.Isolation) > 0 || len(o.m.stores) <= o.m.rules.Replicas {
		return nil
	}
	low, high, total, shards, biggest, smallest := 1e300, 0.0, 0.0, 0, 0.0, 1e300
	for _, s := range o.m.stores {
		if s.State != Up || s.SlowDisk || s.Capacity != o.m.stores[0].Capacity || s.Free < s.Capacity/2 {
			return nil
		}
		w := float64(s.Bytes) + float64(s.Shards)*shardCost
		low, high, total, shards = min(low, w), max(high, w), total+w, shards+s.Shards
	}
	for i := range o.m.shards {
		w := float64(o.m.shards[i].Bytes) + shardCost
		biggest, smallest = max(biggest, w), min(smallest, w)
	}
	mean := total / float64(len(o.m.stores))
	tolerance := max(2*total/float64(shards), 0.03*mean)
	if high-low > 2*tolerance+2*biggest {
		return fmt.Errorf("at rest with loads from %g to %g, tolerance %g, biggest shard %g", low, high, tolerance, biggest)
	}
	if biggest == smallest && max(high-mean, mean-low) > 1.0001*tolerance {
		return fmt.Errorf("at rest with loads from %g to %g, mean %g, tolerance %g, all shards equal", low, high, mean, tolerance)
	}
	return nil
}
