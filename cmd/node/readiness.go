package node

import (
	"fmt"
	"time"

	"github.com/skerrydb/skerry/raftstore"
)

// placementSilence is how long placement may not answer this node's store before that is worth a note.
const placementSilence = 5 * time.Second

// Readiness is whether a node should get work, and what else is wrong around it.
type Readiness struct {
	// Not are the reasons why it should get none; empty if it should.
	Not []string
	// Notes are troubles that another node would have as well: to send work elsewhere would not help.
	Notes []string
}

// Readiness says how the node is. Once it was ready, only what is wrong with itself makes it not so: if all nodes said no
// because placement is away, work that they can do would reach none of them.
func (n *Node) Readiness() Readiness {
	n.open.RLock()
	defer n.open.RUnlock()
	return n.readiness()
}

// readiness is Readiness for who holds open already: a second RLock would wait for ever behind a Close.
func (n *Node) readiness() Readiness {
	var r Readiness
	not := func(format string, args ...any) { r.Not = append(r.Not, fmt.Sprintf(format, args...)) }
	if err := n.Err(); err != nil {
		not("the node stopped: %v", err)
	}
	if n.closed || n.leaving.Load() {
		not("stopping")
	}
	if n.closed {
		return r
	}
	if n.member != nil && !n.member.joined() {
		not("the placement member of this node is not part of a majority yet: it waits for the other members (--members, --join)")
	}
	if n.store != nil {
		n.store.readiness(&r)
	}
	return r
}

func (a *storeAgent) readiness(r *Readiness) {
	a.mu.Lock()
	s, heard, heardAt, settled := a.store, a.heard, a.heardAt, a.settled
	a.mu.Unlock()
	if s == nil {
		r.Not = append(r.Not, "the store is not registered yet: placement does not answer (--join)")
		return
	}
	if s.Hung() {
		r.Not = append(r.Not, fmt.Sprintf("the disk of %s does not finish a sync: it leads nothing until it does", s.ID()))
	}
	if room := s.Room(); room.Level != raftstore.Roomy {
		r.Notes = append(r.Notes, fmt.Sprintf("the disk of %s is nearly full: %d MiB free, and below %d MiB (--low-space) it takes no more data; delete keys, move shards away, or add a store",
			s.ID(), room.Free>>20, room.Low>>20))
	}
	for _, k := range s.Memory().Full() {
		r.Notes = append(r.Notes, fmt.Sprintf("the memory of %s for %s is used up, %d MiB of %d: more of them are refused (--memory-budget)",
			s.ID(), k, s.Memory().Used(k)>>20, s.Memory().Share(k)>>20))
	}
	silent := a.n.env.Now().Sub(heardAt)
	switch {
	case !heard:
		r.Not = append(r.Not, fmt.Sprintf("placement has not answered %s since it started", s.ID()))
	case silent > placementSilence:
		r.Notes = append(r.Notes, fmt.Sprintf("placement has not answered %s for %s", s.ID(), silent.Round(time.Second)))
	}
	switch without, all := s.Leaderless(); {
	case without == 0 && heard && !settled:
		a.mu.Lock()
		a.settled = true
		a.mu.Unlock()
	case without > 0:
		why := fmt.Sprintf("%d of %d replicas of %s know no leader", without, all, s.ID())
		if settled {
			r.Notes = append(r.Notes, why)
		} else {
			r.Not = append(r.Not, why)
		}
	}
}

// NotReady implements rpc.Ready.
func (n *Node) NotReady() []string { return n.Readiness().Not }
