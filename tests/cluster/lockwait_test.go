package cluster

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// lockWaiter is one lock that may wait in the store, and its answer.
type lockWaiter struct {
	start mvcc.Timestamp
	rep   chan call.Reply
}

// lockWaits sends locks that wait to the leader of the first shard, and knows when they are parked there.
type lockWaits struct {
	*Txns
	t    *testing.T
	lead shard.StoreID
	ttl  uint64 // of the locks, in ms
}

func newLockWaits(t *testing.T) *lockWaits {
	c, x := newTxns(t, nil)
	return &lockWaits{Txns: x, t: t, lead: c.Leader(2), ttl: 20_000}
}

// parked is how many locks the leader has ever parked.
func (x *lockWaits) parked() uint64 {
	for _, n := range x.C.Stores[x.lead].Store.Counters() {
		if n.Name == "txn_lock_waits_total" {
			return n.Value
		}
	}
	x.t.Fatal("no such counter")
	return 0
}

func (x *lockWaits) cmd(k shard.Key, start mvcc.Timestamp) *mvcc.PessimisticLock {
	cmd := mvcc.NewPessimisticLock(start, start, k, x.ttl, k)
	cmd.Values = true
	return cmd
}

// send asks for a lock, and returns at once.
func (x *lockWaits) send(k shard.Key, start mvcc.Timestamp, wait call.LockWait, timeout time.Duration) lockWaiter {
	w := lockWaiter{start: start, rep: make(chan call.Reply, 1)}
	d := x.Of(k)
	req := &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: timeout, Wait: wait, Body: x.cmd(k, start).Append(nil)}
	go func() { w.rep <- x.C.DoFor(x.lead, req, timeout) }()
	return w
}

// park asks for a lock that must wait, and returns when it does.
func (x *lockWaits) park(k shard.Key, start mvcc.Timestamp, wait call.LockWait) lockWaiter {
	x.t.Helper()
	before := x.parked()
	w := x.send(k, start, wait, 15*time.Second)
	x.C.WaitFor("a lock to be parked", func() bool { return x.parked() > before })
	return w
}

func (x *lockWaits) result(w lockWaiter) *mvcc.Result {
	x.t.Helper()
	select {
	case rep := <-w.rep:
		if rep.Err != nil {
			x.t.Fatalf("lock of %d: %v", w.start, rep.Err)
		}
		res, err := mvcc.DecodeResult(rep.Body)
		if err != nil {
			x.t.Fatal(err)
		}
		return res
	case <-time.After(20 * time.Second):
		x.t.Fatalf("lock of %d: not answered", w.start)
		return nil
	}
}

// rejected is the answer of a lock that was not given.
func (x *lockWaits) rejected(w lockWaiter, why mvcc.Reason) *mvcc.Rejected {
	x.t.Helper()
	res := x.result(w)
	if len(res.Rejected) != 1 || res.Rejected[0].Reason != why {
		x.t.Fatalf("lock of %d: %+v, not refused because it %s", w.start, res, why)
	}
	return res.Rejected[0]
}

func (x *lockWaits) waiting(w lockWaiter) {
	x.t.Helper()
	select {
	case rep := <-w.rep:
		x.t.Fatalf("lock of %d was answered: %+v", w.start, rep)
	case <-time.After(50 * time.Millisecond):
	}
}

// commit ends a transaction that holds k, and writes v.
func (x *lockWaits) commit(k shard.Key, start mvcc.Timestamp, v string) {
	x.t.Helper()
	m := put(k, v)
	m.Held = true
	x.do(x.t, k, &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: start, ForUpdateTS: x.Next(), MaxCommitTS: x.Next() + txnMaxAhead, TTLMillis: 5000, Primary: k, Mutations: []mvcc.Mutation{m}})
}

