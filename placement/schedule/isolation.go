package schedule

// Isolation is how far apart the replicas of a shard stand. Two replicas on stores with the same value of the widest
// label (zone) share that place; if also the next label (rack) agrees they share that too. The cost of a set of stores
// counts, for each level, the pairs that share a place there, with the widest level in the highest bits: a smaller cost
// is better isolated, and one pair less in a zone outweighs any number of racks.
//
// A store without a label counts as standing at the place "": nothing says that two such stores stand apart.

// sites are the places of one store from the widest to the narrowest. Equal numbers at a level mean that the labels of
// this and all wider levels are equal.
type sites [MaxIsolation]uint32

// siteBook numbers places.
type siteBook struct {
	numbers map[siteKey]uint32
}

type siteKey struct {
	above uint32 // number of the place that it lies in
	value string
}

func (b *siteBook) sites(s *Store, keys []string) sites {
	var out sites
	above := uint32(0)
	for level, key := range keys {
		k := siteKey{above: above, value: s.Label(key)}
		n, ok := b.numbers[k]
		if !ok {
			n = uint32(len(b.numbers) + 1)
			b.numbers[k] = n
		}
		out[level], above = n, n
	}
	return out
}

// pairCost is the cost of two stores.
func (p *picture) pairCost(a, b *sites) uint64 {
	cost := uint64(0)
	for level := 0; level < p.levels && a[level] == b[level]; level++ {
		cost += 1 << (8 * (MaxIsolation - 1 - level))
	}
	return cost
}

// setCost is the cost of a set of stores.
func (p *picture) setCost(set []int32) uint64 {
	cost := uint64(0)
	if p.levels == 0 {
		return 0
	}
	for i, a := range set {
		for _, b := range set[:i] {
			cost += p.pairCost(&p.stores[a].sites, &p.stores[b].sites)
		}
	}
	return cost
}

// addedCost is what another store adds to the cost of a set.
func (p *picture) addedCost(set []int32, c *sites) uint64 {
	cost := uint64(0)
	if p.levels == 0 {
		return 0
	}
	for _, a := range set {
		cost += p.pairCost(&p.stores[a].sites, c)
	}
	return cost
}

// bestCost is the least cost that n replicas can have on the open stores of a rule: greedily, each where it adds least.
// On a tree of places that is the optimum. A shard that has it needs no search for a better place.
func (p *picture) bestCost(r *ruling, n int) uint64 {
	if p.levels == 0 {
		return 0
	}
	if cost, ok := r.bestCost[n]; ok {
		return cost
	}
	var set []int32
	cost := uint64(0)
	taken := make([]bool, len(p.stores))
	for range n {
		at, least := int32(-1), uint64(0)
		for i := range p.stores {
			s := &p.stores[i]
			if taken[i] || !s.open || s.SlowDisk || !r.meets[i] {
				continue
			}
			if c := p.addedCost(set, &s.sites); at < 0 || c < least {
				at, least = int32(i), c
			}
		}
		if at < 0 {
			break
		}
		taken[at] = true
		set, cost = append(set, at), cost+least
	}
	if len(set) < n {
		cost = 0 // not even enough stores: there is no bound, so ask every time
	}
	r.bestCost[n] = cost
	return cost
}
