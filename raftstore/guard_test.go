package raftstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

var guardKeys = []shard.Key{mvcc.Key([]byte("a")), mvcc.Key([]byte("b")), mvcc.Key([]byte("c"))}

// guardModel is entries with floors, and reads, in any order: the rule is that a read at r begins only when every command
// on its keys that may commit at or below r is finished, and that none gets such a floor after it.
type guardModel struct {
	g     guard
	open  map[uint64]map[string]mvcc.Timestamp // floors of unfinished entries, by key
	reads map[string]mvcc.Timestamp            // the largest read of each key that was noted
}

// TestGuard is rule T2, checked against all that is known.
func TestGuard(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &guardModel{open: map[uint64]map[string]mvcc.Timestamp{}, reads: map[string]mvcc.Timestamp{}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				m.propose(t)
			case 2:
				if seqs := m.unfinished(); len(seqs) > 0 {
					seq := rapid.SampledFrom(seqs).Draw(t, "finished")
					m.g.finish(seq)
					delete(m.open, seq)
				}
			case 3:
				m.read(t)
			}
		}
	})
}

func (m *guardModel) unfinished() (out []uint64) {
	for seq := uint64(1); seq <= m.g.seq; seq++ {
		if m.open[seq] != nil {
			out = append(out, seq)
		}
	}
	return out
}

func (m *guardModel) propose(t *rapid.T) {
	seq := uint64(0)
	for range rapid.IntRange(1, 3).Draw(t, "commands") {
		k := rapid.SampledFrom(guardKeys).Draw(t, "key")
		var floor mvcc.Timestamp
		floor, seq = m.g.enter(&mvcc.Add{Key: k}, seq)
		if floor&1 == 0 || floor <= m.reads[string(k)] {
			t.Fatalf("floor %d of a command on %s, which was read at %d", floor, k, m.reads[string(k)])
		}
		if m.open[seq] == nil {
			m.open[seq] = map[string]mvcc.Timestamp{}
		}
		if old, ok := m.open[seq][string(k)]; !ok || floor < old {
			m.open[seq][string(k)] = floor
		}
	}
}

func (m *guardModel) read(t *rapid.T) {
	r := mvcc.Timestamp(rapid.IntRange(1, 20).Draw(t, "r"))
	var ks []shard.Key
	if rapid.Bool().Draw(t, "point") {
		ks = []shard.Key{rapid.SampledFrom(guardKeys).Draw(t, "key")}
	}
	wait := m.g.read(r, ks)
	noted := ks
	if noted == nil {
		noted = guardKeys
	}
	for _, k := range noted {
		m.reads[string(k)] = max(m.reads[string(k)], r)
		for seq, floors := range m.open {
			if f, ok := floors[string(k)]; ok && f <= r && seq > wait {
				t.Fatalf("a read of %s at %d waits for %d and passes %d, whose floor is %d", k, r, wait, seq, f)
			}
		}
	}
	if wait != 0 && wait <= m.g.finished() {
		t.Fatalf("a read waits for %d, and all up to %d are finished", wait, m.g.finished())
	}
}

// slowSource answers one question at a time, when it is let.
type slowSource struct {
	mu    sync.Mutex
	asked int
	let   chan struct{}
	fail  bool
}

func (s *slowSource) Timestamp(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	s.asked++
	n, fail := s.asked, s.fail
	s.mu.Unlock()
	select {
	case <-s.let:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if fail {
		return 0, errors.New("away")
	}
	return uint64(2 * n), nil
}

// TestStampsShareQuestions: those who ask while a question is under way get the answer of the next one, all of them.
func TestStampsShareQuestions(t *testing.T) {
	src := &slowSource{let: make(chan struct{})}
	s := &Store{env: env.Real{}, ctx: t.Context(), tasks: env.NewGroup(env.Real{}, "test"),
		opt: Options{Tick: time.Second, ElectionTicks: 10, Timestamps: src}}
	p := &stamps{store: s}
	got := make(chan uint64, 10)
	ask := func() { p.fetch(func(ts uint64, err error) { got <- ts }) }
	ask()
	for src.count() == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		ask()
	}
	src.let <- struct{}{}
	if ts := <-got; ts != 2 {
		t.Fatal(ts)
	}
	src.let <- struct{}{}
	for range 3 {
		if ts := <-got; ts != 4 {
			t.Fatalf("%d: an answer to a question that was asked before", ts)
		}
	}
	if n := src.count(); n != 2 {
		t.Fatalf("%d questions for 4 who asked", n)
	}
	s.tasks.Wait()
}

func (s *slowSource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// BenchmarkGuard is what a transaction pays at its leader for rule T2: a floor, its end, and a read.
func BenchmarkGuard(b *testing.B) {
	g := new(guard)
	cmd := &mvcc.Add{Key: guardKeys[0]}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, seq := g.enter(cmd, 0)
		g.finish(seq)
		g.read(mvcc.Timestamp(2*i+2), guardKeys[:1])
	}
}
