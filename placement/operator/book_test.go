package operator

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
)

// TestBookLimits: whatever is asked for in whatever order, no store receives or sends more than it may, no more run than
// may, a shard has one operator, what ended is remembered as far as it is promised, and at the end nothing is counted.
func TestBookLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Receiving: rapid.IntRange(1, 3).Draw(t, "receiving"), Sending: rapid.IntRange(1, 3).Draw(t, "sending"), Total: rapid.IntRange(1, 8).Draw(t, "total")}
		b := NewBook(limits, nil)
		now, next, ended := time.Duration(0), ID(0), 0
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		end := func(o *Operator, on Event) {
			check(b.End(o, on, "so", now))
			ended++
		}
		for range rapid.IntRange(0, 80).Draw(t, "events") {
			now += time.Duration(rapid.IntRange(0, 120).Draw(t, "seconds")) * time.Second
			all := b.All()
			switch rapid.IntRange(0, 3).Draw(t, "event") {
			case 0, 1:
				next++
				o := &Operator{ID: next, Shard: shard.ID(rapid.IntRange(1, 20).Draw(t, "shard")), ByHand: rapid.Bool().Draw(t, "by hand"),
					Kind: rapid.SampledFrom(order[1:]).Draw(t, "kind"), Sends: shard.StoreID(rapid.IntRange(0, 3).Draw(t, "sends"))}
				for st := range rapid.IntRange(0, 2).Draw(t, "receives") {
					o.Receives = append(o.Receives, shard.StoreID(st+1))
				}
				if b.Refuses(o) != "" {
					continue
				}
				if old := b.Of(o.Shard); old != nil {
					if old.Kind.Rank() < o.Kind.Rank() {
						t.Fatalf("%s gives way to %s", old.Kind, o.Kind)
					}
					end(old, OpSupersede)
				}
				b.Add(o, now)
			case 2:
				if len(all) > 0 {
					if o := rapid.SampledFrom(all).Draw(t, "sent"); b.Waits(o) == "" {
						check(b.Sent(o, now))
					}
				}
			case 3:
				if len(all) > 0 {
					end(rapid.SampledFrom(all).Draw(t, "ended"), rapid.SampledFrom([]Event{OpReach, OpCancel, OpLapse, OpSupersede}).Draw(t, "how"))
				}
				for _, o := range b.Lapsed(now) {
					least := patiences * DefaultLimits.Patience
					if len(o.Goal.Voters) == 0 && o.State() == OpRunning {
						least = DefaultLimits.Patience
					}
					if age := now - o.Begun; age <= least {
						t.Fatalf("%s is over after %s", o.ID, age)
					}
					end(o, OpLapse)
				}
			}
			checkLimits(t, b, limits)
		}
		for _, o := range b.All() {
			end(o, OpCancel)
		}
		if len(b.History()) != min(ended, historyLength) {
			t.Fatalf("%d ended, %d are remembered", ended, len(b.History()))
		}
		if len(b.receives)+len(b.sends)+b.running+b.Len() != 0 {
			t.Fatalf("nothing is under way, and it counts %v %v %d %d", b.receives, b.sends, b.running, b.Len())
		}
	})
}

// checkLimits counts what runs, and compares.
func checkLimits(t *rapid.T, b *Book, l Limits) {
	in, out, running := make(map[shard.StoreID]int), make(map[shard.StoreID]int), 0
	for _, o := range b.All() {
		if b.Of(o.Shard) != o || b.Find(o.ID) != o {
			t.Fatalf("%s is not found", o.ID)
		}
		if o.state == OpPlanned && o.ByHand {
			continue // waits
		}
		running++
		for _, st := range o.Receives {
			in[st]++
		}
		if len(o.Receives) > 0 {
			out[o.Sends]++
		}
	}
	delete(out, 0)
	for st := range shard.StoreID(5) {
		receiving, sending := b.Load(st)
		if in[st] != receiving || out[st] != sending || receiving > l.Receiving || sending > l.Sending || running > l.Total {
			t.Fatalf("%s receives %d and sends %d, the book says %d and %d, of %+v; %d run", st, in[st], out[st], receiving, sending, l, running)
		}
	}
}

// TestBookForgets: of very many, the latest are remembered.
func TestBookForgets(t *testing.T) {
	b := NewBook(Limits{}, nil)
	for i := range ID(historyLength + 10) {
		o := &Operator{ID: i + 1, Shard: 7, Kind: Move, ByHand: true}
		b.Add(o, 0)
		if err := b.End(o, OpCancel, "so", 0); err != nil {
			t.Fatal(err)
		}
	}
	h := b.History()
	if len(h) != historyLength || h[0].ID != historyLength+10 || b.Find(10) != nil || b.Find(11) == nil {
		t.Fatalf("%d remembered, from o%d to o%d", len(h), h[0].ID, h[len(h)-1].ID)
	}
	if why := b.Refuses(&Operator{ID: 1, Shard: 8, Kind: BalanceShards}); why != "" {
		t.Fatal(why)
	}
	b.Add(&Operator{ID: 9, Shard: 8, Kind: Replace, Why: "st3 is down"}, 0)
	if why := b.Refuses(&Operator{ID: 10, Shard: 8, Kind: Move, ByHand: true}); !strings.Contains(why, "st3 is down") {
		t.Fatalf("a move may take the place of a repair: %q", why)
	}
}
