package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/faultfs"
)

// nemesis hurts a cluster in four lanes at once: processes and their disks, the network, the administration, the clocks.
// Each lane does one harm after the other, and pauses between them; now and then all lanes keep calm together.
type nemesis struct {
	c     *Cluster
	trial *trial
	seed  uint64
	long  bool // harms that take half a minute are allowed

	calm sync.RWMutex // held for reading during a harm
	over atomic.Bool  // no more harm

	mu      sync.Mutex
	counts  map[string]int
	mayExit map[*Proc]bool // its disk is bad: it shall stop by itself
	spared  *Proc          // it is not ended any more, so that it grows old
}

func newNemesis(c *Cluster, t *trial, seed uint64, long bool) *nemesis {
	return &nemesis{c: c, trial: t, seed: seed, long: long, counts: make(map[string]int), mayExit: make(map[*Proc]bool)}
}

// harm is one way to hurt. It returns when what it did is undone.
type harm struct {
	name   string
	weight int
	do     func(l *lane)
}

// lane does one harm at a time.
type lane struct {
	*nemesis
	rnd   *rand.Rand
	harms []harm
	rest  time.Duration // at most, between two harms
}

// lanes are all there are.
func (n *nemesis) lanes() []*lane {
	out := []*lane{
		{harms: processHarms(n.long), rest: 4 * time.Second},
		{harms: networkHarms(), rest: 3 * time.Second},
		{harms: adminHarms(), rest: time.Second},
		{harms: clockHarms(), rest: 3 * time.Second},
	}
	for i, l := range out {
		l.nemesis, l.rnd = n, rand.New(rand.NewPCG(n.seed, uint64(i)))
	}
	return out
}

