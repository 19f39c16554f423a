package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

// TestNemesis hurts a cluster of real processes in every way that nemesis knows, while the workloads register, set,
// append and bank run against it side by side, and judges all of their histories. At the end everything is killed at
// once, and what comes back must hold everything, equal on all replicas. Memory, goroutines and open files of a process
// that lived long must not have grown.
//
// SKERRY_NEMESIS_MINUTES makes it longer, SKERRY_NEMESIS_NODES wider (3), SKERRY_NEMESIS_SEED repeats what is tried, and
// SKERRY_NEMESIS_DISK=real keeps what is not synced through a kill, as a kernel does.
func TestNemesis(t *testing.T) {
	t.Parallel()
	length, every := 25*time.Second, 5*time.Second
	minutes := setting(t, "SKERRY_NEMESIS_MINUTES", 0)
	if minutes > 0 {
		length, every = time.Duration(minutes)*time.Minute, 10*time.Second
	}
	seed := setting(t, "SKERRY_NEMESIS_SEED", rand.Uint64())
	nodes := int(setting(t, "SKERRY_NEMESIS_NODES", 3))
	lossy := textSetting("SKERRY_NEMESIS_DISK", "lossy") == "lossy"
	t.Logf("SKERRY_NEMESIS_SEED=%d SKERRY_NEMESIS_NODES=%d lossy disks: %v", seed, nodes, lossy)
	c := New(t, Options{Nodes: nodes, Lossy: lossy, Hurtful: true, MemTableBytes: 1 << 20,
		SplitKeys: []string{"g04", "g08", "g12", "l/", "s/", "s/8", "t"}})
	s := newSoak(c, seed, minutes > 1)
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t, length, every); err != nil {
		t.Fatal(err)
	}
	if err := s.judge(t); err != nil {
		t.Fatal(err)
	}
	bankInOneShard(t, c.DB)
	s.checkUse(t, minutes >= 5)
	sameOnAllReplicas(t, c)
}

// soak is one run.
type soak struct {
	c       *Cluster
	trial   *trial
	nemesis *nemesis
	seed    uint64
	works   []workload
	clients []int // of each
	least   int64 // operations of each, or the cluster hardly served
	tallies []*tally
	uses    []use

	done atomic.Bool
	wg   sync.WaitGroup
}

// use is what one process used at some time of the run.
type use struct {
	at   time.Duration
	node int
	Stat
}

func newSoak(c *Cluster, seed uint64, long bool) *soak {
	s := &soak{c: c, trial: newTrial(c.DB), seed: seed, least: 100}
	s.nemesis = newNemesis(c, s.trial, seed, long)
	s.add(newRegisters(s.trial), 6)
	s.add(newSets(s.trial), 4)
	s.add(newLists(s.trial), 3)
	s.add(newBank(s.trial), 3)
	return s
}

// add makes so many clients work at something.
func (s *soak) add(w workload, clients int) {
	s.works = append(s.works, w)
	s.clients = append(s.clients, clients)
	s.tallies = append(s.tallies, &tally{})
}

// begin prepares the workloads and starts their clients.
func (s *soak) begin() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i, work := range s.works {
		if err := work.begin(ctx); err != nil {
			return fmt.Errorf("begin %s: %w", work.name(), err)
		}
		for k := range s.clients[i] {
			id := 100*i + k
			w := &worker{id: id, rnd: rand.New(rand.NewPCG(s.seed, uint64(1000+id)))}
			w.linear = &linearClient{c: s.c, id: id, rnd: w.rnd}
			s.wg.Go(func() { s.work(work, s.tallies[i], w) })
		}
	}
	return nil
}

// work is one client.
func (s *soak) work(work workload, t *tally, w *worker) {
	for !s.done.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(200+w.rnd.IntN(4000))*time.Millisecond)
		t.tell(work.one(ctx, w))
		cancel()
	}
}

// run hurts the cluster and says every now and then how things stand. It ends early with the first violation.
func (s *soak) run(t *testing.T, length, every time.Duration) error {
	begun := time.Now()
	end := begun.Add(length)
	hurt := make(chan struct{})
	go func() { s.nemesis.run(end); close(hurt) }()
	last := begun
	for ended := false; !ended; {
		select {
		case <-hurt:
			ended = true
		case <-time.After(time.Second):
		}
		s.nemesis.watch()
		now := time.Since(begun)
		s.measure(now)
		if s.nemesis.spared == nil && now > length/4 {
			s.nemesis.spare(s.c.Nodes[s.seed%uint64(len(s.c.Nodes))])
		}
		if time.Since(last) >= every || ended {
			last = time.Now()
			t.Logf("%s", s.report(now))
		}
		if err := s.trial.found(); err != nil {
			s.nemesis.over.Store(true)
			<-hurt
			s.stop()
			return fmt.Errorf("after %s: %w", now.Round(time.Second), err)
		}
	}
	time.Sleep(2 * time.Second) // the last operations see the healed cluster
	s.stop()
	return nil
}

