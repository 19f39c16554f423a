package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/faultfs"
)

// TestMovesThatFail: a move whose target has a full disk, dies in the middle of the snapshot, or is removed and comes back,
// and two administrators who want different things at once. Each ends with the shard as it was or as it was wanted, with
// three voters and nothing half done, and with a reason that `ctl op show` tells. The first two wait for half a minute
// until a silent target is given up, and run with SKERRY_LONG=1 only.
func TestMovesThatFail(t *testing.T) {
	t.Parallel()
	// Placement is apart: an operator is gone with the leadership of placement, and its end is looked at here.
	c := New(t, Options{Nodes: 4, Apart: 3, Hurtful: true, DownAfter: time.Hour, SnapshotBytesPerSecond: 2 << 20})
	m := &moves{outliving{growth: growth{t: t, c: c}, ctx: context.Background()}}
	m.fill(8 << 20)
	if os.Getenv("SKERRY_LONG") != "" {
		t.Run("full disk at the target", m.fullDisk)
		t.Run("target dies in the middle of the snapshot", m.targetDies)
	}
	t.Run("two administrators at once", m.twoAdministrators)
	t.Run("removed target comes back", m.removedTarget)
	sameOnAllReplicas(t, c)
}

type moves struct{ outliving }

// fill writes so much into the only shard that a copy of it takes seconds.
func (m *moves) fill(size int) {
	value := make([]byte, 64<<10)
	for i := range size / len(value) {
		for k := range value {
			value[k] = byte(i*7 + k*k)
		}
		if err := m.c.DB.Put(m.ctx, fmt.Appendf(nil, "k%04d", i), value); err != nil {
			m.t.Fatal(err)
		}
	}
	_ = m.c.DB.Put(m.ctx, []byte("k"), []byte("v"))
}

// begin moves the shard from some store to the one that has nothing of it.
func (m *moves) begin() (op client.OperatorInfo, from, to shard.StoreID) {
	m.within(time.Minute, "at rest before", m.settled(3, nil))
	with, without := m.with()
	if len(without) != 1 {
		m.t.Fatalf("%v hold the shard, %v run without it", with, without)
	}
	from, to = m.turn(with), without[0]
	op, err := m.c.DB.Admin().MoveShard(m.ctx, m.shard().ID, from, to)
	if err != nil {
		m.t.Fatal(err)
	}
	return op, from, to
}

// ended waits for the end of an operator, and for a clean shard, and returns the operator.
func (m *moves) ended(id uint64, limit time.Duration) client.OperatorInfo {
	m.t.Helper()
	var op client.OperatorInfo
	m.within(limit, fmt.Sprintf("operator o%d ended, the shard is clean", id), func(all []client.ShardInfo, st []client.StoreInfo) string {
		var err error
		if op, err = m.c.DB.Admin().Operator(m.ctx, id); err != nil {
			return err.Error()
		}
		if op.State == "planned" || op.State == "running" {
			return fmt.Sprintf("o%d is %s: %s", id, op.State, op.Step)
		}
		return m.settled(3, nil)(all, st)
	})
	m.t.Logf("o%d (%s): %s after %s: %s", id, op.Kind, op.State, op.Took.Round(time.Millisecond), op.Reason)
	if op.State != "finished" && op.Reason == "" {
		m.t.Errorf("o%d is %s and does not say why", id, op.State)
	}
	return op
}

// fullDisk: the target's process ends with the reason; the operator gives it up; a disk with room is welcome again.
func (m *moves) fullDisk(t *testing.T) {
	m.t = t
	_, without := m.with()
	target := m.procOf(without[0])
	target.Order(order{Disk: &faultfs.Faults{NoSpace: true, Path: "/store/"}})
	op, _, to := m.begin()
	if got := m.ended(op.ID, time.Minute); got.State == "finished" {
		t.Errorf("a copy went to a full disk")
	}
	if onStore(m.shard(), to) {
		t.Errorf("%s is on %s", m.shard().ID, to)
	}
	if log := target.Log(); target.Exited() && !strings.Contains(log, "no space left on device") {
		t.Errorf("the process ended without saying that its disk is full: %s", log)
	}
	target.Restart()
	m.up(to)
	m.moves(1)
}

