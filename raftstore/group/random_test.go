package group_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/cryptotest"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/invariant"
	"github.com/skerrydb/skerry/shard"
)

// randomWorld drives three members with clocks that drift apart, an unreliable network and power failures, and checks
// after each step what must hold whatever happens: one leader per term over all lives, logs that agree below a common
// entry, one applied sequence, no proposal applied that was reported lost, no read that misses what was applied before
// it began, and no leader elected while another's lease lives.
type randomWorld struct {
	*world
	rng     *rand.Rand
	next    int       // number of the next proposal or read
	cut     [2]uint64 // the link that is cut; zero stands for every member
	slow    uint64    // whose disk does not finish anything
	crashes int
	folded  int
	leased  int
}

func TestRandom(t *testing.T) {
	steps := 12000
	if invariant.Enabled {
		steps = 3000 // the race detector makes each of them many times as dear
	}
	var elections, applied, crashes, folded, leased, lost int
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		cryptotest.SetGlobalRandom(t, seed) // raft draws its timeouts from it
		r := newRandomWorld(seed)
		for i := range steps {
			r.step()
			if i%50 == 0 {
				r.checkLogs()
			}
			if len(r.faults) > 0 {
				rt.Fatalf("%s", r.out.String())
			}
		}
		elections += len(r.leaders)
		applied += len(r.solid)
		crashes += r.crashes
		folded += r.folded
		leased += r.leased
		lost += len(r.lost)
	})
	t.Logf("%d leaderships, %d entries applied, %d proposals lost, %d crashes, %d folded, %d steps under a lease",
		elections, applied, lost, crashes, folded, leased)
	if folded == 0 {
		t.Error("nobody was ever folded")
	}
}

func newRandomWorld(seed uint64) *randomWorld {
	r := &randomWorld{world: newWorld([]uint64{1, 2, 3}, 3), rng: rand.New(rand.NewPCG(seed, 0))}
	for i, rate := range []float64{1, 1.024, 0.976} { // 5 % apart at most, as the lease allows for
		n := r.nodes[uint64(i+1)]
		n.rate = rate
		n.start()
	}
	return r
}

// step does one random thing to one random member.
func (r *randomWorld) step() {
	n := r.nodes[1+r.rng.Uint64N(3)]
	for _, o := range r.nodes {
		if o.g == nil {
			continue
		}
		if o.clock() < o.lease {
			r.leased++
		}
		if lead := uint64(o.g.Leader()); lead != 0 && r.leaders[o.g.Term()] != lead {
			r.fault("r%d names r%d as the leader of term %d", o.id, lead, o.g.Term())
		}
	}
	if n.g == nil {
		if r.rng.IntN(4) == 0 {
			n.start()
		}
		return
	}
	if r.rng.IntN(10) == 0 && !n.g.Folded() && n.g.Fold() { // at any moment at which a group lets itself be folded
		r.folded++
	}
	switch action := r.rng.IntN(1000); {
	case action < 250:
		r.network()
	case action < 330:
		n.ready()
	case action < 370:
		if n.id != r.slow {
			n.sync()
		}
	case action < 400:
		n.apply()
	case action < 420:
		n.durable = n.applied
	case action < 620:
		r.pass()
	case action < 760:
		r.time()
	case action < 860:
		r.propose(n)
	case action < 940:
		r.next++
		_ = n.read(uint64(r.next))
	default:
		r.event(n, action)
	}
}

// event does what happens more rarely.
func (r *randomWorld) event(n *node, action int) {
	other := 1 + n.id%3
	switch {
	case action < 950:
		_ = n.g.Campaign(n.clock())
	case action < 955:
		_ = n.g.ForgetLeader(n.clock())
	case action < 960:
		for _, id := range r.ids() {
			if o := r.nodes[id]; o.g != nil && o.g.Leading() {
				_ = o.transfer(1 + id%3)
			}
		}
	case action < 965:
		n.g.WakeFollower(n.clock())
	case action < 968:
		n.g.ReportUnreachable(shard.ReplicaID(other))
	case action < 980:
		r.cut = [2]uint64{r.rng.Uint64N(4), r.rng.Uint64N(4)}
	case action < 984:
		r.slow = r.rng.Uint64N(4)
	case action < 990 && r.slow != 0:
		r.crash(r.nodes[r.slow])
	case action < 994:
		r.crash(n)
	case action < 995:
		for _, id := range r.ids() { // the whole place loses power
			r.crash(r.nodes[id])
		}
	}
}

// crash loses some of what was not synced, and of what was applied.
func (r *randomWorld) crash(n *node) {
	n.crash(r.rng.IntN(3), n.applied-min(n.applied, r.rng.Uint64N(4)))
	r.crashes++
}

func (r *randomWorld) propose(n *node) {
	r.next++
	_ = n.g.Propose(fmt.Append(nil, "p", r.next), fmt.Sprint("p", r.next))
}

func (r *randomWorld) time() {
	r.now += tick * 2 / 5
	for _, id := range r.ids() {
		if n := r.nodes[id]; n.g != nil {
			n.g.Tick(n.clock())
		}
	}
}

// network delivers, loses or repeats a message, not always the oldest.
func (r *randomWorld) network() {
	if len(r.net) == 0 {
		return
	}
	i := 0
	if r.rng.IntN(3) == 0 {
		i = r.rng.IntN(len(r.net))
	}
	switch r.rng.IntN(20) {
	case 0:
		r.net = append(r.net[:i:i], r.net[i+1:]...)
	case 1:
		r.net = append(r.net, r.net[i])
	default:
		r.carry(i)
	}
}

// carry delivers a message unless one of its ends is cut off; then it may be lost or stay on its way for long.
func (r *randomWorld) carry(i int) {
	m := r.net[i]
	ends := func(a, b uint64) bool { return (a == 0 || a == m.GetFrom()) && (b == 0 || b == m.GetTo()) }
	isCut := r.cut != [2]uint64{} && (ends(r.cut[0], r.cut[1]) || ends(r.cut[1], r.cut[0]))
	switch {
	case !isCut:
		if n := r.nodes[m.GetTo()]; n.g != nil && n.g.Leading() && m.GetTerm() > n.g.Term() {
			r.propose(n) // in the same pass as the end of its leadership
		}
		r.deliver(i)
	case r.rng.IntN(4) > 0:
		r.net = append(r.net[:i:i], r.net[i+1:]...)
	}
}

// pass lets everybody do what is waiting, so that there is progress between the accidents.
func (r *randomWorld) pass() {
	for range min(len(r.net), 20) {
		if len(r.net) > 0 {
			r.carry(r.rng.IntN(min(len(r.net), 3)))
		}
	}
	for _, id := range r.ids() {
		if n := r.nodes[id]; n.g != nil {
			for n.ready() || id != r.slow && n.sync() || n.apply() {
			}
		}
	}
}
