// Package simnet is the network of a simulated world: everything that nodes and clients say to each other goes through
// it as a message that can be late, lost, doubled, overtaken, or arrive long after its sender has crashed.
//
// It stands where gRPC stands in production and makes the same promises: a call is answered once or broken off; frames
// of one stream arrive in order, unless the world's knobs say otherwise, because Raft does not need it.
package simnet

import (
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// Knobs say how bad the network is. Probabilities are per message.
type Knobs struct {
	Latency   time.Duration // of most messages, at most
	Bandwidth int64         // bytes per second of one link
	Loss      float64
	Duplicate float64       // of frames between stores
	Reorder   float64       // of frames between stores
	Late      float64       // the chance that a message is delayed by up to LateBy
	LateBy    time.Duration //
	BreakWait time.Duration // how long a caller waits at most until it notices that its call was broken off
}

// Net connects hosts by their addresses. It is used by tasks of the world, one at a time.
type Net struct {
	w     *world.World
	knobs Knobs
	calm  bool // no random faults any more

	hosts map[string]*Host
	cut   map[direction]bool
	slow  map[direction]time.Duration
	last  map[stream]time.Duration // when the last message of a stream arrives
	// Watch sees every frame between stores when it is sent.
	Watch func(from *Host, store, to shard.StoreID, frame []byte)
	// Sent and Delivered count messages.
	Sent, Delivered, Lost uint64
}

type direction struct{ from, to string }

type stream struct {
	direction
	class class
}

// class keeps messages in order that travel on one stream.
type class uint8

const (
	bulk class = iota
	urgent
	calls
	parts // of snapshots
	routes
)

// New makes a network without hosts.
func New(w *world.World, k Knobs) *Net {
	return &Net{w: w, knobs: k, hosts: make(map[string]*Host), cut: make(map[direction]bool),
		slow: make(map[direction]time.Duration), last: make(map[stream]time.Duration)}
}

// Calm ends random loss, doubling, reordering and lateness. What was cut stays cut.
func (n *Net) Calm() { n.calm = true }

// Cut loses everything from one address to another, until Heal.
func (n *Net) Cut(from, to string) { n.cut[direction{from, to}] = true }

// Heal lets one direction through again.
func (n *Net) Heal(from, to string) {
	delete(n.cut, direction{from, to})
	delete(n.slow, direction{from, to})
}

// HealAll ends all cuts and clogs.
func (n *Net) HealAll() {
	clear(n.cut)
	clear(n.slow)
}

// Clog delays everything of one direction by up to d.
func (n *Net) Clog(from, to string, d time.Duration) { n.slow[direction{from, to}] = d }

// Host is one life of a process on the network: a node, or a client.
type Host struct {
	net     *Net
	machine *world.Machine
	env     env.Env
	addr    string
	server  *server // nil before it serves and after
	down    bool
	owed    map[uint64]func() // what ends the calls that this host has not answered, by their number
	callSeq uint64
}

// Host puts a machine on the network under an address, in place of what was there.
func (n *Net) Host(m *world.Machine, addr string) *Host {
	h := &Host{net: n, machine: m, env: m.Env(), addr: addr, owed: make(map[uint64]func())}
	n.hosts[addr] = h
	return h
}

// Down takes a host away: whoever waits for an answer of it is told so after a while. What it had sent is still under
// way.
func (h *Host) Down() {
	h.down = true
	h.server = nil
	if h.net.hosts[h.addr] == h {
		delete(h.net.hosts, h.addr)
	}
	for seq := uint64(1); seq <= h.callSeq; seq++ {
		if f := h.owed[seq]; f != nil {
			h.net.w.After(h.net.wait(), f)
		}
	}
	h.owed = nil
}

// Machine is where the host runs.
func (h *Host) Machine() *world.Machine { return h.machine }

// Addr is where it is reached.
func (h *Host) Addr() string { return h.addr }

// wait is how long it takes somebody to notice that a call was broken off.
func (n *Net) wait() time.Duration {
	return n.w.Between(time.Millisecond, max(n.knobs.BreakWait, 2*time.Millisecond))
}

// send carries a message of some bytes to an address. deliver runs between two steps, with whoever is there when it
// arrives, and must not block. lost, if not nil, runs in its place if it does not arrive.
func (n *Net) send(from *Host, to string, c class, bytes int, deliver func(h *Host), lost func()) {
	n.Sent++
	d := direction{from.addr, to}
	frames := c == bulk || c == urgent
	if n.cut[d] || !n.calm && n.knobs.Loss > 0 && n.w.Chance(n.knobs.Loss) {
		n.lose(lost)
		return
	}
	copies := 1
	if frames && !n.calm && n.knobs.Duplicate > 0 && n.w.Chance(n.knobs.Duplicate) {
		copies = 2
	}
	for range copies {
		at := n.arrival(stream{d, c}, bytes, frames)
		n.w.After(at-n.w.Now(), func() {
			h := n.hosts[to]
			if h == nil || h.down || n.cut[d] {
				n.lose(lost)
				return
			}
			n.Delivered++
			h.machine.WhenRunning(func() {
				if h.down {
					n.lose(lost)
					return
				}
				deliver(h)
			})
		})
	}
}

func (n *Net) lose(lost func()) {
	n.Lost++
	if lost != nil {
		lost()
	}
}

// arrival draws when a message arrives: after the one before it on its stream, unless it overtakes.
func (n *Net) arrival(s stream, bytes int, frames bool) time.Duration {
	now := n.w.Now()
	at := now + 20*time.Microsecond + n.w.Between(0, n.knobs.Latency) + time.Duration(float64(bytes)/float64(n.knobs.Bandwidth)*float64(time.Second))
	if slow := n.slow[s.direction]; slow > 0 {
		at += n.w.Between(0, slow)
	}
	if !n.calm {
		if n.knobs.Late > 0 && n.w.Chance(n.knobs.Late) {
			late := at + n.w.Between(0, n.knobs.LateBy)
			if frames || s.class == calls {
				return late // the stream goes on without it: it was on the connection before, or in a slow handler
			}
			at = late
		}
		if frames && n.knobs.Reorder > 0 && n.w.Chance(n.knobs.Reorder) {
			return at
		}
	}
	at = max(at, n.last[s])
	n.last[s] = at
	return at
}
