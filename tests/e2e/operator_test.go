package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// healLimit is how long a shard may be left half changed, or with too few replicas, after placement lost its leader.
const healLimit = 30 * time.Second

// TestOperatorsOutliveTheirLeader kills the leader of placement before and after every step of operators of every kind.
// What they left half done must be ended by the next leader: no learner, no joint configuration, no replica too few or too
// many for longer than healLimit; and what is on record (a drain, a rule, a lost store) must have come about.
//
// By default moves only; SKERRY_LONG=1 takes all kinds.
func TestOperatorsOutliveTheirLeader(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Nodes: 5, Apart: 3, DownAfter: 3 * time.Second})
	o := &outliving{growth: growth{t: t, c: c}, ctx: context.Background()}
	if err := c.DB.Put(o.ctx, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	kinds := []opKind{
		{"move", 4, o.move},
		{"replace", 4, o.replace},
		{"drain", 4, o.drain},
		{"add-replica", 4, func() wanted { return o.replicas(5) }},
		{"remove-replica", 2, func() wanted { return o.replicas(3) }},
		{"fix-rule", 4, o.rule},
		{"lead", 0, o.lead},
	}
	for _, k := range kinds {
		if os.Getenv("SKERRY_LONG") == "" && k.name != "move" {
			continue
		}
		for step := range k.steps + 1 {
			t.Run(fmt.Sprintf("%s/%d", k.name, step), func(t *testing.T) {
				o.t = t
				o.try(k, step)
			})
		}
	}
}

// opKind is a kind of operator: how many changes of membership it makes at least, and what begins it.
type opKind struct {
	name  string
	steps int
	plan  func() wanted
}

// wanted is what must be in the end.
type wanted struct {
	begin    func() // begins it
	replicas int
	holds    func(s client.ShardInfo) string // "": as it should be; nil: anything
	after    func()                          // undoes it, for the next round
}

type outliving struct {
	growth
	ctx  context.Context
	next int
}

// try begins an operator, kills the leader of placement once so many changes took effect, and sees what becomes of it.
func (o *outliving) try(k opKind, step int) {
	o.within(healLimit, "at rest before, all stores heard", func(all []client.ShardInfo, stores []client.StoreInfo) string {
		for _, st := range stores {
			if st.State != "up" { // a leader of placement that just began has not heard them yet
				return fmt.Sprintf("%s is %s", st.ID, st.State)
			}
		}
		return o.settled(0, nil)(all, stores)
	})
	w := k.plan()
	before := o.shard()
	leader := o.placementLeader()
	w.begin()
	reached := o.awaitStep(before, step)
	leader.Kill()
	begun := time.Now()
	o.within(healLimit, fmt.Sprintf("%s, placement's leader killed at step %d (%s)", k.name, step, reached), o.settled(w.replicas, w.holds))
	o.t.Logf("clean %.1f s after the kill", time.Since(begun).Seconds())
	leader.Start()
	if w.after != nil {
		w.after()
	}
	if err := o.c.DB.Put(o.ctx, []byte("k"), []byte("v")); err != nil {
		o.t.Fatal(err)
	}
}

// awaitStep waits until so many changes of membership took effect; zero: the operator exists. An operator that has ended
// has passed all of its steps.
func (o *outliving) awaitStep(before client.ShardInfo, step int) string {
	deadline := time.Now().Add(healLimit)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(o.ctx, time.Second)
		ops, err := o.c.DB.Admin().Operators(ctx, before.ID, step > 0)
		cancel()
		now := o.shard()
		done := int(now.Epoch.ConfVer - before.Epoch.ConfVer)
		switch {
		case step == 0 && err == nil && len(ops) > 0:
			return "operator " + ops[0].State
		case step > 0 && done >= step:
			return fmt.Sprintf("epoch %s", now.Epoch)
		}
		time.Sleep(2 * time.Millisecond)
	}
	o.t.Fatalf("step %d was not reached: %s\n%s", step, o.shard().Epoch, o.operators())
	return ""
}

