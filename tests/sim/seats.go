package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// Who takes part in placement changes as well: members lose their directories and come back as new ones, others join and
// leave, and the leadership is handed over.
//
// INVARIANT: one directory is lost at a time, and only while three members or more are there with nothing half done: of a
// majority of placement nothing is ever lost.

// mostSeats bounds the members of a world.
const mostSeats = 5

// placesWithout reports whether placement can decide without a server.
func (c *cluster) placesWithout(bad *server) bool {
	all, left := 0, 0
	for _, s := range c.servers {
		if s.seated() {
			all++
			if s != bad {
				left++
			}
		}
	}
	return left > all/2
}

// seatChanges are what happens to members.
var seatChanges = []struct {
	name string
	do   func(a *auditor, ctx context.Context, members []client.MemberStatus) error
}{
	{"lose a seat", (*auditor).loseSeat},
	{"take a seat", (*auditor).takeSeat},
	{"leave a seat", (*auditor).leaveSeat},
	{"hand a seat over", (*auditor).handSeat},
}

// reseat changes placement's members, one change after the other, until the phase is over.
func (c *cluster) reseat(until time.Duration) {
	if c.knobs.Seats == 0 || c.knobs.Stores-c.knobs.Late < 3 {
		return
	}
	c.env.Go("reseat", func() {
		for c.w.Now() < until {
			if !c.replacing && !c.reseating {
				change := seatChanges[c.w.IntN(len(seatChanges))]
				c.reseating = true
				c.auditor.env.Go(change.name, func() {
					if err := c.auditor.reseat(change.do); err != nil {
						c.main.Log("%s: %v", change.name, err)
					} else {
						c.faults[change.name]++
					}
					c.reseating = false
				})
			}
			_ = c.env.Sleep(context.Background(), c.w.Between(c.knobs.Seats/4, c.knobs.Seats))
		}
	})
}

func (a *auditor) reseat(do func(a *auditor, ctx context.Context, members []client.MemberStatus) error) error {
	ctx, cancel := a.env.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.open(ctx); err != nil {
		return err
	}
	members, err := a.seats(ctx)
	if err != nil {
		return err
	}
	return do(a, ctx, members)
}

// seats are the members, and an error if anything is half done or one is not heard.
func (a *auditor) seats(ctx context.Context) ([]client.MemberStatus, error) {
	all, _, err := a.db.Admin().MemberStatus(ctx) // a member is no voter yet in a joint configuration, which may need those before
	var out []client.MemberStatus
	for _, m := range all {
		switch {
		case m.State == "removed":
			continue
		case m.State != "voter" || !m.Live:
			err = errors.Join(err, fmt.Errorf("member %d is %s, live %v", uint64(m.Member), m.State, m.Live))
		}
		out = append(out, m)
	}
	return out, err
}

// agreed is an error unless all members know the same membership. The end of a joint change may be committed and known to
// the leader alone: the others still need a majority of those before, until they hear the next entry.
func (a *auditor) agreed(ctx context.Context) error {
	epochs := make(map[shard.Epoch]bool)
	for _, s := range a.c.servers {
		if !s.seated() {
			continue
		}
		infos, err := a.conn.Replicas(ctx, s.addr, shard.MetaID)
		if err != nil || len(infos) == 0 || infos[0].Desc == nil {
			return fmt.Errorf("the member of %s does not say what it knows: %v", s, err)
		}
		epochs[infos[0].Desc.Epoch] = true
	}
	if len(epochs) != 1 {
		return errors.New("not all members know who takes part")
	}
	return nil
}

// await returns when the members are settled and the number is one of them, or is not.
func (a *auditor) awaitSeat(what string, f func(members []client.MemberStatus) bool) {
	for {
		_ = a.env.Sleep(context.Background(), 200*time.Millisecond)
		ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
		members, err := a.seats(ctx)
		cancel()
		if err == nil && f(members) {
			a.m.Log("members settled: %s", what)
			return
		}
	}
}