// targetDies: killed while the snapshot comes in.
func (m *moves) targetDies(t *testing.T) {
	m.t = t
	op, _, to := m.begin()
	m.awaitLearner(to)
	time.Sleep(time.Second) // of the four that the copy takes
	if s := m.shard(); !onStore(s, to) || voter(s, to) {
		t.Fatalf("the copy is over already: %v", s.Replicas)
	}
	target := m.procOf(to)
	target.Kill()
	if got := m.ended(op.ID, time.Minute); got.State == "finished" {
		t.Errorf("the move is finished without its target")
	}
	target.Start()
	m.up(to)
	m.moves(1)
}

// twoAdministrators: the later word counts, and the first operator says whose word that was.
func (m *moves) twoAdministrators(t *testing.T) {
	m.t = t
	first, from, to := m.begin()
	with, _ := m.with()
	other := m.turn(with)
	if other == from {
		other = m.turn(with)
	}
	second, err := m.c.DB.Admin().MoveShard(m.ctx, m.shard().ID, other, to)
	if err != nil {
		t.Fatal(err)
	}
	got := m.ended(second.ID, time.Minute)
	if s := m.shard(); got.State != "finished" || onStore(s, other) || !onStore(s, from) || !onStore(s, to) {
		t.Errorf("the later move of %s from %s to %s is %s: %v", s.ID, other, to, got.State, s.Replicas)
	}
	if got := m.ended(first.ID, time.Minute); got.State != "superseded" || !strings.Contains(got.Reason, fmt.Sprintf("o%d", second.ID)) {
		t.Errorf("the first move is %s: %s", got.State, got.Reason)
	}
}

// removedTarget: the target is declared gone while it is cut off; when it comes back it must end, and its replica with it.
func (m *moves) removedTarget(t *testing.T) {
	m.t = t
	op, _, to := m.begin()
	m.awaitLearner(to)
	target := m.procOf(to)
	target.Pause()
	m.within(time.Minute, "removed", func([]client.ShardInfo, []client.StoreInfo) string {
		if err := m.c.DB.Admin().RemoveStore(m.ctx, to); err != nil {
			return err.Error() // while it counts as up
		}
		return ""
	})
	m.ended(op.ID, time.Minute)
	target.Resume()
	for end := time.Now().Add(time.Minute); !target.Exited(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a removed store that came back goes on")
		}
	}
	if log := target.Log(); !strings.Contains(log, "removed") {
		t.Errorf("it ended without saying why: %s", log)
	}
	if s := m.shard(); onStore(s, to) {
		t.Errorf("%s is on %s", s.ID, to)
	}
}

// moves sees that the same works once the target is well.
func (m *moves) moves(times int) {
	m.t.Helper()
	for range times {
		op, _, _ := m.begin()
		if got := m.ended(op.ID, time.Minute); got.State != "finished" {
			m.t.Errorf("o%d to a store that is well: %s: %s", op.ID, got.State, got.Reason)
		}
	}
}

// up waits until a store is.
func (m *moves) up(id shard.StoreID) {
	m.t.Helper()
	m.within(time.Minute, id.String()+" is up", func(_ []client.ShardInfo, stores []client.StoreInfo) string {
		for _, s := range stores {
			if s.ID == id {
				return unless(s.State == "up", "%s is %s", id, s.State)
			}
		}
		return "not there"
	})
}

// awaitLearner waits until a store has begun to receive.
func (m *moves) awaitLearner(id shard.StoreID) {
	m.t.Helper()
	m.within(time.Minute, "a learner on "+id.String(), func(all []client.ShardInfo, _ []client.StoreInfo) string {
		return unless(onStore(all[0], id), "%v", all[0].Replicas)
	})
}

func voter(s client.ShardInfo, id shard.StoreID) bool {
	for _, r := range s.Replicas {
		if r.Store == id {
			return r.Role == shard.Voter
		}
	}
	return false
}