// TestLocksWaitInOrder: many wait for one key. It goes from one to the next in the order in which they came, each sees what
// the one before it wrote, and none is told to come again.
func TestLocksWaitInOrder(t *testing.T) {
	t.Parallel()
	x := newLockWaits(t)
	k := tk("counter")
	holder := x.Next()
	x.do(t, k, x.cmd(k, holder))
	var queue []lockWaiter
	for range 9 {
		queue = append(queue, x.park(k, x.Next(), call.WaitAny))
	}
	last := ""
	for i, w := range queue {
		x.waiting(w)
		if i%3 == 2 { // it gives up: the next one has the key all the same
			x.do(t, k, mvcc.NewRollback(holder, k))
		} else {
			last = fmt.Sprint(i)
			x.commit(k, holder, last)
		}
		if res := x.result(w); len(res.Rejected) > 0 || len(res.Rows) != 1 || string(res.Rows[0].Value) != last {
			t.Fatalf("the waiter %d: %+v, not %q", i, res, last)
		}
		holder = w.start
	}
}

// TestLocksWaitFair: as many clients as waiters, each of which commits as soon as it has the key: the versions of the key
// stand in the order of arrival.
func TestLocksWaitFair(t *testing.T) {
	t.Parallel()
	x := newLockWaits(t)
	k := tk("fair")
	holder := x.Next()
	x.do(t, k, x.cmd(k, holder))
	var queue []lockWaiter
	for range 24 {
		queue = append(queue, x.park(k, x.Next(), call.WaitAny))
	}
	got := make(chan int, len(queue))
	var commits sync.WaitGroup
	defer commits.Wait() // the last one too, before the stores close
	for i, w := range queue {
		commits.Go(func() {
			rep := <-w.rep
			if res, err := mvcc.DecodeResult(rep.Body); rep.Err != nil || err != nil || len(res.Rejected) > 0 {
				t.Errorf("the waiter %d: %+v", i, rep)
			}
			got <- i
			x.commit(k, w.start, fmt.Sprint(i))
		})
	}
	x.commit(k, holder, "first")
	for i := range queue {
		if n := <-got; n != i {
			t.Fatalf("the key went to waiter %d in the turn of %d", n, i)
		}
	}
}

// TestLocksWaitDie: who holds locks waits for younger ones only, also when the holder changes while it waits.
func TestLocksWaitDie(t *testing.T) {
	t.Parallel()
	x := newLockWaits(t)
	k := tk("k")
	oldest, older, young, youngest := x.Next(), x.Next(), x.Next(), x.Next()
	x.do(t, k, x.cmd(k, young))
	if rej := x.rejected(x.send(k, youngest, call.WaitYounger, 10*time.Second), mvcc.Locked); rej.Other != young || rej.Lock == nil || rej.Lock.StartTS != young {
		t.Fatalf("%+v", rej)
	}
	first := x.park(k, oldest, call.WaitAny)
	second := x.park(k, older, call.WaitYounger) // older than the holder, younger than who stands before it
	third := x.park(k, youngest, call.WaitAny)
	x.commit(k, young, "1")
	if res := x.result(first); len(res.Rejected) > 0 {
		t.Fatalf("%+v", res)
	}
	if rej := x.rejected(second, mvcc.Locked); rej.Other != oldest || rej.Lock.StartTS != oldest {
		t.Fatalf("the second waits for an older one: %+v", rej)
	}
	x.waiting(third)
	x.commit(k, oldest, "2")
	if res := x.result(third); len(res.Rejected) > 0 || string(res.Rows[0].Value) != "2" {
		t.Fatalf("%+v", res)
	}
}

