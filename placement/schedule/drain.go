package schedule

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// CanDrain says why a store cannot be drained, nil if it can: it looks for a place for every replica on it, one after
// the other as if all were moved, by count, constraints and space. It looks at each shard once, and at each store for
// each replica that must move: about a tenth of a second for 3,000 of them among a million shards and a thousand stores.
func CanDrain(v *View, store shard.StoreID, limits Limits) error {
	p := newPicture(v, limits.orDefault(), 0)
	at, ok := p.at[store]
	if !ok {
		return fmt.Errorf("drain %s: there is no such store; 'skerry ctl store list' shows them", store)
	}
	if s := &p.stores[at]; s.State == Down || s.State == Removed {
		return fmt.Errorf("drain %s: it is %s; its replicas are replaced elsewhere already", store, s.State)
	}
	p.stores[at].State, p.stores[at].open, p.stores[at].alive = Draining, false, true
	var err error
	v.Shards(nil, func(sh *Shard) bool {
		_, on := sh.Desc.ReplicaOn(store)
		comes := sh.Pending != nil && slices.Contains(sh.Pending.Voters, store)
		if (on || comes) && sh.Desc.ID != shard.MetaID {
			err = p.canLeave(sh, at)
		}
		return err == nil
	})
	return err
}

// canLeave finds another place for a shard's replica and counts it as moved. A replica that an operator takes away
// needs none.
func (p *picture) canLeave(sh *Shard, at int32) error {
	l := p.look(sh)
	store := p.stores[at].ID
	if sh.Pending != nil && len(sh.Pending.Voters) > 0 {
		l.voters = l.voters[:0]
		stays := false
		for _, id := range sh.Pending.Voters {
			l.voters = append(l.voters, p.index(id))
			stays = stays || id == store
		}
		if !stays {
			return nil
		}
	}
	if len(l.voters) > l.want {
		return nil // it is one too many anyway
	}
	l.learners = l.learners[:0]
	c := choice{look: l, rest: l.without(at)}
	best, ok := p.choose(&c, nil)
	if !ok {
		var tr Trace
		c.trace = &tr
		p.choose(&c, nil) // again, for the reasons
		return fmt.Errorf("drain %s: no other store can take its replica of %s: %s", store, sh.Desc.ID, tr.summary())
	}
	v := p.propose(l, operator.Drain, c.rest, best.at, at, "")
	if l.leader < 0 {
		l.leader = at
	}
	p.accept(l, v)
	return nil
}

// summary counts, of the last search, how many stores each tier ruled out.
func (t *Trace) summary() string {
	counts := make([]int, TierChosen+1)
	for _, pl := range t.Searches[len(t.Searches)-1].Places {
		counts[pl.Tier]++
	}
	out := ""
	for tier, n := range counts {
		if n == 0 {
			continue
		}
		if out != "" {
			out += ", "
		}
		out += fmt.Sprintf("%d %s", n, ruledOutBy[tier])
	}
	return out
}

var ruledOutBy = map[int]string{int(TierHolds): "hold one already", int(TierConstraint): "do not meet its rule", int(TierLive): "are not up", int(TierSpace): "would be nearly full"}