func has(members []client.MemberStatus, id shard.StoreID) bool {
	return slices.ContainsFunc(members, func(m client.MemberStatus) bool { return m.Member == id })
}

// loseSeat takes a member's directory away. Sometimes its administrator starts it as it was before, which must not work;
// then it comes back as another member in its place.
func (a *auditor) loseSeat(ctx context.Context, members []client.MemberStatus) error {
	c := a.c
	// Twice: what all know at first may not be on their disks yet.
	for range 2 {
		if err := a.agreed(ctx); err != nil {
			return err
		}
		_ = a.env.Sleep(ctx, 200*time.Millisecond)
	}
	s := c.anyServer()
	old := s.number()
	if old == 0 || len(members) < 3 || !has(members, old) {
		return errors.New("no seat can be spared")
	}
	c.main.Log("%s loses the directory of member %d", s, uint64(old))
	s.crash()
	s.disk.loseSeat()
	// A lone first member that begins again begins another cluster, which the monitors could not tell apart.
	if s.member != 0 && !s.joins && c.knobs.Members > 1 && c.w.Chance(0.5) {
		a.startAsBefore(s)
	}
	s.joins, s.replace = true, uint64(old)
	s.start()
	a.awaitSeat(fmt.Sprintf("without %d", uint64(old)), func(members []client.MemberStatus) bool {
		return !has(members, old) && s.number() != 0 && has(members, s.number())
	})
	return nil
}

// startAsBefore starts a server without the directory of its member, with its flags as they were. It must not live again under
// its number, whether somebody is there who could refuse it or not.
func (a *auditor) startAsBefore(s *server) {
	c := a.c
	c.faults["lost seat started as before"]++
	cutOff := c.w.Chance(0.5)
	if cutOff {
		c.isolate(s)
	}
	s.alone = true
	s.start()
	_ = a.env.Sleep(context.Background(), c.w.Between(100*time.Millisecond, 3*time.Second))
	if cutOff {
		c.reconnect(s)
	}
	if s.number() != 0 {
		c.monitors.violated("member", "%s lost its directory and lives again as member %d", s, uint64(s.number()))
	}
	s.alone = false
	s.crash()
}

// takeSeat brings a new member to a server that has none.
func (a *auditor) takeSeat(_ context.Context, members []client.MemberStatus) error {
	c := a.c
	s := c.servers[c.w.IntN(len(c.servers))]
	if s.seated() || !s.up() || s.node == nil || len(members) >= mostSeats {
		return errors.New("no new seat")
	}
	c.main.Log("%s shall hold a new member", s)
	s.crash()
	s.disk.loseSeat() // of a member that was removed, nothing is there any more but the mark
	s.joins, s.replace = true, 0
	s.start()
	a.awaitSeat("with another one", func(members []client.MemberStatus) bool { return s.number() != 0 && has(members, s.number()) })
	return nil
}

// leaveSeat removes a member. Its store goes on.
func (a *auditor) leaveSeat(ctx context.Context, members []client.MemberStatus) error {
	c := a.c
	s := c.anyServer()
	old := s.number()
	if old == 0 || len(members) < 4 || !has(members, old) {
		return errors.New("no seat is left")
	}
	c.main.Log("member %d on %s is removed", uint64(old), s)
	for {
		_, err := a.db.Admin().RemoveMember(ctx, old)
		if err == nil {
			break
		}
		if errors.Is(err, client.ErrInvalid) {
			return err
		}
		// It may have been heard. Whoever began this says it again.
		_ = a.env.Sleep(context.Background(), 200*time.Millisecond)
		var cancel context.CancelFunc
		ctx, cancel = a.env.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
	}
	a.awaitSeat(fmt.Sprintf("without %d", uint64(old)), func(members []client.MemberStatus) bool { return !has(members, old) })
	s.member, s.joins, s.replace = 0, false, 0
	return nil
}

// handSeat lets another member lead.
func (a *auditor) handSeat(ctx context.Context, members []client.MemberStatus) error {
	return a.db.Admin().TransferMember(ctx, members[a.c.w.IntN(len(members))].Member)
}
