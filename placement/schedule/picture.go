package schedule

import (
	"cmp"
	"math"

	"github.com/skerrydb/skerry/shard"
)

// shardCost is what a shard weighs besides its bytes: an empty one costs a store memory and attention too. It also lets
// shards whose size is not known spread by their number.
const shardCost = 1 << 20

// picture is what one call works with: the view's stores with everything about them that many shards ask for, and with
// what the call itself has proposed counted as done.
type picture struct {
	view   *View
	limits Limits
	seed   uint64

	stores []standing // as View.Stores, then one for all stores that the view does not know
	at     map[shard.StoreID]int32
	levels int // of isolation

	rules    []*ruling // of Rules.Ranges, filled when first asked for
	fallback *ruling   // where none of them holds

	meanShard   float64 // weight of an average shard
	meanLeaders float64 // over the stores that may lead
	meanWork    float64 // likewise
	tolerance   float64 // of load
	manySlow    bool    // so many stores are slow that it is not them
	looks       int     // that this call has left, see placeLooks
	scratch     look
}

// standing is one store.
type standing struct {
	Store
	sites sites
	// capacity is relative: 1 is the mean of the stores that hold data. A store that did not say is average.
	capacity float64
	weight   float64 // of its shards
	open     bool    // it may get replicas: up, and its disk is not nearly full
	alive    bool    // its replicas answer, so far as is known
	// What is left of the limits in this call.
	receive, balance, send, leadersIn, leadersOut int
	reserve                                       uint64 // bytes that stay free
}

// load is how full a store is: weight by relative capacity. Between stores of one size that is bytes.
func (s *standing) load() float64 { return s.weight / s.capacity }

// gone reports whether the replicas here are to be replaced.
func (s *standing) gone() bool { return s.State == Down || s.State == Removed }

// slow reports whether leaders should rather be elsewhere.
func (s *standing) slow() bool { return s.SlowDisk || s.SlowNet }

// fits reports whether so many bytes can come without the disk getting nearly full.
func (s *standing) fits(bytes uint64) bool {
	if s.Capacity == 0 {
		return true
	}
	left := min(s.Free, s.Capacity-min(s.Capacity, s.Bytes))
	return left >= bytes && left-bytes >= s.reserve
}

func weigh(bytes uint64, shards int) float64 { return float64(bytes) + shardCost*float64(shards) }

func newPicture(v *View, limits Limits, seed uint64) *picture {
	p := &picture{view: v, limits: limits, seed: seed, looks: placeLooks, levels: min(len(v.Rules.Isolation), MaxIsolation),
		stores: make([]standing, 0, len(v.Stores)+1), at: make(map[shard.StoreID]int32, len(v.Stores)), rules: make([]*ruling, len(v.Rules.Ranges))}
	book := siteBook{numbers: make(map[siteKey]uint32)}
	for i := range v.Stores {
		s := standing{Store: v.Stores[i]}
		s.sites = book.sites(&s.Store, v.Rules.Isolation[:p.levels])
		s.reserve = limits.reserve(s.Capacity)
		s.weight = weigh(s.Bytes, s.Shards)
		s.alive = s.State == Up || s.State == Draining
		s.open = s.State == Up && s.fits(0)
		s.receive = max(0, limits.Receiving-s.Receiving)
		s.balance = max(0, limits.balanceReceiving()-s.Receiving)
		s.send = max(0, limits.Sending-s.Sending)
		s.leadersIn, s.leadersOut = limits.Leaders, limits.Leaders
		p.at[s.ID] = int32(len(p.stores))
		p.stores = append(p.stores, s)
	}
	p.stores = append(p.stores, standing{Store: Store{State: Removed}, capacity: 1})
	p.measure()
	return p
}

