package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// Change is what a Plan asks about. The zero Change asks what is still to come as things stand.
type Change struct {
	// WithoutStore are stores that leave: those that answer are drained, the others count as removed.
	WithoutStore []shard.StoreID
	// AddStores are stores that come, empty, by capacity and labels. Their ids must be new.
	AddStores []Store
}

// Outlook is what would happen.
type Outlook struct {
	// Operators are the first maxPlanned of those that would be begun, in their order; Count is how many by kind.
	Operators []Proposal
	Count     []KindCount
	Bytes     uint64 // that would be copied
	Stores    []StoreOutlook
	// Unplaced are the shards that would not stand as they should at the end, the first maxPlanned of them;
	// UnplacedCount is how many.
	Unplaced      []Unplaced
	UnplacedCount int
	// Unfinished: the plan was given up after as many operators as there are replicas, four times.
	Unfinished bool
}

// KindCount is how many operators of a kind.
type KindCount struct {
	Kind  operator.Kind
	Count int
	Bytes uint64
}

// StoreOutlook is a store before and after.
type StoreOutlook struct {
	Store         shard.StoreID
	Before, After Holding
}

// Holding is what a store has.
type Holding struct {
	Shards, Leaders int
	Bytes           uint64
}

// Unplaced is a shard that cannot be as it should.
type Unplaced struct {
	Shard shard.ID
	Why   string
}

// maxPlanned is how many operators and shards an Outlook names: more than anybody reads.
const maxPlanned = 1000

// Plan runs a scheduler over a copy of the cluster with a change until it rests. It changes nothing. Time is not part of
// it: operators end at once, so the limits matter only for the order. It copies the list of shards (a hundred bytes each)
// and costs about 30 microseconds for each operator with a thousand stores.
func Plan(v *View, change Change, limits Limits, seed uint64) (Outlook, error) {
	m := newModel(v)
	if err := m.change(change); err != nil {
		return Outlook{}, err
	}
	var out Outlook
	for i := range m.stores {
		out.Stores = append(out.Stores, StoreOutlook{Store: m.stores[i].ID, Before: holding(&m.stores[i])})
	}
	s := New(seed, limits)
	bound := 1000
	for i := range m.stores {
		bound += 4 * m.stores[i].Shards
	}
	now := time.Duration(0)
	for idle, n := 0, 0; idle <= 2*m.roundCalls() && !out.Unfinished; {
		v := m.view()
		v.Now = now
		ps := s.Propose(v, beginPlanned)
		if idle++; len(ps) > 0 {
			idle = 0
		}
		if idle == m.roundCalls() {
			now += s.limits.Cooldown + 1 // what was moved may be moved again
		}
		for _, p := range ps {
			out.note(p)
			m.apply(p)
			s.Touch(p.Shard)
		}
		n += len(ps)
		out.Unfinished = n > bound
	}
	for i := range m.stores {
		out.Stores[i].After = holding(&m.stores[i])
	}
	m.findUnplaced(&out, limits.orDefault())
	return out, nil
}

// beginPlanned is how many operators a call may begin in a plan.
const beginPlanned = 4096

// roundCalls is how many calls without a proposal say that there is nothing to propose.
func (m *model) roundCalls() int { return len(m.shards)/balanceShards + 1 }

func holding(s *Store) Holding {
	return Holding{Shards: s.Shards, Leaders: s.Leaders, Bytes: s.Bytes}
}

// change makes stores leave and come.
func (m *model) change(c Change) error {
	for _, id := range c.WithoutStore {
		i, ok := m.at[id]
		if !ok {
			return fmt.Errorf("plan without %s: there is no such store; 'skerry ctl store list' shows them", id)
		}
		if s := &m.stores[i]; s.State == Up || s.State == Draining {
			s.State = Draining
		} else {
			s.State = Removed
		}
	}
	for _, s := range c.AddStores {
		if _, ok := m.at[s.ID]; ok || s.ID == 0 {
			return fmt.Errorf("plan with a new %s: the id is taken", s.ID)
		}
		s.State, s.Shards, s.Leaders, s.Bytes, s.Receiving, s.Sending = Up, 0, 0, 0, 0, 0
		if s.Free == 0 {
			s.Free = s.Capacity
		}
		m.stores = append(m.stores, s)
	}
	slices.SortFunc(m.stores, func(a, b Store) int { return int(int64(a.ID) - int64(b.ID)) })
	for i := range m.stores {
		m.at[m.stores[i].ID] = i
	}
	return nil
}

func (o *Outlook) note(p Proposal) {
	if len(o.Operators) < maxPlanned {
		o.Operators = append(o.Operators, p)
	}
	i := slices.IndexFunc(o.Count, func(k KindCount) bool { return k.Kind == p.Kind })
	if i < 0 {
		i = len(o.Count)
		o.Count = append(o.Count, KindCount{Kind: p.Kind})
	}
	o.Count[i].Count++
	o.Count[i].Bytes += p.Bytes
	o.Bytes += p.Bytes
}

// findUnplaced lists the shards that are not as they should be although nothing more is proposed.
func (m *model) findUnplaced(out *Outlook, limits Limits) {
	p := newPicture(m.view(), limits, 0)
	for i := range m.shards {
		l := p.look(&m.shards[i])
		why := p.unplaced(l, out.UnplacedCount < maxPlanned)
		if why == "" || l.Desc.ID == shard.MetaID {
			continue
		}
		if out.UnplacedCount++; len(out.Unplaced) < maxPlanned {
			out.Unplaced = append(out.Unplaced, Unplaced{Shard: l.Desc.ID, Why: why})
		}
	}
}

// unplaced says what keeps the replicas of a shard from standing as they should, "" if they do. The reason is not worked
// out if nobody will read it.
func (p *picture) unplaced(l *look, tell bool) string {
	if why := p.stuck(l); why != "" {
		return why
	}
	for _, st := range repairs() {
		if st.leads || !st.wanted(p, l) {
			continue
		}
		var tr *Trace
		if tell {
			tr = &Trace{}
		}
		if v := st.resolve(p, l, tr); v.outcome == impossible || v.outcome == waits {
			if !tell {
				return st.name
			}
			return tr.Notes[len(tr.Notes)-1]
		}
	}
	return ""
}

// Lines are the outlook for people, one line each.
func (o Outlook) Lines() []string {
	var out []string
	for _, k := range o.Count {
		out = append(out, fmt.Sprintf("%s: %d, copying %s", k.Kind, k.Count, size(k.Bytes)))
	}
	if len(o.Count) == 0 {
		out = append(out, "nothing would be done")
	}
	for _, s := range o.Stores {
		if s.Before != s.After {
			out = append(out, fmt.Sprintf("%s: replicas %d -> %d, leaders %d -> %d, %s -> %s", s.Store, s.Before.Shards, s.After.Shards, s.Before.Leaders, s.After.Leaders, size(s.Before.Bytes), size(s.After.Bytes)))
		}
	}
	if o.UnplacedCount > 0 {
		out = append(out, fmt.Sprintf("%d shards would not stand as they should:", o.UnplacedCount))
	}
	for i, u := range o.Unplaced {
		if i == 10 {
			out = append(out, "  and more")
			break
		}
		out = append(out, fmt.Sprintf("  %s: %s", u.Shard, u.Why))
	}
	if o.Unfinished {
		out = append(out, "given up: too many operators")
	}
	return out
}
