package placementsim

import (
	"fmt"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// judge watches every operator for what must never happen. It forgets between events: one event may give cause to move
// what another moved.
type judge struct {
	world   *World
	senders map[int]shard.StoreID // by operator, the store that sends its copies
	brought map[place]bool        // replicas that were brought since the event
	led     map[shard.ID]int      // leaderships moved to balance since the event
	lastEnd int                   // second in which something was still under way
	Wrong   []string
}

type place struct {
	shard shard.ID
	store shard.StoreID
}

// event says that something happened to the cluster.
func (j *judge) event() {
	j.brought, j.led = make(map[place]bool), make(map[shard.ID]int)
	if j.senders == nil {
		j.senders = make(map[int]shard.StoreID)
	}
}

func (j *judge) wrong(sh *schedule.Shard, p schedule.Proposal, what string, args ...any) {
	if len(j.Wrong) < 20 {
		j.Wrong = append(j.Wrong, fmt.Sprintf("at %d s: %s %s to %v: %s (%s)", j.world.now, p.Kind, sh.Desc, p.Goal, fmt.Sprintf(what, args...), p.Why))
	}
}

func (j *judge) begin(sh *schedule.Shard, p schedule.Proposal) {
	w := j.world
	if sh.Pending != nil || p.Epoch != sh.Desc.Epoch {
		j.wrong(sh, p, "it has an operator, or another epoch")
	}
	if p.Kind == operator.BalanceLeaders {
		if j.led[p.Shard]++; j.led[p.Shard] > 2 {
			j.wrong(sh, p, "its leadership moves for the third time in one event")
		}
	}
	if len(p.Goal.Voters) == 0 {
		return
	}
	before := voters(sh.Desc)
	if a, b := w.alive(before), w.alive(p.Goal.Voters); b < a && p.Kind != operator.RemoveReplica {
		j.wrong(sh, p, "%d voters answer now, %d would", a, b)
	}
	// What is compared is the places of the voters that stay and of those that work: a lost one isolates nothing.
	if a, b := w.zonesOf(before), w.zonesOf(p.Goal.Voters); b < a {
		j.wrong(sh, p, "%d zones now, %d then", a, b)
	}
	for _, id := range before {
		gone := true
		for _, g := range p.Goal.Voters {
			gone = gone && g != id
		}
		if gone && alive(w.store(id)) && w.store(id).State == schedule.Up && j.brought[place{p.Shard, id}] {
			j.wrong(sh, p, "the replica on %s was brought there by the same event", id)
		}
	}
	added := copies(sh, p.Goal.Voters)
	for _, id := range added {
		j.brought[place{p.Shard, id}] = true
		if w.store(id).State != schedule.Up {
			j.wrong(sh, p, "%s is %s", id, w.store(id).State)
		}
		if s := w.store(id); s.Receiving >= schedule.DefaultLimits().Receiving {
			j.wrong(sh, p, "%s receives %d already", id, s.Receiving)
		}
	}
	if len(added) > 0 {
		j.senders[w.Tally.Begun] = sh.Leader
	}
}

// end looks at the shard as the next report shows it.
func (j *judge) end(sh *schedule.Shard, p schedule.Proposal) {
	seen := make(map[shard.StoreID]bool)
	for _, r := range sh.Desc.Replicas {
		if seen[r.Store] {
			j.wrong(sh, p, "two replicas on %s", r.Store)
		}
		seen[r.Store] = true
	}
}

func (w *World) alive(ids []shard.StoreID) (n int) {
	for _, id := range ids {
		if alive(w.store(id)) {
			n++
		}
	}
	return n
}

// zonesOf counts the zones of those of the stores that answer.
func (w *World) zonesOf(ids []shard.StoreID) int {
	seen := make(map[string]bool)
	for _, id := range ids {
		if s := w.store(id); alive(s) {
			seen[s.Label("zone")] = true
		}
	}
	return len(seen)
}
