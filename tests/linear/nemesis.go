package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/cluster"
)

// nemesis harms a cluster, one thing or two at a time, and heals it.
type nemesis struct {
	c      *cluster.Cluster
	rnd    *rand.Rand
	routes *routes
	stores int
	splits int // still to be made

	mu  sync.Mutex
	cut map[[2]shard.StoreID]bool // from, to
	// lossy frames of a hundred are lost
	lossy int
	done  []string // what it did, for the report of a failure
}

func newNemesis(c *cluster.Cluster, rnd *rand.Rand, routes *routes, stores int) *nemesis {
	n := &nemesis{c: c, rnd: rnd, routes: routes, stores: stores, splits: maxSplits, cut: make(map[[2]shard.StoreID]bool)}
	c.Net.SetFilter(n.keep)
	return n
}

func (n *nemesis) keep(from, to shard.StoreID, frame []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[[2]shard.StoreID{from, to}] {
		return false
	}
	return n.lossy == 0 || frame == nil || rand.IntN(100) >= n.lossy
}

func (n *nemesis) note(format string, args ...any) {
	n.done = append(n.done, fmt.Sprintf(format, args...))
}

func (n *nemesis) anyStore() shard.StoreID { return shard.StoreID(1 + n.rnd.IntN(n.stores)) }

func (n *nemesis) pause(least, most time.Duration) {
	time.Sleep(least + time.Duration(n.rnd.Int64N(int64(most-least))))
}

// run harms until the time is over, and leaves the cluster whole.
func (n *nemesis) run(end time.Time) {
	for time.Now().Before(end) {
		n.harm()
		n.pause(50*time.Millisecond, 300*time.Millisecond)
		n.heal()
	}
	n.mu.Lock()
	n.cut, n.lossy = make(map[[2]shard.StoreID]bool), 0
	n.mu.Unlock()
}

func (n *nemesis) heal() {
	n.mu.Lock()
	n.cut, n.lossy = make(map[[2]shard.StoreID]bool), 0
	n.mu.Unlock()
}

// harm does one evil thing. It returns when the store concerned is up again; links are healed by heal.
func (n *nemesis) harm() {
	id := n.anyStore()
	switch n.rnd.IntN(16) {
	case 0, 1:
		percent := []int{0, 30, 100}[n.rnd.IntN(3)]
		n.note("crash %s, %d%% unsynced kept", id, percent)
		n.c.Crash(id, percent)
		n.pause(time.Millisecond, 400*time.Millisecond)
		n.c.Start(id)
	case 2:
		n.note("cut off %s", id)
		n.mu.Lock()
		for i := 1; i <= n.stores; i++ {
			n.cut[[2]shard.StoreID{id, shard.StoreID(i)}] = true
			n.cut[[2]shard.StoreID{shard.StoreID(i), id}] = true
		}
		n.mu.Unlock()
		n.pause(100*time.Millisecond, 600*time.Millisecond)
	case 3:
		to := n.anyStore()
		n.note("nothing from %s reaches %s", id, to)
		n.mu.Lock()
		n.cut[[2]shard.StoreID{id, to}] = true
		n.mu.Unlock()
		n.pause(100*time.Millisecond, 600*time.Millisecond)
	case 4:
		n.note("nothing reaches %s", id)
		n.mu.Lock()
		for i := 1; i <= n.stores; i++ {
			n.cut[[2]shard.StoreID{shard.StoreID(i), id}] = true
		}
		n.mu.Unlock()
		n.pause(100*time.Millisecond, 600*time.Millisecond)
	case 5:
		n.note("the disk of %s hangs", id)
		disk := n.c.Stores[id].Disk
		disk.Hang()
		n.pause(50*time.Millisecond, 500*time.Millisecond)
		disk.Release()
	case 6:
		n.note("frames are lost")
		n.mu.Lock()
		n.lossy = 20
		n.mu.Unlock()
		n.pause(100*time.Millisecond, 400*time.Millisecond)
	case 7:
		n.transfer()
	case 8, 9:
		n.blackout()
	default:
		n.split()
	}
}

// maxSplits leaves some shards with more than one group of keys.
const maxSplits = 16

// split cuts the shard of some group of keys before that group, and in half of the cases at once takes a store away.
func (n *nemesis) split() {
	if n.splits == 0 {
		return
	}
	key := groupPrefix(n.rnd.IntN(groups))
	d := n.routes.of(shard.RawKey([]byte(key)))
	if d == nil || string(d.Range.Start.User()) == key {
		return
	}
	n.splits--
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	parts, err := n.c.TrySplit(ctx, d.ID, key)
	n.note("split %s at %s into %d: %v", d.ID, key, len(parts), err)
	if n.rnd.IntN(2) == 0 {
		id := n.anyStore()
		n.note("crash %s", id)
		n.c.Crash(id, 0)
		n.c.Start(id)
	}
}

// blackout takes the power from most stores, after their disks have hung for a while: what they said meanwhile without a
// sync is lost.
func (n *nemesis) blackout() {
	ids := n.rnd.Perm(n.stores)[:n.stores/2+1+n.rnd.IntN(n.stores/2+1)]
	n.note("the disks of %v (from 0) hang, then they lose their power", ids)
	for _, i := range ids {
		n.c.Stores[shard.StoreID(i+1)].Disk.Hang()
	}
	n.pause(5*time.Millisecond, 100*time.Millisecond)
	for _, i := range ids {
		n.c.Crash(shard.StoreID(i+1), 0)
	}
	for _, i := range ids {
		n.c.Start(shard.StoreID(i + 1))
	}
}

// transfer moves the leadership of a few shards to anybody.
func (n *nemesis) transfer() {
	for range 3 {
		all := n.routes.all()
		d, to := all[n.rnd.IntN(len(all))], n.anyStore()
		for i := 1; i <= n.stores; i++ {
			s := n.c.Stores[shard.StoreID(i)].Store
			if s.Leading(d.ID) == 0 {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			n.note("transfer %s from %d to %s: %v", d.ID, i, to, s.TransferLeader(ctx, d.ID, to))
			cancel()
		}
	}
}