// run hurts until the time is over, or there was enough, and leaves the cluster whole.
func (n *nemesis) run(end time.Time) {
	var wg sync.WaitGroup
	for _, l := range n.lanes() {
		wg.Go(func() {
			for time.Now().Before(end) && !n.over.Load() {
				l.step()
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) && !n.over.Load() {
			time.Sleep(min(15*time.Second, time.Until(end)))
			n.calm.Lock()
			time.Sleep(3 * time.Second)
			n.calm.Unlock()
		}
	})
	wg.Wait()
}

// step does one harm and rests.
func (l *lane) step() {
	sum := 0
	for _, h := range l.harms {
		sum += h.weight
	}
	at := l.rnd.IntN(sum)
	for _, h := range l.harms {
		if at -= h.weight; at < 0 {
			l.calm.RLock()
			l.count(h.name)
			h.do(l)
			l.calm.RUnlock()
			break
		}
	}
	l.sleep(100*time.Millisecond, l.rest)
}

func (n *nemesis) count(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[what]++
}

// story says how often what was done.
func (n *nemesis) story() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for what, k := range n.counts {
		out = append(out, fmt.Sprintf("%s %d", what, k))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (l *lane) sleep(least, most time.Duration) {
	time.Sleep(least + time.Duration(l.rnd.Int64N(int64(most-least))))
}

// any are k nodes by chance.
func (l *lane) any(k int) []*Proc {
	var out []*Proc
	for _, i := range l.rnd.Perm(len(l.c.Nodes))[:k] {
		out = append(out, l.c.Nodes[i])
	}
	return out
}

func (l *lane) one() *Proc { return l.any(1)[0] }

// mortal are those of some nodes that may be ended.
func (l *lane) mortal(of []*Proc) []*Proc {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(of, func(p *Proc) bool { return p == l.spared })
}

// spare lets a node live from now on.
func (n *nemesis) spare(p *Proc) {
	n.calm.Lock() // whatever was being done to it is over
	defer n.calm.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spared = p
}

// placementLeader is the node whose member leads, or any.
func (l *lane) placementLeader() *Proc {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	members, _ := l.trial.db.Admin().Members(ctx)
	for _, m := range members {
		for _, p := range l.c.Nodes {
			if m.Leader && m.Addr == p.Addr() {
				return p
			}
		}
	}
	return l.one()
}

// kill ends processes at the same moment and starts them again.
func (l *lane) kill(victims []*Proc) {
	victims = l.mortal(victims)
	for _, p := range victims {
		p.Pause()
	}
	for _, p := range victims {
		p.Kill()
	}
	l.sleep(50*time.Millisecond, 2500*time.Millisecond)
	for _, p := range victims {
		p.Start()
	}
}

// blackout kills processes after their disks have hung for a while: what they said meanwhile without a sync is lost.
func (l *lane) blackout(victims []*Proc) {
	victims = l.mortal(victims)
	for _, p := range victims {
		p.Order(order{Disk: &faultfs.Faults{Hang: true}})
	}
	l.sleep(5*time.Millisecond, lease)
	l.kill(victims)
}

// pause stops processes without their knowledge.
func (l *lane) pause(victims []*Proc, least, most time.Duration) {
	for _, p := range victims {
		p.Pause()
	}
	l.sleep(least, most)
	for _, p := range victims {
		p.Resume()
	}
}

// lease is the longest that a leader may serve without hearing of anybody: an election timeout.
const lease = time.Second

func processHarms(long bool) []harm {
	out := []harm{
		{"kill one", 4, func(l *lane) { l.kill(l.any(1)) }},
		{"kill minority", 2, func(l *lane) { l.kill(l.any((len(l.c.Nodes) - 1) / 2)) }},
		{"kill majority", 1, func(l *lane) { l.kill(l.any(len(l.c.Nodes)/2 + 1)) }},
		{"kill all", 1, func(l *lane) { l.kill(l.any(len(l.c.Nodes))) }},
		{"blackout", 2, func(l *lane) { l.blackout(l.any(len(l.c.Nodes)/2 + 1 + l.rnd.IntN(len(l.c.Nodes)/2+1))) }},
		{"kill placement leader", 1, func(l *lane) { l.kill([]*Proc{l.placementLeader()}) }},
		{"pause", 2, func(l *lane) { l.pause(l.any(1), 50*time.Millisecond, lease) }},
		{"pause beyond lease", 2, func(l *lane) { l.pause(l.any(1), lease+lease/2, 5*lease) }},
		{"pause placement leader", 2, func(l *lane) { l.pause([]*Proc{l.placementLeader()}, lease, 4*lease) }},
		{"pause majority", 1, func(l *lane) { l.pause(l.any(len(l.c.Nodes)/2+1), lease/2, 3*lease) }},
		{"slow disk", 2, func(l *lane) {
			l.disk(faultfs.Faults{WriteDelay: time.Duration(l.rnd.IntN(2000)) * time.Microsecond, SyncDelay: time.Duration(l.rnd.IntN(150)) * time.Millisecond})
		}},
		{"hung disk", 2, func(l *lane) { l.disk(faultfs.Faults{Hang: true}) }},
		{"full disk", 1, func(l *lane) { l.stopByDisk(faultfs.Faults{NoSpace: true}, 10*time.Second) }},
		{"failing sync", 2, func(l *lane) { l.stopByDisk(faultfs.Faults{FailSync: true}, 10*time.Second) }},
	}
	if long {
		out = append(out, harm{"disk hung for good", 1, func(l *lane) { l.stopByDisk(faultfs.Faults{Hang: true}, 40*time.Second) }})
	}
	return out
}

// part picks which of a node's disks is concerned.
func (l *lane) part() string { return []string{"", "/store/", "/placement/"}[l.rnd.IntN(3)] }

// disk makes one disk bad for a while, and good again.
func (l *lane) disk(f faultfs.Faults) {
	f.Path = l.part()
	p := l.one()
	p.Order(order{Disk: &f})
	l.sleep(500*time.Millisecond, 4*time.Second)
	p.Order(order{Disk: &faultfs.Faults{}})
}

// stopByDisk makes one disk bad until the process ends because of it, and gives the next one a good disk. A process that
// did not write meanwhile may not have noticed.
func (l *lane) stopByDisk(f faultfs.Faults, patience time.Duration) {
	victims := l.mortal(l.any(1))
	if len(victims) == 0 {
		return
	}
	p := victims[0]
	f.Path = l.part()
	l.expectExit(p, true)
	p.Order(order{Disk: &f})
	for end := time.Now().Add(patience); !p.Exited() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	if p.Exited() {
		l.count("stopped by itself")
	}
	p.Kill()
	l.expectExit(p, false)
	p.Start()
}

func (n *nemesis) expectExit(p *Proc, may bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mayExit[p] = may
}

// watch notes processes that ended although nothing was wrong with their disks.
func (n *nemesis) watch() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.c.Nodes {
		if p.Exited() && !n.mayExit[p] {
			log := p.Log()
			n.trial.violated("node %d ended by itself:\n%s", p.Index+1, log[max(0, len(log)-6000):])
			n.mayExit[p] = true // once is enough
		}
	}
}

func networkHarms() []harm {
	return []harm{
		{"isolate", 3, func(l *lane) {
			v := l.one().Index
			l.cut(func(from, to int, _ linkKind) bool { return from == v || to == v })
		}},
		{"isolate from nodes", 2, func(l *lane) { // it still talks to clients
			v := l.one().Index
			l.cut(func(from, to int, kind linkKind) bool { return kind != clientLink && (from == v || to == v) })
		}},
		{"mute", 2, func(l *lane) { // hears everybody, is heard by nobody
			v := l.one().Index
			l.cut(func(from, _ int, kind linkKind) bool { return kind != clientLink && from == v })
		}},
		{"deafen", 2, func(l *lane) { // the other way round
			v := l.one().Index
			l.cut(func(_, to int, kind linkKind) bool { return kind != clientLink && to == v })
		}},
		{"cut pair", 2, func(l *lane) { // the others are a bridge between them
			v := l.any(2)
			a, b := v[0].Index, v[1].Index
			l.cut(func(from, to int, _ linkKind) bool { return from == a && to == b || from == b && to == a })
		}},
		{"cut one way", 2, func(l *lane) {
			v := l.any(2)
			a, b := v[0].Index, v[1].Index
			l.cut(func(from, to int, _ linkKind) bool { return from == a && to == b })
		}},
		{"halves", 2, func(l *lane) {
			first := make(map[int]bool)
			for _, p := range l.any(len(l.c.Nodes) / 2) {
				first[p.Index] = true
			}
			l.cut(func(from, to int, kind linkKind) bool { return kind != clientLink && first[from] != first[to] })
		}},
		{"ring", 1, func(l *lane) { // nobody reaches the next one, who reaches him
			n := len(l.c.Nodes)
			l.cut(func(from, to int, kind linkKind) bool { return kind != clientLink && to == (from+1)%n })
		}},
		{"stores from placement", 2, func(l *lane) {
			l.cut(func(_, _ int, kind linkKind) bool { return kind == callLink })
		}},
		{"members from each other", 1, func(l *lane) { // placement has no quorum
			l.cut(func(_, _ int, kind linkKind) bool { return kind == memberLink })
		}},
		{"stores from each other", 1, func(l *lane) { // the shards have none
			l.cut(func(_, _ int, kind linkKind) bool { return kind == storeLink })
		}},
		{"clients from one", 2, func(l *lane) {
			v := l.one().Index
			l.cut(func(from, to int, _ linkKind) bool { return from == clients && to == v || from == v && to == clients })
		}},
		{"clients one way", 2, func(l *lane) { // requests arrive, answers do not
			v := l.one().Index
			l.cut(func(from, to int, _ linkKind) bool { return from == v && to == clients })
		}},
		{"flap", 2, func(l *lane) {
			v := l.one().Index
			for range 3 + l.rnd.IntN(8) {
				l.c.net.cut(func(from, to int, _ linkKind) bool { return from == v || to == v })
				l.sleep(20*time.Millisecond, 400*time.Millisecond)
				l.c.net.cut(nil)
				l.sleep(20*time.Millisecond, 400*time.Millisecond)
			}
		}},
		{"slow links", 2, func(l *lane) {
			d := time.Duration(1+l.rnd.IntN(60)) * time.Millisecond
			some := func(k link) bool { return l.rnd.IntN(2) == 0 }
			l.c.net.each(some, func(p *proxy) { p.slow(d) })
			l.sleep(time.Second, 4*time.Second)
			l.c.net.each(func(link) bool { return true }, func(p *proxy) { p.slow(0) })
		}},
		{"break connections", 2, func(l *lane) {
			l.c.net.each(func(link) bool { return l.rnd.IntN(2) == 0 }, (*proxy).breakOff)
		}},
	}
}

// cut cuts links for a while. In half of the cases what they held back is lost when they heal, with the connections.
func (l *lane) cut(blocked func(from, to int, kind linkKind) bool) {
	l.c.net.cut(blocked)
	l.sleep(300*time.Millisecond, 4*time.Second)
	if l.rnd.IntN(2) == 0 {
		l.c.net.each(func(k link) bool { return blocked(k.from, k.to, k.kind) || blocked(k.to, k.from, k.kind) }, (*proxy).breakOff)
	}
	l.c.net.cut(nil)
}

// maxShards bounds the splits: there are no merges yet.
const maxShards = 80

func adminHarms() []harm {
	return []harm{
		{"transfer", 3, func(l *lane) {
			l.shards(func(ctx context.Context, all []client.ShardInfo) {
				for range 4 {
					s := all[l.rnd.IntN(len(all))]
					_ = l.trial.db.Admin().TransferLeader(ctx, s.ID, s.Replicas[l.rnd.IntN(len(s.Replicas))].Store)
				}
			})
		}},
		{"move", 2, func(l *lane) { // to any store, which is refused where it holds one already
			l.shards(func(ctx context.Context, all []client.ShardInfo) {
				stores, err := l.trial.db.Admin().Stores(ctx)
				if err != nil {
					return
				}
				for range 4 {
					s := all[l.rnd.IntN(len(all))]
					from, to := s.Replicas[l.rnd.IntN(len(s.Replicas))].Store, stores[l.rnd.IntN(len(stores))].ID
					_, _ = l.trial.db.Admin().MoveShard(ctx, s.ID, from, to)
				}
			})
		}},
		{"scatter", 1, func(l *lane) {
			l.shards(func(ctx context.Context, all []client.ShardInfo) {
				_, _ = l.trial.db.Admin().ScatterShards(ctx, all[l.rnd.IntN(len(all))].ID)
			})
		}},
		{"drain", 1, (*lane).drain},
		{"split", 2, func(l *lane) {
			l.shards(func(ctx context.Context, all []client.ShardInfo) {
				key := l.border()
				s, err := l.trial.db.Admin().Shard(ctx, key)
				if err == nil && len(all) < maxShards {
					_, _ = l.trial.db.Admin().Split(ctx, s.ID, key)
				}
			})
		}},
		{"split into parts", 1, func(l *lane) { // only where any border is right
			l.shards(func(ctx context.Context, all []client.ShardInfo) {
				s := all[l.rnd.IntN(len(all))]
				if len(all) < maxShards && strings.HasPrefix(string(s.Users.Start), setPrefix) && len(s.Users.End) > 0 {
					_, _ = l.trial.db.Admin().SplitInto(ctx, s.ID, 2+l.rnd.IntN(2))
				}
			})
		}},
	}
}

// drain empties a store for a while, or whatever part of it that while is enough for. Three stores refuse it.
func (l *lane) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	admin := l.trial.db.Admin()
	stores, err := admin.Stores(ctx)
	if err != nil || len(stores) == 0 {
		return
	}
	id := stores[l.rnd.IntN(len(stores))].ID
	if admin.DrainStore(ctx, id, false) != nil {
		return
	}
	l.sleep(time.Second, 8*time.Second)
	for admin.UndrainStore(ctx, id) != nil && ctx.Err() == nil {
		time.Sleep(200 * time.Millisecond)
	}
}