// stop ends the clients.
func (s *soak) stop() {
	s.done.Store(true)
	s.wg.Wait()
}

// measure notes what every process uses.
func (s *soak) measure(now time.Duration) {
	for _, p := range s.c.Nodes {
		if st, ok := p.Stat(); ok {
			s.uses = append(s.uses, use{now, p.Index, st})
		}
	}
}

// report is how things stand.
func (s *soak) report(now time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", now.Round(time.Second))
	for i, work := range s.works {
		fmt.Fprintf(&b, " %s %s", work.name(), s.tallies[i])
	}
	fmt.Fprintf(&b, "\n  nemesis: %s\n ", s.nemesis.story())
	for _, p := range s.c.Nodes {
		if st, ok := p.Stat(); ok {
			fmt.Fprintf(&b, " node %d: %d MiB (heap %d), %d goroutines, %d files;", p.Index+1, st.RSS>>20, st.Heap>>20, st.Goroutines, st.Files)
		}
	}
	return b.String()
}

// judge kills everything at once, and judges every history by what comes back.
func (s *soak) judge(t *testing.T) error {
	for _, p := range s.c.Nodes {
		p.Pause()
	}
	for _, p := range s.c.Nodes {
		p.Kill()
	}
	for _, p := range s.c.Nodes {
		p.Start()
	}
	s.trial.ends.Store(time.Now().Add(90 * time.Second).UnixNano())
	for _, work := range s.works {
		work.end()
	}
	s.trial.judges.Wait()
	s.nemesis.watch()
	for i, work := range s.works {
		t.Logf("%s: %s, %d histories judged", work.name(), s.tallies[i], s.trial.judged[work.name()])
		if n := s.tallies[i].done.Load(); n < s.least {
			s.trial.violated("%s: only %d operations: the cluster hardly served", work.name(), n)
		}
	}
	for _, p := range s.c.Nodes {
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if log := p.Log(); strings.Contains(log, bad) {
				at := strings.Index(log, bad)
				s.trial.violated("node %d printed %.5000s", p.Index+1, log[at:])
			}
		}
	}
	return s.trial.found()
}

// bankInOneShard makes sure that a page of a bank was a page: all its accounts lie in one shard.
func bankInOneShard(t *testing.T, db *client.DB) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for of := range banks {
		s, err := db.Admin().Shard(ctx, account(of, 0))
		if err != nil {
			t.Fatal(err)
		}
		if end := string(s.Users.End); end != "" && end <= string(account(of, 9)) {
			t.Errorf("bank %d: its shard ends at %q", of, end)
		}
	}
}

// checkUse compares what processes used in the second and in the last quarter of a run. A factor of one and a half, and
// a little more, is for what a longer life fills by right: caches, memtables, the tails of logs of more shards. The
// process that was spared since the first quarter is looked at alone as well: the others are often new.
func (s *soak) checkUse(t *testing.T, strict bool) {
	if len(s.uses) == 0 {
		t.Fatal("nothing was measured")
	}
	length := s.uses[len(s.uses)-1].at
	spared := s.nemesis.spared.Index
	for _, k := range []struct {
		name  string
		slack int64
		of    func(u use) int64
	}{
		{"bytes of memory", 64 << 20, func(u use) int64 { return u.RSS }},
		{"bytes of heap", 32 << 20, func(u use) int64 { return u.Heap }},
		{"goroutines", 100, func(u use) int64 { return int64(u.Goroutines) }},
		{"open files", 100, func(u use) int64 { return int64(u.Files) }},
	} {
		for _, old := range []bool{false, true} {
			quarter := func(from, to time.Duration) int64 {
				var values []int64
				for _, u := range s.uses {
					if u.at >= from && u.at < to && (!old || u.node == spared) {
						values = append(values, k.of(u))
					}
				}
				slices.Sort(values)
				if len(values) == 0 {
					return 0
				}
				return values[len(values)/2]
			}
			second, last := quarter(length/4, length/2), quarter(length*3/4, length+1)
			who := "all nodes"
			if old {
				who = fmt.Sprintf("node %d, spared", spared+1)
			}
			t.Logf("%s, %s: %d in the second quarter, %d in the last", k.name, who, second, last)
			if strict && last > second*3/2+k.slack {
				t.Errorf("%s, %s: %d in the second quarter, %d in the last", k.name, who, second, last)
			}
		}
	}
}
