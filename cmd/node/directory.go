package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// callTimeout bounds one question to placement; another member may know when this one hangs.
const callTimeout = 2 * time.Second

// directory knows where placement is: the addresses that were configured, those that heartbeat answers told, and who
// led last. Safe for concurrent use.
type directory struct {
	conns *rpc.Conns

	mu      sync.Mutex
	addrs   []string
	members map[shard.StoreID]string
	leader  string
}

func newDirectory(conns *rpc.Conns, addrs []string) *directory {
	return &directory{conns: conns, addrs: slices.Clone(addrs), members: make(map[shard.StoreID]string)}
}

// learn takes the members as placement told them.
func (d *directory) learn(members []beat.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range members {
		if m.Addr == "" {
			continue
		}
		d.members[m.Store] = m.Addr
		if !slices.Contains(d.addrs, m.Addr) {
			d.addrs = append(d.addrs, m.Addr)
		}
	}
}

// list are the addresses to try, the last leader first.
func (d *directory) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	if d.leader != "" {
		out = append(out, d.leader)
	}
	for _, a := range d.addrs {
		if a != d.leader {
			out = append(out, a)
		}
	}
	return out
}

// all are the addresses without an order of preference.
func (d *directory) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.addrs)
}

// ask calls f with one member after the other until one answers as leader. A member that does not lead may name the
// one that does, which is asked next.
func (d *directory) ask(ctx context.Context, f func(ctx context.Context, p *rpc.PlacementAt) error) error {
	var errs []error
	queue := d.list()
	tried := make(map[string]bool)
	for len(queue) > 0 {
		addr := queue[0]
		queue = queue[1:]
		if tried[addr] {
			continue
		}
		tried[addr] = true
		one, cancel := context.WithTimeout(ctx, callTimeout)
		err := f(one, d.conns.Placement(addr))
		cancel()
		if err == nil {
			d.setLeader(addr)
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", addr, err))
		var nl *shard.NotLeaderError
		if errors.As(err, &nl) {
			if to := d.addrOf(nl.Leader.Store); to != "" {
				queue = append([]string{to}, queue...)
			}
			continue
		}
		if final(err) {
			return err
		}
	}
	if len(errs) == 0 {
		return errors.New("no address of placement is known")
	}
	return errors.Join(errs...)
}

// final errors are the same whichever member answers.
func final(err error) bool {
	var invalid *shard.InvalidError
	var wrong *shard.WrongClusterError
	return errors.As(err, &invalid) || errors.As(err, &wrong)
}

func (d *directory) setLeader(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leader = addr
}

func (d *directory) addrOf(id shard.StoreID) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.members[id]
}
