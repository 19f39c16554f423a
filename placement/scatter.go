package placement

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// maxScatter bounds how many shards one order scatters, maxScatterRounds how often each is looked at for it: one replica
// moves in a round.
const (
	maxScatter       = 4096
	maxScatterRounds = 8
)

// scatter spreads a set of shards over the stores as if there were no others: for the parts of one table, which the
// balance of the whole cluster may well leave together.
func (s *Server) scatter(ctx context.Context, l *leadership, o *beat.ScatterOrder, dry bool) (*beat.Outcome, error) {
	set, err := l.view.scatterSet(o)
	if err != nil {
		return nil, err
	}
	pic := l.view.picture(l.policy.current())
	return s.byHand(ctx, l, spreadOut(set, pic), dry)
}

// scatterSet are the shards that an order means, in the order of keys. Those that something is under way for are left
// out: what is more urgent than this would be in the way.
func (v *view) scatterSet(o *beat.ScatterOrder) ([]schedule.Shard, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var ds []*shard.Descriptor
	if o.Range {
		ds = v.shards.Overlapping(shard.Range{Start: o.Start, End: o.End})
	}
	for _, id := range o.Shards {
		d, ok := v.shards.Get(id)
		if !ok || id == shard.MetaID {
			return nil, invalidf("there is no shard %s to scatter; 'skerry ctl shard list' shows them", id)
		}
		ds = append(ds, d)
	}
	slices.SortFunc(ds, func(a, b *shard.Descriptor) int { return a.Range.Start.Compare(b.Range.Start) })
	ds = slices.CompactFunc(ds, func(a, b *shard.Descriptor) bool { return a.ID == b.ID })
	if len(ds) == 0 || len(ds) > maxScatter {
		return nil, invalidf("%d shards to scatter: it can be 1 to %d at once", len(ds), maxScatter)
	}
	var set []schedule.Shard
	for _, d := range ds {
		sh := schedule.Shard{Desc: d}
		v.knownLocked(&sh)
		if settled(d) && sh.Pending == nil && sh.Leader != 0 {
			set = append(set, sh)
		}
	}
	return set, nil
}

// spreadOut asks the schedulers to balance the set alone, round by round, and returns what that comes to.
func spreadOut(set []schedule.Shard, pic *schedule.View) []schedule.Proposal {
	now := slices.Clone(set)
	sched := schedule.New(0, schedule.Limits{Receiving: len(set), Sending: len(set), Leaders: len(set), ToleranceFraction: 0.01, ToleranceShards: 0.5,
		LeaderToleranceFraction: 0.01, LeaderTolerance: 0.5, WorkTolerance: math.Inf(1)})
	for range maxScatterRounds {
		v := setView(now, pic)
		ps := sched.Propose(v, len(now))
		moved := false
		for _, p := range ps {
			if p.Kind == operator.BalanceShards || p.Kind == operator.BalanceLeaders {
				i := slices.IndexFunc(now, func(sh schedule.Shard) bool { return sh.Desc.ID == p.Shard })
				now[i] = reach(&now[i], p.Goal)
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	var out []schedule.Proposal
	for i := range set {
		was, is := operator.Targets(set[i].Desc, operator.Goal{}), operator.Targets(now[i].Desc, operator.Goal{})
		p := schedule.Proposal{Shard: set[i].Desc.ID, Epoch: set[i].Desc.Epoch, Kind: operator.Scatter,
			Why: fmt.Sprintf("an administrator scatters it with %d others", len(set)-1)}
		if !slices.Equal(was, is) {
			p.Goal.Voters, p.Bytes = is, set[i].Bytes
		}
		if now[i].Leader != set[i].Leader {
			p.Goal.Leader = now[i].Leader
		}
		if len(p.Goal.Voters) > 0 || p.Goal.Leader != 0 {
			out = append(out, p)
		}
	}
	return out
}

// setView is a picture in which there are no shards but these.
func setView(set []schedule.Shard, pic *schedule.View) *schedule.View {
	out := &schedule.View{Stores: slices.Clone(pic.Stores), Count: len(set), Rules: pic.Rules, Now: pic.Now}
	at := make(map[shard.StoreID]*schedule.Store)
	for i := range out.Stores {
		st := &out.Stores[i]
		st.Shards, st.Leaders, st.Bytes, st.Receiving, st.Sending = 0, 0, 0, 0, 0
		at[st.ID] = st
	}
	for i := range set {
		for _, r := range set[i].Desc.Replicas {
			if st := at[r.Store]; st != nil {
				st.Shards, st.Bytes = st.Shards+1, st.Bytes+set[i].Bytes
			}
		}
		if st := at[set[i].Leader]; st != nil {
			st.Leaders++
		}
	}
	out.Shards = func(from shard.Key, f func(*schedule.Shard) bool) {
		for i := range set {
			if d := set[i].Desc; (len(d.Range.End) == 0 || from.Compare(d.Range.End) < 0) && !f(&set[i]) {
				return
			}
		}
	}
	out.Lookup = func(id shard.ID) *schedule.Shard {
		for i := range set {
			if set[i].Desc.ID == id {
				return &set[i]
			}
		}
		return nil
	}
	return out
}

// reach is a shard that has reached a goal. Its new replicas have the ids of their stores, which nobody sees.
func reach(sh *schedule.Shard, g operator.Goal) schedule.Shard {
	out := *sh
	d := *sh.Desc
	d.Replicas = nil
	for _, st := range operator.Targets(sh.Desc, g) {
		r, ok := sh.Desc.ReplicaOn(st)
		if !ok {
			r = shard.Replica{ID: shard.ReplicaID(st), Store: st}
		}
		r.Role = shard.Voter
		d.Replicas = append(d.Replicas, r)
	}
	out.Desc = &d
	if g.Leader != 0 {
		out.Leader = g.Leader
	} else if _, ok := d.ReplicaOn(sh.Leader); !ok {
		out.Leader = d.Replicas[0].Store
	}
	return out
}