// shards calls f with those of users; what is refused does not matter.
func (l *lane) shards(f func(ctx context.Context, all []client.ShardInfo)) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var all []client.ShardInfo
	for s, err := range l.trial.db.Admin().Shards(ctx) {
		if err != nil {
			return
		}
		if s.HasUsers {
			all = append(all, s)
		}
	}
	if len(all) > 0 {
		f(ctx, all)
	}
}

// border is a key at which a shard may be cut: between groups, banks and lists, anywhere among the elements of sets.
func (l *lane) border() []byte {
	switch l.rnd.IntN(4) {
	case 0:
		return linearGroup(l.rnd.IntN(linearGroups))
	case 1:
		return []byte(bankPrefix(l.rnd.IntN(banks)))
	case 2:
		return fmt.Appendf(nil, "l/%d/", l.rnd.IntN(listsPerEra))
	}
	return fmt.Appendf(nil, "%s%03x", setPrefix, l.rnd.IntN(1<<12))
}

// Bounds of what is done to clocks: the promise is 5 % between any two of them, and nothing for wall clocks.
const (
	maxDrift = 0.02
	maxWall  = 5 * time.Second
)

func clockHarms() []harm {
	return []harm{
		{"clock drift", 2, func(l *lane) { l.skew(skew{Rate: (2*l.rnd.Float64() - 1) * maxDrift}) }},
		{"wall clock jump", 1, func(l *lane) {
			l.skew(skew{Wall: time.Duration(l.rnd.Int64N(int64(2*maxWall))) - maxWall})
		}},
		{"clock drift and jump", 1, func(l *lane) {
			l.skew(skew{Rate: maxDrift * float64(1-2*l.rnd.IntN(2)), Wall: time.Duration(l.rnd.Int64N(int64(2*maxWall))) - maxWall})
		}},
		{"clocks right", 1, func(l *lane) {
			for _, p := range l.c.Nodes {
				p.Order(order{Clock: &skew{}})
			}
		}},
	}
}

// skew makes the clocks of one node wrong, until something else is done to them or its process ends.
func (l *lane) skew(s skew) { l.one().Order(order{Clock: &s}) }
