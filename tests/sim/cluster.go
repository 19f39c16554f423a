package sim

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// cluster is one world's: servers, clients, the network between them, and what was seen.
type cluster struct {
	hurry      bool // clients do not think
	frames     bool // log raft messages
	w          *world.World
	knobs      *Knobs
	net        *simnet.Net
	main       *world.Machine
	env        env.Env // of the world's own tasks
	servers    []*server
	workers    []*worker
	monitors   *monitors
	auditor    *auditor
	ambush     *ambush
	echo       *echo // nil: none
	calm       bool  // everything is healed: no new faults
	era        int   // counts how often everything was healed
	allocators []*allocator
	given      given
	replacing  bool // a store was removed and is not made up for yet
	draining   bool // a store was drained and is not yet used again
	reseating  bool // placement's members are being changed
	collecting int  // orders under way to move the safe point

	time      int64 // of the history: a number for each beginning and end
	ops       []porcupine.Operation
	ambiguous int
	refused   int
	slots     [maxSlots]slot
	txn       txnWork
	watchers  []*watcher
	ttls      map[int]*ttlKey
	faults    map[string]int
	rows      fsm.Coverage // of the tables of states, over all processes
}

func newCluster(w *world.World, main *world.Machine, k *Knobs) *cluster {
	c := &cluster{w: w, knobs: k, main: main, env: main.Env(), net: simnet.New(w, k.Net), faults: make(map[string]int), ttls: make(map[int]*ttlKey)}
	c.monitors = newMonitors(c)
	c.given = given{ids: make(map[uint64]bool), stamps: make(map[uint64]bool)}
	c.net.Watch = c.monitors.frame
	for i := 1; i <= k.Stores; i++ {
		s := &server{c: c, index: i, addr: fmt.Sprintf("n%d:4400", i), disk: c.newDisk()}
		if i <= k.Members {
			s.member, s.first = uint64(i), uint64(i)
		}
		c.servers = append(c.servers, s)
	}
	return c
}

// tick gives the next time of the history.
func (c *cluster) tick() int64 {
	c.time++
	return c.time
}

func (c *cluster) memberAddrs() map[uint64]string {
	out := make(map[uint64]string)
	for _, s := range c.servers {
		if s.first != 0 {
			out[s.first] = s.addr
		}
	}
	return out
}

func (c *cluster) joinAddrs() []string {
	var out []string
	for _, s := range c.servers {
		if s.first != 0 {
			out = append(out, s.addr)
		}
	}
	return out
}

func (c *cluster) addrs() string {
	var out []string
	for _, s := range c.servers {
		out = append(out, s.addr)
	}
	return strings.Join(out, ",")
}

// splitKeys cuts between groups, and then on, so that there are as many shards as wanted.
func (c *cluster) splitKeys() []string {
	var out []string
	for i := 1; i < c.knobs.Shards; i++ {
		out = append(out, fmt.Sprintf("g%02d", i))
	}
	return out
}