// TestLocksWaitEnds: every way out of the queue but the key is a definite answer.
func TestLocksWaitEnds(t *testing.T) {
	t.Parallel()
	x := newLockWaits(t)
	a, z := tk("a"), tk("z")
	holder := x.Next()
	x.do(t, a, x.cmd(a, holder))
	x.do(t, z, x.cmd(z, holder))

	// Its transaction is rolled back while it waits (rule T7): it is refused when its turn comes, and the next one has it.
	dead, next := x.park(a, x.Next(), call.WaitAny), x.park(a, x.Next(), call.WaitAny)
	x.do(t, a, mvcc.NewRollback(dead.start, a))
	x.waiting(dead)
	x.commit(a, holder, "1")
	x.rejected(dead, mvcc.RolledBack)
	if res := x.result(next); len(res.Rejected) > 0 {
		t.Fatalf("%+v", res)
	}

	// Asked twice, it waits twice, and has the lock once.
	start := x.Next()
	one, two := x.park(a, start, call.WaitAny), x.park(a, start, call.WaitAny)
	x.commit(a, next.start, "2")
	for _, w := range []lockWaiter{one, two} {
		if res := x.result(w); len(res.Rejected) > 0 {
			t.Fatalf("%+v", res)
		}
	}

	// Its client's time is nearly over.
	began := time.Now()
	rej := x.rejected(x.send(a, x.Next(), call.WaitAny, 800*time.Millisecond), mvcc.Locked)
	if rej.Lock.StartTS != start || time.Since(began) < 300*time.Millisecond {
		t.Fatalf("%+v after %s", rej, time.Since(began))
	}

	// A split.
	left, right := x.park(a, x.Next(), call.WaitAny), x.park(z, x.Next(), call.WaitAny)
	parts, err := x.C.trySplit(t.Context(), 2, []shard.Key{tk("m")})
	if err != nil {
		t.Fatal(err)
	}
	var stale *shard.StaleEpochError
	for _, w := range []lockWaiter{left, right} {
		if rep := <-w.rep; !errors.As(rep.Err, &stale) {
			t.Fatalf("after the split: %+v", rep)
		}
	}

	// Leadership lost.
	x.shards.Insert(parts[0])
	x.shards.Insert(parts[1])
	x.lead = x.C.Leader(2)
	left = x.park(a, x.Next(), call.WaitAny)
	x.C.moveLeader(2)
	var nl *shard.NotLeaderError
	if rep := <-left.rep; !errors.As(rep.Err, &nl) {
		t.Fatalf("after the transfer: %+v", rep)
	}

	// The store closes.
	x.lead = x.C.Leader(2)
	left = x.park(a, x.Next(), call.WaitAny)
	x.C.Stop(x.lead)
	if rep := <-left.rep; rep.Err == nil {
		t.Fatalf("after the store closed: %+v", rep)
	}
}

// TestLocksWaitForTheDead: the holder is gone. One who waits is told within the lock's life, and the others soon after if
// that one does nothing; a heartbeat, which moves the life on, keeps them waiting.
func TestLocksWaitForTheDead(t *testing.T) {
	t.Parallel()
	x := newLockWaits(t)
	x.ttl = 1000
	k := tk("k")
	holder := x.Next()
	x.do(t, k, x.cmd(k, holder))
	began := time.Now()
	first, second := x.park(k, x.Next(), call.WaitAny), x.park(k, x.Next(), call.WaitAny)
	time.Sleep(700 * time.Millisecond)
	x.do(t, k, &mvcc.Heartbeat{Primary: k, StartTS: holder, TTLMillis: 1000})
	x.rejected(first, mvcc.Locked)
	if d := time.Since(began); d < 1500*time.Millisecond || d > 4*time.Second {
		t.Fatalf("told after %s", d)
	}
	x.rejected(second, mvcc.Locked)
	if d := time.Since(began); d > 6*time.Second {
		t.Fatalf("the second was told after %s", d)
	}
	// One that comes now is told at once, unless its client has just found the holder alive.
	began = time.Now()
	x.rejected(x.send(k, x.Next(), call.WaitAny, 10*time.Second), mvcc.Locked)
	if d := time.Since(began); d > lockAsk {
		t.Fatalf("told after %s", d)
	}
	asked := x.park(k, x.Next(), call.WaitAny|call.WaitAsked)
	began = time.Now()
	x.rejected(asked, mvcc.Locked)
	if d := time.Since(began); d < lockAsk/2 {
		t.Fatalf("who had asked was told after %s", d)
	}
}

const lockAsk = time.Second
