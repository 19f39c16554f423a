package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// inLane takes room for a write of so many bytes on the way, which has from began to end.
func inLane(l *lane, bytes int, began, end env.Time) *slot {
	s := &slot{}
	l.take(s, bytes-laneWriteBytes, began, began, end)
	return s
}

// TestLaneOrder: who came first goes first, until the first has waited for half of its time; then who came last.
func TestLaneOrder(t *testing.T) {
	l := newLane(env.Real{}, 1000)
	holds := inLane(l, 900, 0, 100)
	var line []*slot
	for i := range 4 {
		line = append(line, inLane(l, 900, env.Time(i), 100))
	}
	var order []int
	for _, now := range []env.Time{20, 49, 60, 70} {
		l.give(holds, now, true)
		i := slices.IndexFunc(line, func(s *slot) bool { return s.given && !slices.Contains(order, slices.Index(line, s)) })
		order, holds = append(order, i), line[i]
		if holds.turn.Wait(t.Context(), time.Millisecond) != nil {
			t.Fatalf("%d was given room and is not woken", i)
		}
	}
	if got := fmt.Sprint(order); got != "[0 1 3 2]" {
		t.Errorf("in the order %s", got)
	}
}

// TestLane: what is under way is never more than it may be, nobody waits while there is room for it, and everything ends.
func TestLane(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 1000
		l := newLane(env.Real{}, most)
		var held, waiting []*slot
		now := env.Time(0)
		move := func() {
			waiting = slices.DeleteFunc(waiting, func(s *slot) bool {
				if s.given {
					held = append(held, s)
				}
				return s.given
			})
		}
		check := func() {
			sum := 0
			for _, s := range held {
				sum += s.bytes
			}
			if sum != l.bytes || sum > most && len(held) > 1 {
				t.Fatalf("%d bytes of %d writes are under way, the lane says %d", sum, len(held), l.bytes)
			}
			if len(waiting) > 0 && len(held) == 0 {
				t.Fatal("all wait for nobody")
			}
			if first := l.line.next; first != &l.line && now <= first.half && l.fits(first) {
				t.Fatal("the first waits, and there is room for it")
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += env.Time(rapid.IntRange(0, 30).Draw(t, "passes"))
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				s := inLane(l, rapid.IntRange(laneWriteBytes, 2*most).Draw(t, "bytes"), now, now+100)
				if waiting = append(waiting, s); !s.given && s.turn == nil {
					t.Fatal("it neither waits nor goes")
				}
			case 1:
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "who ends")
					s := held[i]
					held = slices.Delete(held, i, i+1)
					l.give(s, now, true)
				}
			case 2:
				if len(waiting) > 0 {
					i := rapid.IntRange(0, len(waiting)-1).Draw(t, "who gives up")
					if l.leave(waiting[i], now) {
						t.Fatal("given, and not known")
					}
					waiting = slices.Delete(waiting, i, i+1)
				}
			}
			move()
			check()
		}
		for len(held) > 0 {
			l.give(held[0], now, true)
			held = held[1:]
			move()
			check()
		}
		if len(waiting) > 0 || l.bytes != 0 || l.line.next != &l.line {
			t.Fatalf("%d wait still, %d bytes are under way", len(waiting), l.bytes)
		}
	})
}

// TestFullLane: a write that finds the lane of a hung store full is not sent, and says so; reads go on; once there is room again,
// so do writes.
func TestFullLane(t *testing.T) {
	hang := make(chan struct{})
	var writes atomic.Int64
	c := &slowConn{}
	c.routes.Routes = []beat.Route{parseRoute("s2 - - 1.1 leader=1 term=5 applied=100")}
	c.call = func(ctx context.Context, _ shard.StoreID, req *call.Request) call.Reply {
		if req.Kind != call.Write {
			return found("v")
		}
		writes.Add(1)
		<-hang
		return call.Reply{Body: (&raw.Result{Failed: -1}).Append(nil)}
	}
	db := openSlow(t, c, WithWriteBuffer(2*(laneWriteBytes+1100)))
	var wg sync.WaitGroup
	value := make([]byte, 1000)
	for i := range 2 {
		wg.Go(func() {
			if err := db.Put(context.Background(), []byte{byte('a' + i)}, value); err != nil {
				t.Error(err)
			}
		})
	}
	for writes.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := db.Put(ctx, []byte("c"), value)
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrAmbiguous) || !strings.Contains(fmt.Sprint(err), errLane.Error()) {
		t.Errorf("a put that was not sent: %v", err)
	}
	if v, err := db.Get(context.Background(), []byte("d")); err != nil || string(v) != "v" {
		t.Errorf("a read meanwhile: %q, %v", v, err)
	}
	wg.Go(func() {
		if err := db.Put(context.Background(), []byte("e"), value); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(20 * time.Millisecond)
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes were sent", n)
	}
	close(hang)
	wg.Wait()
	if l := db.lanes.lane(1); l.bytes != 0 || l.line.next != &l.line {
		t.Errorf("%d bytes are under way at the end", l.bytes)
	}
}

// TestWaitedInLane: a write that waited names what is known when its turn comes, and goes to who leads then.
func TestWaitedInLane(t *testing.T) {
	hang := make(chan struct{})
	type sent struct {
		to    shard.StoreID
		since uint64
	}
	var mu sync.Mutex
	writes := make(map[byte]sent)
	c := &slowConn{}
	c.routes.Routes = []beat.Route{parseRoute("s2 - m 1.1 leader=1 term=5 applied=100"), parseRoute("s3 m - 1.1 leader=1 term=5 applied=100")}
	c.call = func(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply {
		if req.Kind == call.Write {
			cmd, err := raw.DecodeCommand(req.Body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			writes[userOf(cmd.Ops[0].Key)[0]] = sent{to, req.Since}
			first := len(writes) == 1
			mu.Unlock()
			if first {
				<-hang
			}
		}
		return call.Reply{Term: 5, Applied: 900, Body: (&raw.Result{Failed: -1}).Append(nil)}
	}
	db := openSlow(t, c, WithWriteBuffer(laneWriteBytes+1100))
	var wg sync.WaitGroup
	put := func(k string) {
		wg.Go(func() {
			if err := db.Put(context.Background(), []byte(k), make([]byte, 1000)); err != nil {
				t.Error(err)
			}
		})
	}
	waiting := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			l, got := db.lanes.lane(1), 0
			l.mu.Lock()
			for s := l.line.next; s != &l.line; s = s.next {
				got++
			}
			full := l.bytes > 0
			l.mu.Unlock()
			if full && got == n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d wait, want %d", got, n)
			}
		}
	}
	put("a")
	waiting(0)
	put("b")
	waiting(1)
	put("x")
	waiting(2)
	db.routes.heard(3, fakeReplica(3, 2), 6, 300) // another store leads the other shard
	close(hang)
	wg.Wait()
	want := map[byte]sent{'a': {1, 100}, 'b': {1, 900}, 'x': {2, 300}}
	if !maps.Equal(writes, want) {
		t.Errorf("sent %v, want %v", writes, want)
	}
}