// measure fills what follows from all stores together.
func (p *picture) measure() {
	known, sum := 0, 0.0
	for i := range p.stores {
		if s := &p.stores[i]; !s.gone() && s.Capacity != 0 {
			known, sum = known+1, sum+float64(s.Capacity)
		}
	}
	var weight, capacity, work float64
	var shards, leaders, ups, slow int
	for i := range p.stores {
		s := &p.stores[i]
		s.capacity = 1
		if known > 0 && s.Capacity != 0 {
			s.capacity = float64(s.Capacity) * float64(known) / sum
		}
		if s.gone() {
			continue
		}
		weight, shards = weight+s.weight, shards+s.Shards
		if s.State != Draining {
			capacity += s.capacity
		}
		if s.State == Up {
			ups++
			if s.slow() {
				slow++
			}
		}
		leaders += s.Leaders
		work += s.Work
	}
	p.meanShard = shardCost
	if shards > 0 {
		p.meanShard = max(shardCost, weight/float64(shards))
	}
	p.manySlow = slow*3 > ups
	if capacity > 0 {
		p.tolerance = max(p.limits.ToleranceShards*p.meanShard, p.limits.ToleranceFraction*weight/capacity)
	}
	if n := ups - p.slowCount(slow); n > 0 {
		p.meanLeaders, p.meanWork = float64(leaders)/float64(n), work/float64(n)
	}
}

// slowCount is how many of the slow stores count as slow.
func (p *picture) slowCount(slow int) int {
	if p.manySlow {
		return 0
	}
	return slow
}

// leadSlow reports whether a leader should be moved off a store because it is slow. When more than a third of all
// stores look slow the cause lies elsewhere, and herding their leaders onto the others would only make it worse.
func (p *picture) leadSlow(s *standing) bool { return s.slow() && !p.manySlow }

// index is the place of a store in p.stores. A store that the view does not know counts as removed.
func (p *picture) index(id shard.StoreID) int32 {
	if i, ok := p.at[id]; ok {
		return i
	}
	return int32(len(p.stores) - 1)
}

// leaderTolerance is how far a store's leaders may be from the mean.
func (p *picture) leaderTolerance() float64 {
	return max(p.limits.LeaderTolerance, p.limits.LeaderToleranceFraction*p.meanLeaders)
}

// tieBreak orders stores that are equal in all else, differently for each shard, so that shards that are decided at the
// same time do not all choose the same one.
func (p *picture) tieBreak(id shard.ID, st shard.StoreID) uint64 {
	x := p.seed ^ uint64(id)*0x9e3779b97f4a7c15 ^ uint64(st)*0xc2b2ae3d27d4eb4f
	x ^= x >> 31
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>29
}

// byChance compares two stores for a shard by tieBreak.
func (p *picture) byChance(l *look, a, b int32) int {
	return cmp.Compare(p.tieBreak(l.Desc.ID, p.stores[a].ID), p.tieBreak(l.Desc.ID, p.stores[b].ID))
}

// ruling is one set of effective rules, with what it means for each store.
type ruling struct {
	Effective
	meets    []bool  // by index of store: Require is met
	leads    []bool  // Leaders is met
	able     []int32 // stores that could get a replica to balance, when the call began
	bestCost map[int]uint64
	// zones sum up, by the widest place, the stores that could hold a replica; mean is of all of them.
	zones []zone
	mean  float64
}

// zone sums up the open stores of a rule at one widest place.
type zone struct {
	site             uint32
	weight, capacity float64
	least            float64 // load of the emptiest, when the call began
}

// ruling returns what holds for a range.
func (p *picture) ruling(rng shard.Range) *ruling {
	slot := &p.fallback
	if i := p.view.Rules.indexFor(rng); i >= 0 {
		slot = &p.rules[i]
	}
	if *slot == nil {
		*slot = p.rule(p.view.Rules.For(rng))
	}
	return *slot
}

func (p *picture) rule(e Effective) *ruling {
	r := &ruling{Effective: e, meets: make([]bool, len(p.stores)), leads: make([]bool, len(p.stores)), bestCost: make(map[int]uint64)}
	zoneOf := make(map[uint32]int)
	weight, capacity := 0.0, 0.0
	for i := range p.stores {
		s := &p.stores[i]
		r.meets[i], r.leads[i] = met(e.Require, &s.Store), met(e.Leaders, &s.Store)
		if !s.open || !r.meets[i] {
			continue
		}
		if !s.SlowDisk {
			r.able = append(r.able, int32(i))
		}
		z, ok := zoneOf[s.sites[0]]
		if !ok {
			z = len(r.zones)
			zoneOf[s.sites[0]] = z
			r.zones = append(r.zones, zone{site: s.sites[0], least: math.Inf(1)})
		}
		zone := &r.zones[z]
		zone.weight, zone.capacity, zone.least = zone.weight+s.weight, zone.capacity+s.capacity, min(zone.least, s.load())
		weight, capacity = weight+s.weight, capacity+s.capacity
	}
	if capacity > 0 {
		r.mean = weight / capacity
	}
	return r
}
