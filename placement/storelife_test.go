package placement

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// clocked is a world whose time the test sets.
type clocked struct {
	env.Real
	now *env.Time
}

func (c clocked) Now() env.Time { return *c.now }

// TestStoreStates: whenever somebody looks, a store is held for what its silence says, however many looks came before; no
// order of heartbeats, silence, looks and removals meets a pair that the table does not know; and all rows are taken.
func TestStoreStates(t *testing.T) {
	cover := &fsm.Coverage{}
	now := env.Time(time.Hour)
	v := newView(clocked{now: &now})
	v.coverage = cover
	for id := shard.StoreID(1); id <= 3; id++ {
		v.loadStore(storeRecord{id: id, removed: id == 2})
	}
	for _, quiet := range []time.Duration{0, suspectAfter + 1, downAfter + 1} { // with a look after each
		now = now.Add(quiet)
		v.allStores()
		v.observe(&beat.Report{Store: 1, Full: true})
		now = now.Add(quiet)
		v.allStores()
	}
	v.observe(&beat.Report{Store: 1, Full: true})
	v.loadStore(storeRecord{id: 1, removed: true})
	v.loadStore(storeRecord{id: 3, removed: true}) // was never heard
	rapid.Check(t, func(t *rapid.T) {
		now := env.Time(time.Hour)
		v := newView(clocked{now: &now})
		v.coverage = cover
		v.loadStore(storeRecord{id: 1, addr: "a"})
		heard, removed := env.Time(0), false
		for range 60 {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Second)).Draw(t, "quiet")))
			case 1:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "silence")))
			case 2:
				full := rapid.Bool().Draw(t, "full")
				if needFull := v.observe(&beat.Report{Store: 1, Addr: "a", Full: full}); needFull != (heard == 0 && !full) {
					t.Fatalf("a full report is wanted: %t", needFull)
				} else if !needFull {
					heard = now
				}
			case 3:
				if rapid.IntRange(0, 9).Draw(t, "remove") == 9 {
					removed = true
				}
				v.loadStore(storeRecord{id: 1, addr: "a", removed: removed})
			case 4: // somebody looks
				age := now.Sub(max(heard, v.begun))
				want := beat.Up
				switch {
				case removed:
					want = beat.Removed
				case age > downAfter:
					want = beat.Down
				case age > suspectAfter || heard == 0:
					want = beat.Suspect
				}
				if got := v.allStores()[0].State; got != want {
					t.Fatalf("after %s it is held for %s, want %s", age, got, want)
				}
			}
		}
	})
	chart := storeTable.Chart()
	for i, n := range cover.Taken(&chart) {
		if n == 0 {
			t.Errorf("never taken: %s", chart.Rows[i])
		}
	}
}

// TestStepsAreFollowed: a story of repairs, from plan to effect, with leaders that report late, stores that come back, and
// answers that are lost; every step is in the state that the story says, and all rows are taken.
func TestStepsAreFollowed(t *testing.T) {
	cover := &fsm.Coverage{}
	rapid.Check(t, func(t *rapid.T) {
		now := env.Time(time.Hour)
		v := newView(clocked{now: &now})
		v.coverage = cover
		d := &shard.Descriptor{ID: 1000, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
		for i := 1; i <= 3; i++ {
			d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(10 + i), Store: shard.StoreID(i), Role: shard.Voter})
		}
		v.loadShard(d)
		for i := 1; i <= 5; i++ {
			v.loadStore(storeRecord{id: shard.StoreID(i)})
		}
		term, leader, next := uint64(6), d.Replicas[0], shard.ReplicaID(100)
		away := make(map[shard.StoreID]bool)
		report := func() []plan {
			for i := shard.StoreID(1); i <= 5; i++ {
				if !away[i] && i != leader.Store {
					v.observe(&beat.Report{Store: i, Full: true})
				}
			}
			v.observe(&beat.Report{Store: leader.Store, Full: true, Led: []beat.Led{{Desc: d, Leader: leader.ID, Term: term}}})
			return v.repairs(leader.Store, 16)
		}
		for range 60 {
			now = now.Add(time.Second)
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1, 2: // a report, and perhaps an answer, and perhaps it is followed
				plans := report()
				if len(plans) == 0 {
					continue
				}
				if len(v.steps) != 1 {
					t.Fatalf("%d steps are followed, one is due", len(v.steps))
				}
				if rapid.Bool().Draw(t, "answered") {
					v.sent(plans)
					if st := v.steps[d.ID].State(); st != operator.Sent {
						t.Fatalf("it is %s after it was sent", st)
					}
				}
				if rapid.Bool().Draw(t, "followed") {
					p := plans[0]
					if to, ok := d.ReplicaOn(p.step.TransferTo); ok {
						leader, term = to, term+1
						continue
					}
					c := *p.step.Change
					if p.step.NeedID {
						c.Replica.ID, next = next, next+1
					}
					after, err := d.Apply(c)
					if err != nil {
						t.Fatal(err)
					}
					d = after
				}
			case 3: // a store is lost, for half an hour or for as long as it takes to be held for lost
				if len(away) == 0 {
					away[shard.StoreID(rapid.IntRange(1, 5).Draw(t, "lost"))] = true
					now = now.Add(downAfter + time.Second)
				}
			case 4:
				clear(away)
			case 5: // another replica leads
				if to := d.Replicas[rapid.IntRange(0, len(d.Replicas)-1).Draw(t, "leader")]; to.Role != shard.Learner && !away[to.Store] {
					leader, term = to, term+1
				}
			}
			if _, ok := d.Replica(leader.ID); !ok || away[leader.Store] {
				for _, r := range d.Replicas {
					if r.Role != shard.Learner && !away[r.Store] {
						leader, term = r, term+1
						break
					}
				}
			}
		}
		clear(away)
		for range 20 {
			now = now.Add(time.Second)
			plans := report()
			if len(plans) == 0 {
				break
			}
			if to, ok := d.ReplicaOn(plans[0].step.TransferTo); ok {
				leader, term = to, term+1
				continue
			}
			after, err := d.Apply(*plans[0].step.Change)
			if err != nil {
				t.Fatal(err)
			}
			d = after
		}
		report()
		if len(v.steps) != 0 {
			t.Fatalf("nothing is to be done, and %d steps are still followed: %+v", len(v.steps), v.steps[1000])
		}
	})
	chart := Charts()[1]
	for i, n := range cover.Taken(&chart) {
		if n == 0 {
			t.Errorf("never taken: %s", chart.Rows[i])
		}
	}
}