// shard is the only one. A leader of placement that just began may not know it yet.
func (o *outliving) shard() client.ShardInfo {
	ctx, cancel := context.WithTimeout(o.ctx, healLimit)
	defer cancel()
	s, err := o.c.DB.Admin().Shard(ctx, []byte("k"))
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// settled wants voters only, as many as there shall be (0: three or five), a leader, and whatever else is wanted.
func (o *outliving) settled(replicas int, holds func(client.ShardInfo) string) func([]client.ShardInfo, []client.StoreInfo) string {
	return func(all []client.ShardInfo, _ []client.StoreInfo) string {
		for _, s := range all {
			for _, r := range s.Replicas {
				if r.Role != shard.Voter {
					return fmt.Sprintf("%s has a replica that is %s on %s", s.ID, r.Role, r.Store)
				}
			}
			if n := len(s.Replicas); replicas > 0 && n != replicas || n < 3 {
				return fmt.Sprintf("%s has %d replicas", s.ID, n)
			}
			if s.Leader.ID == 0 {
				return fmt.Sprintf("%s has no leader", s.ID)
			}
			if holds != nil {
				if why := holds(s); why != "" {
					return why
				}
			}
		}
		return ""
	}
}

// with and without are the stores that hold a replica of the shard, and those that run and do not.
func (o *outliving) with() (with, without []shard.StoreID) {
	s := o.shard()
	_, stores, err := o.look(o.ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, st := range stores {
		switch holds := onStore(s, st.ID); {
		case holds:
			with = append(with, st.ID)
		case st.State == "up":
			without = append(without, st.ID)
		}
	}
	return with, without
}

func onStore(s client.ShardInfo, id shard.StoreID) bool {
	for _, r := range s.Replicas {
		if r.Store == id {
			return true
		}
	}
	return false
}

// turn picks another one each time, so that leaders and followers are both met.
func (o *outliving) turn(of []shard.StoreID) shard.StoreID {
	o.next++
	return of[o.next%len(of)]
}

// leaves is wanted: nothing on a store.
func leaves(id shard.StoreID) func(client.ShardInfo) string {
	return func(s client.ShardInfo) string {
		return unless(!onStore(s, id), "%s is still on %s", s.ID, id)
	}
}

// move is soft state: what became of it does not matter, as long as it is clean.
func (o *outliving) move() wanted {
	with, without := o.with()
	id, from, to := o.shard().ID, o.turn(with), o.turn(without)
	return wanted{replicas: 3, begin: func() {
		if _, err := o.c.DB.Admin().MoveShard(o.ctx, id, from, to); err != nil {
			o.t.Fatal(err)
		}
	}}
}

// replace loses a store.
func (o *outliving) replace() wanted {
	with, _ := o.with()
	id := o.turn(with)
	p := o.procOf(id)
	return wanted{replicas: 3, holds: leaves(id), begin: p.Kill, after: p.Start}
}

func (o *outliving) procOf(id shard.StoreID) *Proc {
	_, stores, err := o.look(o.ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, s := range stores {
		for _, p := range o.c.Nodes {
			if s.ID == id && s.Addr == p.Addr() {
				return p
			}
		}
	}
	o.t.Fatalf("no process of %s", id)
	return nil
}

func (o *outliving) drain() wanted {
	with, _ := o.with()
	id := o.turn(with)
	return wanted{replicas: 3, holds: leaves(id), begin: func() {
		if err := o.c.DB.Admin().DrainStore(o.ctx, id, false); err != nil {
			o.t.Fatal(err)
		}
	}, after: func() {
		if err := o.c.DB.Admin().UndrainStore(o.ctx, id); err != nil {
			o.t.Fatal(err)
		}
	}}
}

// replicas changes how many there shall be, from three to five or back.
func (o *outliving) replicas(n int) wanted {
	before := 8 - n
	o.setRules(`{"replicas": %d}`, before)
	o.within(healLimit, fmt.Sprintf("%d replicas before", before), o.settled(before, nil))
	return wanted{replicas: n, begin: func() { o.setRules(`{"replicas": %d}`, n) }, after: func() { o.setRules(`{"replicas": 3}`) }}
}

// rule wants replicas on stores with a label, and takes the label from one of them.
func (o *outliving) rule() wanted {
	with, without := o.with()
	out, in := o.turn(with), o.turn(without)
	for _, id := range append(with, without...) {
		o.label(id, "hdd")
	}
	for _, id := range with {
		o.label(id, "ssd")
	}
	o.setRules(`{"replicas": 3, "ranges": [{"name": "all", "require": [{"key": "disk", "values": ["ssd"]}]}]}`)
	return wanted{replicas: 3, holds: leaves(out), begin: func() {
		o.label(in, "ssd")
		o.label(out, "hdd")
	}, after: func() { o.setRules(`{"replicas": 3}`) }}
}

func (o *outliving) label(id shard.StoreID, disk string) {
	if err := o.c.DB.Admin().LabelStore(o.ctx, id, map[string]string{"disk": disk}); err != nil {
		o.t.Fatal(err)
	}
}

func (o *outliving) setRules(format string, args ...any) {
	if _, err := o.c.DB.Admin().SetRules(o.ctx, fmt.Appendf(nil, format, args...)); err != nil {
		o.t.Fatal(err)
	}
}

// lead hands over by hand.
func (o *outliving) lead() wanted {
	with, _ := o.with()
	to := o.turn(with)
	if to == o.shard().Leader.Store {
		to = o.turn(with)
	}
	id := o.shard().ID
	return wanted{replicas: 3, begin: func() {
		if _, err := o.c.DB.Admin().PlaceLeader(o.ctx, id, to); err != nil {
			o.t.Fatal(err)
		}
	}}
}
