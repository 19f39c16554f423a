package schedule

import "github.com/skerrydb/skerry/shard"

// Trace records how a decision came about. A nil Trace records nothing.
type Trace struct {
	// Notes are what was found, in the order in which it was.
	Notes []string
	// Searches are the searches for a place, in their order.
	Searches []Search

	open []seen // in the search under way
}

// seen is a store in a search, with the tier that ruled it out.
type seen struct {
	candidate
	out Tier
	why string
}

// Search is one search for a place for one replica.
type Search struct {
	// Staying are the stores of the replicas that stay where they are.
	Staying []shard.StoreID
	// Places are all stores by id.
	Places []Place
}

// Place is one store in a Search, with the tier that ruled it out, that decided against it, or TierChosen.
type Place struct {
	Store shard.StoreID
	Tier  Tier
	Why   string
}

func (t *Trace) say(note string) {
	if t != nil {
		t.Notes = append(t.Notes, note)
	}
}

// ruledOut notes that a store cannot be a place. The first of a search opens it.
func (t *Trace) ruledOut(p *picture, c *choice, at int32, tier Tier) {
	if t != nil {
		t.open = append(t.open, seen{candidate: candidate{at: at}, out: tier, why: p.describe(c, at, tier)})
	}
}

// possible notes a store that can be one.
func (t *Trace) possible(n candidate) {
	if t != nil {
		t.open = append(t.open, seen{candidate: n})
	}
}

// decided ends a search.
func (t *Trace) decided(p *picture, c *choice, best candidate, found bool) {
	if t == nil {
		return
	}
	var s Search
	for _, at := range c.rest {
		s.Staying = append(s.Staying, p.stores[at].ID)
	}
	for i := range t.open {
		n := &t.open[i]
		place := Place{Store: p.stores[n.at].ID, Tier: n.out, Why: n.why}
		switch {
		case n.out != TierNone:
		case found && n.at == best.at:
			place.Tier, place.Why = TierChosen, "the best place"
		default:
			_, place.Tier = p.compare(c, &best, &n.candidate)
			place.Why = p.describe(c, n.at, place.Tier)
		}
		s.Places = append(s.Places, place)
	}
	t.open = nil
	t.Searches = append(t.Searches, s)
}
