package schedule

import (
	"hash/fnv"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// Scheduler decides what to begin next. It keeps no picture of the cluster, only how far it has looked, and which
// shards it should look at first: losing it costs one round of looking, nothing else. Not safe for concurrent use.
//
// One call of Propose costs milliseconds, however many shards there are. It examines the shards that were touched, those
// that waited for a limit, the next 8,192 in the order of keys for something to repair, and, if nothing waits for
// repair, the next 4,096 for something to balance. A full round over a million shards takes 123 calls to repair and 245
// to balance; a cluster of up to 4,096 shards is examined as a whole by each call. When whole rounds found nothing to do
// and nothing was heard of, calls look at fewer shards (calm). Touch the shards that changed or lost
// something, and they need not wait for the round.
type Scheduler struct {
	limits  Limits
	seed    uint64
	repairs []stage

	scan, shards, leaders, work cursor
	touched                     []shard.ID
	isTouched                   map[shard.ID]bool
	// backlog holds, by urgency, the shards with something to do that a limit held back, oldest first.
	backlog   [][]shard.ID
	inBacklog map[shard.ID]bool
	moved     recent
	// news is a hash of what decides over repairs: states and labels of stores, and rules. When it changes, unseen is
	// how many shards are still to be examined before anything is balanced.
	news   uint64
	unseen int
	calm   calm
}

// cursor is how far a round over the keyspace has come.
type cursor struct{ next shard.Key }

// New makes a Scheduler. The seed decides between what is equal in all else; schedulers with the same seed and the same
// views propose the same.
func New(seed uint64, limits Limits) *Scheduler {
	s := &Scheduler{limits: limits.orDefault(), seed: seed, repairs: repairs(),
		isTouched: make(map[shard.ID]bool), inBacklog: make(map[shard.ID]bool), moved: recent{stores: make(map[shard.ID][]shard.StoreID)}}
	s.backlog = make([][]shard.ID, len(s.repairs))
	return s
}

// Touch asks that a shard be examined by the next call: its descriptor or leader changed, its operator ended, or it lost
// a replica. Touching too many shards is no error: those beyond 65,536 wait for the round.
func (s *Scheduler) Touch(id shard.ID) {
	if !s.isTouched[id] && len(s.touched) < maxBacklog {
		s.isTouched[id] = true
		s.touched = append(s.touched, id)
	}
}

// call is one call of Propose.
type call struct {
	*Scheduler
	p    *picture
	view *View
	most int
	out  []Proposal
	// found are the shards with something to repair, by the first stage that wants something.
	found [][]Shard
	seen  map[shard.ID]bool // in found
	done  map[shard.ID]bool // in out
	full  bool              // something to repair was held back
	// stirred says that there was something to hear of or to do, be it that it has to wait.
	stirred bool
}

// SetLimits has the scheduler go by other limits from the next call on.
func (s *Scheduler) SetLimits(l Limits) {
	if l = l.orDefault(); l != s.limits {
		s.limits, s.calm = l, calm{}
	}
}

// Propose returns what to begin now, most urgent first, at most `most` operators and within the limits. It proposes nothing
// for a shard that has an operator, and at most one for any other. The view is not changed; proposals are made as if
// those before them were done.
func (s *Scheduler) Propose(v *View, most int) []Proposal {
	if most <= 0 || v.Count == 0 {
		return nil
	}
	c := &call{Scheduler: s, p: newPicture(v, s.limits, s.seed), view: v, most: most, found: make([][]Shard, len(s.repairs)), seen: make(map[shard.ID]bool), done: make(map[shard.ID]bool)}
	news := v.news()
	if news != s.news {
		s.news, s.unseen = news, v.Count
	}
	c.stirred = s.calm.hears(news, v) || len(s.touched) > 0
	c.recall()
	n := c.walk(&s.scan, s.calm.pace(scanShards, v.Count), c.examine)
	s.unseen = max(0, s.unseen-n)
	c.repair()
	if c.full || s.unseen > 0 || v.Paused {
		c.stirred = true // nothing is balanced by this call, so it says nothing of that
	} else {
		s.moved.forget(v.Now - s.limits.Cooldown)
		c.p.looks = placeLooks
		c.balance(&s.shards, shardBalance())
		c.balance(&s.leaders, leaderBalance())
		c.balance(&s.work, workBalance())
	}
	s.calm.note(n, c.stirred || len(c.out) > 0)
	return c.out
}

// recall examines shards that were touched, then those that waited.
func (c *call) recall() {
	get := c.view.lookup()
	n := min(len(c.touched), backlogShards)
	for _, id := range c.touched[:n] {
		delete(c.isTouched, id)
		if sh := get(id); sh != nil {
			c.examine(sh)
		}
	}
	c.touched = slices.Delete(c.touched, 0, n)
	left := backlogShards
	for i := range c.backlog {
		n := min(len(c.backlog[i]), left)
		left -= n
		for _, id := range c.backlog[i][:n] {
			delete(c.inBacklog, id)
			if sh := get(id); sh != nil {
				c.examine(sh)
			}
		}
		c.backlog[i] = slices.Delete(c.backlog[i], 0, n)
	}
}

// walk calls f for the next shards from a cursor on, at most `most` and each once, until f returns false. It returns how
// many it called f for. A shard for which f returned false is the first of the next walk.
func (c *call) walk(cur *cursor, most int, f func(*Shard) bool) int {
	begin, n := cur.next, 0
	stopped := false
	visit := func(sh *Shard) bool {
		if n == most {
			stopped = true
		} else if stopped = !f(sh); !stopped {
			n++
		}
		if stopped {
			cur.next = sh.Desc.Range.Start
		}
		return !stopped
	}
	c.view.Shards(begin, visit)
	if stopped {
		return n
	}
	cur.next = nil // the end of the keyspace: go on at its beginning, as far as where this walk began
	if len(begin) != 0 {
		c.view.Shards(nil, func(sh *Shard) bool {
			if sh.Desc.Range.Start.Compare(begin) >= 0 {
				cur.next = sh.Desc.Range.Start
				return false
			}
			return visit(sh)
		})
	}
	return n
}

// examine files a shard under the first stage that wants something.
func (c *call) examine(sh *Shard) bool {
	if sh.Pending != nil || sh.Desc.ID == shard.MetaID || c.seen[sh.Desc.ID] {
		return true
	}
	l := c.p.look(sh)
	for i := range c.repairs {
		if c.repairs[i].wanted(c.p, l) {
			c.seen[sh.Desc.ID] = true
			c.found[i] = append(c.found[i], *sh)
			break
		}
	}
	return true
}

// repair turns what was found into proposals: stage by stage, and within one those with the fewest voters that answer
// first. When many in succession had to wait for a limit, the others of the stage are kept for later without being asked,
// and come before those that waited the next time.
func (c *call) repair() {
	for i, found := range c.found {
		slices.SortStableFunc(found, func(a, b Shard) int { return c.p.spare(&a) - c.p.spare(&b) })
		var waited []shard.ID
		inRow := 0
		for j := range found {
			if len(c.out) == c.most || c.p.looks <= 0 || inRow == waitsInRow {
				c.hold(i, found[j].Desc.ID)
			} else if l := c.p.look(&found[j]); c.resolve(l, c.repairs[i:]) == waits {
				waited, inRow = append(waited, l.Desc.ID), inRow+1
			} else {
				inRow = 0
			}
		}
		for _, id := range waited {
			c.hold(i, id)
		}
	}
}

// spare is how many voters of a shard may fail before it cannot work.
func (p *picture) spare(sh *Shard) int {
	l := p.look(sh)
	return l.alive - (len(l.voters)/2 + 1)
}

// hold keeps a shard for the next calls.
func (c *call) hold(urgency int, id shard.ID) {
	c.full = true
	if !c.inBacklog[id] && len(c.inBacklog) < maxBacklog {
		c.inBacklog[id] = true
		c.backlog[urgency] = append(c.backlog[urgency], id)
	}
}

// resolve asks stages in turn and takes the first proposal. A stage whose wish is impossible lets later ones ask, but no
// replica of a shard is moved for a lesser reason while one that was lost is not replaced.
func (c *call) resolve(l *look, stages []stage) outcome {
	if !c.p.steerable(l) {
		return impossible
	}
	leadsOnly := false
	for i := range stages {
		st := &stages[i]
		if leadsOnly && !st.leads || !st.wanted(c.p, l) {
			continue
		}
		v := st.resolve(c.p, l, nil)
		switch v.outcome {
		case proposed:
			c.p.accept(l, v)
			c.out = append(c.out, v.proposal)
			c.done[l.Desc.ID] = true
			if (st.kind == operator.BalanceShards || st.kind == operator.BalanceLoad) && v.add >= 0 {
				c.moved.note(movedAt{id: l.Desc.ID, from: c.p.stores[v.del].ID, to: c.p.stores[v.add].ID, at: c.view.Now})
			}
			return proposed
		case waits:
			return waits
		case impossible:
			leadsOnly = leadsOnly || repairing(st.kind)
		}
	}
	return fine
}

// repairing reports whether a shard that wants such an operator is not whole.
func repairing(k operator.Kind) bool {
	return k == operator.Finish || k == operator.Replace || k == operator.AddReplica
}

// steerable reports whether somebody could carry out a change: a leader that is known and answers, and a quorum behind
// it. Without them nothing is proposed, since it would only hold slots that others can use.
func (p *picture) steerable(l *look) bool {
	return l.quorum && l.leader >= 0 && p.stores[l.leader].alive
}

// balance asks one balancing stage of the next shards, until the call has no more to spend, or many in succession had to
// wait for a limit.
func (c *call) balance(cur *cursor, st stage) {
	inRow, stages := 0, []stage{st}
	c.walk(cur, c.calm.pace(balanceShards, c.view.Count), func(sh *Shard) bool {
		if len(c.out) == c.most || c.p.looks <= 0 || inRow == waitsInRow {
			return false
		}
		if sh.Pending != nil || sh.Desc.ID == shard.MetaID || c.done[sh.Desc.ID] {
			return true
		}
		l := c.p.look(sh)
		if !c.p.steerable(l) {
			return true
		}
		for _, id := range c.moved.stores[sh.Desc.ID] {
			l.resting = append(l.resting, c.p.index(id))
		}
		switch c.resolve(l, stages) {
		case waits:
			inRow++
			c.stirred = true
		case proposed:
			inRow = 0
		}
		return true
	})
}

// lookup returns View.Lookup, or what does the same slowly.
func (v *View) lookup() func(shard.ID) *Shard {
	if v.Lookup != nil {
		return v.Lookup
	}
	var all map[shard.ID]*Shard
	return func(id shard.ID) *Shard {
		if all == nil {
			all = make(map[shard.ID]*Shard, v.Count)
			v.Shards(nil, func(sh *Shard) bool {
				cp := *sh
				all[sh.Desc.ID] = &cp
				return true
			})
		}
		return all[id]
	}
}

// news hashes what decides over repairs. That a store is suspect for a while is no news.
func (v *View) news() uint64 {
	h := fnv.New64a()
	var b []byte
	text := func(s string) { b = append(append(b, s...), 0) }
	for i := range v.Stores {
		s := &v.Stores[i]
		state := s.State
		if state == Suspect {
			state = Up
		}
		b = append(b[:0], byte(s.ID), byte(s.ID>>8), byte(s.ID>>16), byte(s.ID>>24), byte(s.ID>>32), byte(s.ID>>40), byte(s.ID>>48), byte(s.ID>>56), byte(state))
		for _, l := range s.Labels {
			text(l.Key)
			text(l.Value)
		}
		_, _ = h.Write(b)
	}
	_, _ = h.Write(EncodeRules(v.Rules))
	return h.Sum64()
}
