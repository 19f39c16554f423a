package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// callTimeout bounds one question to placement; another member may know when this one hangs.
const callTimeout = 2 * time.Second

// directory knows where placement is: the addresses that were configured or remembered, the members as placement tells
// them, and who led last. Safe for concurrent use.
type directory struct {
	env  env.Env
	wire Wire

	mu      sync.Mutex
	seeds   []string // where to begin
	members map[shard.StoreID]string
	leader  string
}

func newDirectory(e env.Env, w Wire, addrs []string) *directory {
	return &directory{env: e, wire: w, seeds: slices.Clone(addrs), members: make(map[shard.StoreID]string)}
}

// learn takes the members as somebody told them who may know only some, or who they were. A member without an id, as a
// store remembers it, is an address to try and nothing more.
func (d *directory) learn(members []beat.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range members {
		switch {
		case m.Addr == "":
		case m.Store != 0:
			d.members[m.Store] = m.Addr
		case !slices.Contains(d.seeds, m.Addr):
			d.seeds = append(d.seeds, m.Addr)
		}
	}
}

// settle takes the members as placement's leader told them, all of them, and reports whether they are others than before.
// Those that are no members any more are forgotten; what was configured stays to begin with.
func (d *directory) settle(members []beat.Member) (changed bool) {
	now := make(map[shard.StoreID]string)
	for _, m := range members {
		if m.Store != 0 && m.Addr != "" {
			now[m.Store] = m.Addr
		}
	}
	if len(now) == 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	changed = !maps.Equal(now, d.members)
	d.members = now
	return changed
}

// list are the addresses to try, the last leader first, then the members, then where to begin.
func (d *directory) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, a := range slices.Concat([]string{d.leader}, d.membersLocked(), d.seeds) {
		if a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// all are the addresses of the members, or, while none is known, those to begin with.
func (d *directory) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.members) > 0 {
		return d.membersLocked()
	}
	return slices.Clone(d.seeds)
}

func (d *directory) membersLocked() []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(d.members)) {
		out = append(out, d.members[id])
	}
	return out
}

// search is one walk over the members, until one answers as leader.
type search struct {
	d     *directory
	queue []string
	tried map[string]bool
	errs  []error
	// wrong is the answer of a member of another cluster; ours says that a member that may be of this one answered.
	wrong error
	ours  bool
}

// ask calls f with one member after the other until one answers as leader. A member that does not lead may name the
// one that does, which is asked next. A node that does not know its address, or serves no placement, is asked which
// members there are: one address of any node of the cluster is enough to begin with.
//
// A member of another cluster does not end the search, because an address may have been given to somebody else. It
// decides only if nobody else answered: the error then is final, see there.
func (d *directory) ask(ctx context.Context, f func(ctx context.Context, p rpc.Placement) error) error {
	s := &search{d: d, queue: d.list(), tried: make(map[string]bool)}
	for len(s.queue) > 0 {
		addr := s.queue[0]
		s.queue = s.queue[1:]
		if s.tried[addr] {
			continue
		}
		s.tried[addr] = true
		one, cancel := d.env.WithTimeout(ctx, callTimeout)
		err := f(one, d.wire.Placement(addr))
		cancel()
		if err == nil {
			d.setLeader(addr)
			return nil
		}
		if invalid(err) {
			return err
		}
		s.errs = append(s.errs, fmt.Errorf("%s: %w", addr, err))
		s.follow(ctx, addr, err)
	}
	return s.err()
}

// follow decides from a member's error whom else to ask.
func (s *search) follow(ctx context.Context, addr string, err error) {
	var nl *shard.NotLeaderError
	var wrong *shard.WrongClusterError
	switch {
	case errors.As(err, &nl):
		s.ours = true
		if to := s.d.addrOf(nl.Leader.Store); to != "" && !s.tried[to] { // else it may be elsewhere by now
			s.queue = append([]string{to}, s.queue...)
			return
		}
	case errors.As(err, &wrong):
		s.wrong = s.errs[len(s.errs)-1]
		return
	case !errors.Is(err, shard.ErrUnavailable): // it hangs, or it leads and cannot
		return
	}
	one, cancel := s.d.env.WithTimeout(ctx, callTimeout)
	defer cancel()
	info, err := s.d.wire.Node(one, addr)
	if err != nil {
		return
	}
	s.queue = append(s.queue, info.Members...)
}

func (s *search) err() error {
	switch {
	case s.wrong != nil && !s.ours:
		return s.wrong
	case len(s.errs) == 0:
		return errors.New("no address of placement is known")
	}
	return &searchError{s.errs}
}

// searchError is what each member said, in one line. It unwraps to nothing: no member's answer alone decides.
type searchError struct{ errs []error }

func (e *searchError) Error() string {
	var b strings.Builder
	for i, err := range e.errs {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

// invalid errors are the same whichever member answers.
func invalid(err error) bool {
	var e *shard.InvalidError
	return errors.As(err, &e) || versionRefused(err)
}

// versionRefused says that this program cannot take part in the cluster.
func versionRefused(err error) bool {
	var e *shard.VersionError
	return errors.As(err, &e)
}

// wrongCluster says that every member that answered is of another cluster.
func wrongCluster(err error) (*shard.WrongClusterError, bool) {
	var e *shard.WrongClusterError
	ok := errors.As(err, &e)
	return e, ok
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
