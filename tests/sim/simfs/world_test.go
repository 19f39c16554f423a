package simfs

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
	pb "go.etcd.io/raft/v3/raftpb"
)

const storeDir = "/data/store"

// memTableBytes is small, so that a flush ends every few batches, and compactions follow.
const memTableBytes = 64 << 10

// world is a store on a disk that loses power now and then, and what the store showed after every batch since the last
// time. Two shards live there: 1001 keeps its replica, 1002 is destroyed and comes again, by a snapshot or empty.
type world struct {
	t    testing.TB
	seed uint64
	rng  *rand.Rand
	fs   *FS
	wrap func(vfs.FS) vfs.FS // what the engine sees of the disk
	hook bool                // the engine says what is durable
	e    *engine.Engine
	logs map[shard.ID]*engine.Log
	reps map[shard.ID]shard.ReplicaID
	next shard.ReplicaID
	// marked is set while the data of 1002 are still to be destroyed.
	marked bool

	versions []string
	floor    int // the oldest version that a crash may show
	waits    []waiting
	crashes  int
	stats    stats
}

// waiting is a log batch that nobody has waited for, and the version that it made.
type waiting struct {
	b *engine.LogBatch
	v int
}

// stats says what the crashes of a test have met.
type stats struct {
	crashes, lostNothing, lostSome, lostTail int
	undone                                   int // flushes undone by a cut of the manifest
	tables                                   int // crashes with tables on disk
}

func (s *stats) add(o stats) {
	s.crashes += o.crashes
	s.lostNothing += o.lostNothing
	s.lostSome += o.lostSome
	s.lostTail += o.lostTail
	s.undone += o.undone
	s.tables += o.tables
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), fs: New(), hook: true, next: 10,
		wrap: func(fs vfs.FS) vfs.FS { return fs }}
	return w
}

func (w *world) start() error {
	o := engine.Options{FS: w.wrap(w.fs), MemTableBytes: memTableBytes, CacheBytes: 1 << 20, Synced: w.fs.Durable}
	if !w.hook {
		o.Synced = func(uint64) {}
	}
	e, err := engine.Open(storeDir, o)
	if err != nil {
		return err
	}
	w.e, w.waits, w.marked = e, nil, false
	w.logs, w.reps = map[shard.ID]*engine.Log{}, map[shard.ID]shard.ReplicaID{}
	all, err := e.Replicas()
	if err != nil {
		return err
	}
	for _, rs := range all {
		w.logs[rs.Shard], w.reps[rs.Shard] = e.OpenLog(rs), rs.Replica
	}
	return nil
}

var shards = []shard.ID{1001, 1002}

func userKey(s string) shard.Key { return shard.RawKey([]byte(s)) }

var ranges = map[shard.ID]shard.Range{
	1001: {Start: userKey("a"), End: userKey("m")},
	1002: {Start: userKey("m"), End: userKey("z")},
}

func descOf(id shard.ID, r shard.ReplicaID) *shard.Descriptor {
	return &shard.Descriptor{ID: id, Range: ranges[id], Epoch: shard.Epoch{ConfVer: 1, Version: 1},
		Replicas: []shard.Replica{{ID: r, Store: 1001, Role: shard.Voter}}}
}

func stateOf(id shard.ID, r shard.ReplicaID, index, term uint64) engine.ReplicaState {
	return engine.ReplicaState{Shard: id, Replica: r, Desc: descOf(id, r), Hard: engine.HardState{Term: term, Commit: index},
		Applied: shard.Applied{Index: index, Term: term, TruncIndex: index, TruncTerm: term}, LastIndex: index, LastTerm: term}
}

// show is what the store holds: logs, states, tombstones, records, data.
func (w *world) show() string {
	var b strings.Builder
	r := w.e.NewReader()
	defer r.Close()
	for _, id := range shards {
		if next, ok, err := w.e.Tombstone(id); ok || err != nil {
			fmt.Fprintf(&b, "%s tombstone %s %v\n", id, next, err)
		}
		l := w.logs[id]
		if l == nil {
			continue
		}
		hs, _, _ := l.InitialState()
		first, _ := l.FirstIndex()
		last, _ := l.LastIndex()
		a, _, err := r.Applied(id)
		fmt.Fprintf(&b, "%s %s term %d vote %d applied %d/%d %v log", id, w.reps[id], hs.GetTerm(), hs.GetVote(), a.Index, a.Term, err)
		for i := first - 1; i <= last; i++ {
			term, err := l.Term(i)
			fmt.Fprintf(&b, " %d/%d", term, i)
			if err != nil {
				fmt.Fprint(&b, err)
			}
		}
		b.WriteByte('\n')
		if last >= first {
			es, err := l.Entries(first, last+1, math.MaxUint64)
			h := uint64(len(es))
			for _, e := range es {
				h = mix(h, mixBytes(e.Data))
			}
			fmt.Fprintf(&b, "entries %x %v\n", h, err)
		}
	}
	if v, ok, err := w.e.Record("x"); ok || err != nil {
		fmt.Fprintf(&b, "record %s %v\n", v, err)
	}
	err := r.Scan(shard.Range{}, false, func(k shard.Key, v []byte) bool {
		if !w.marked || k.Compare(ranges[1002].Start) < 0 {
			fmt.Fprintf(&b, "%s=%.8s#%d\n", k, v, len(v))
		}
		return true
	})
	if err != nil {
		fmt.Fprintf(&b, "%v", err)
	}
	return b.String()
}

// did notes what the store shows after a batch.
func (w *world) did() int {
	w.versions = append(w.versions, w.show())
	return len(w.versions) - 1
}

func (w *world) promise(v int) { w.floor = max(w.floor, v) }

// step does one thing. In a calm time nothing is synced.
func (w *world) step(calm bool) {
	steps := []func(){w.append, w.append, w.append, w.apply, w.apply, w.apply, w.wait, w.record, w.syncWAL, w.churn}
	if calm {
		steps = steps[:6]
	}
	steps[w.rng.IntN(len(steps))]()
}

func (w *world) pick() (shard.ID, *engine.Log) {
	if l := w.logs[1002]; l != nil && w.rng.IntN(2) == 0 {
		return 1002, l
	}
	return 1001, w.logs[1001]
}

func (w *world) size() int {
	switch w.rng.IntN(40) {
	case 0:
		return 100 << 10 // several blocks of the log
	case 1, 2:
		return memTableBytes / 2 // too large for a memtable
	}
	return w.rng.IntN(4 << 10)
}

func (w *world) append() {
	id, l := w.pick()
	hs, _, _ := l.InitialState()
	last, _ := l.LastIndex()
	first, term := last+1, hs.GetTerm()
	var hard *engine.HardState
	if w.rng.IntN(4) == 0 { // a new leader
		term++
		hard = &engine.HardState{Term: term, Vote: w.rng.Uint64N(3), Commit: hs.GetCommit()}
		first -= w.rng.Uint64N(last - hs.GetCommit() + 1)
	}
	end := first + w.rng.Uint64N(3)
	var ents []*pb.Entry
	for i := first; i <= end; i++ {
		data := make([]byte, w.size()) // zeros, so that a torn tail may look like the real one
		for j := range data[:len(data)/2] {
			data[j] = byte(w.rng.Uint32())
		}
		ents = append(ents, &pb.Entry{Index: new(i), Term: new(term), Type: pb.EntryNormal.Enum(), Data: data})
	}
	b := w.e.NewLogBatch()
	b.Append(l, ents, hard, hs.GetCommit()+w.rng.Uint64N(end-hs.GetCommit()+1))
	must(w.t, b.Commit())
	_ = id
	w.waits = append(w.waits, waiting{b, w.did()})
}

func (w *world) apply() {
	id, l := w.pick()
	hs, _, _ := l.InitialState()
	first, _ := l.FirstIndex()
	r := w.e.NewReader()
	a, _, err := r.Applied(id)
	must(w.t, err)
	must(w.t, r.Close())
	b := w.e.NewStateBatch()
	defer b.Close()
	if hs.GetCommit() > a.Index {
		a.Index += 1 + w.rng.Uint64N(hs.GetCommit()-a.Index)
		a.Term, err = l.Term(a.Index)
		must(w.t, err)
	}
	if w.rng.IntN(3) == 0 && a.Index >= first {
		a.TruncIndex = first + w.rng.Uint64N(a.Index-first+1)
		a.TruncTerm, err = l.Term(a.TruncIndex)
		must(w.t, err)
		l.SetApplied(a)
		l.Truncate(b, a.TruncIndex, a.TruncTerm)
	}
	l.SetApplied(a)
	b.SetApplied(id, a)
	for range w.rng.IntN(5) {
		k := userKey(fmt.Sprintf("%s%02d", ranges[id].Start.User(), w.rng.IntN(30)))
		switch w.rng.IntN(6) {
		case 0:
			b.Delete(k)
		case 1:
			b.DeleteRange(shard.Range{Start: k, End: ranges[id].End})
		default:
			b.Set(k, fmt.Appendf(nil, "%d.%0*d", len(w.versions), w.size()/8, 0))
		}
	}
	must(w.t, b.Commit(false))
	w.did()
}

func (w *world) wait() {
	for range min(len(w.waits), 1+w.rng.IntN(3)) {
		must(w.t, w.waits[0].b.Wait())
		w.promise(w.waits[0].v)
		w.waits = w.waits[1:]
	}
}

func (w *world) drain() {
	for len(w.waits) > 0 {
		w.wait()
	}
}

func (w *world) record() {
	if w.rng.IntN(4) == 0 {
		must(w.t, w.e.SetRecord("x", fmt.Appendf(nil, "%d", len(w.versions))))
		w.promise(w.did())
	}
}

func (w *world) syncWAL() {
	if w.rng.IntN(4) == 0 {
		must(w.t, w.e.SyncWAL())
		w.promise(len(w.versions) - 1)
	}
}

// churn takes the next step of destroying the replica of 1002 and adding another.
func (w *world) churn() {
	const id = shard.ID(1002)
	l := w.logs[id]
	switch {
	case l == nil && w.marked:
		must(w.t, w.e.FinishDestroy(id, ranges[id]))
		w.marked = false
		w.promise(w.did())
	case l == nil && w.rng.IntN(3) == 0:
		w.next++
		w.create(id, w.next)
	case l == nil:
		w.next++
		w.install(stateOf(id, w.next, 5, 5), nil)
	case w.rng.IntN(2) == 0:
		w.drain()
		hs, _, _ := l.InitialState()
		last, _ := l.LastIndex()
		rs, rg := stateOf(id, w.reps[id], last+1+w.rng.Uint64N(5), hs.GetTerm()), ranges[id]
		rs.Hard.Vote = hs.GetVote()
		w.install(rs, &rg)
	default:
		w.drain()
		span := ranges[id]
		b := w.e.NewStateBatch()
		defer b.Close()
		b.DestroyReplica(id, w.reps[id]+1, &span)
		must(w.t, b.Commit(true))
		l.Shrink()
		delete(w.logs, id)
		w.marked = true
		w.promise(w.did())
	}
}

func (w *world) create(id shard.ID, r shard.ReplicaID) {
	rs := stateOf(id, r, 5, 5)
	b := w.e.NewStateBatch()
	defer b.Close()
	b.CreateReplica(rs)
	must(w.t, b.Commit(true))
	w.logs[id], w.reps[id] = w.e.OpenLog(rs), r
	w.promise(w.did())
}

func (w *world) install(rs engine.ReplicaState, old *shard.Range) {
	w.drain()
	chunks := snapshots()[w.rng.IntN(len(snapshots()))]
	s, err := w.e.NewSnapshotSink(rs.Shard, fmt.Sprint(len(w.versions)))
	must(w.t, err)
	for _, c := range chunks {
		must(w.t, s.Write(c))
	}
	must(w.t, s.Finish())
	must(w.t, s.Install(engine.Install{State: rs, OldRange: old}))
	s.Discard()
	if l := w.logs[rs.Shard]; l != nil {
		l.Reset(rs)
	} else {
		w.logs[rs.Shard] = w.e.OpenLog(rs)
	}
	w.reps[rs.Shard] = rs.Replica
	w.promise(w.did())
}

// snapshots are the chunks of a small and a large snapshot of shard 1002.
var snapshots = sync.OnceValue(func() (out [][][]byte) {
	for _, size := range []int{10, 20 << 10} {
		e, err := engine.Open(storeDir, engine.Options{FS: New(), MemTableBytes: 2 << 20})
		if err != nil {
			panic(err)
		}
		b := e.NewStateBatch()
		b.CreateReplica(stateOf(1002, 3, 5, 5))
		for i := range 20 {
			b.Set(userKey(fmt.Sprintf("m%02d", i)), fmt.Appendf(nil, "%d!%0*d", size, size, i))
		}
		if err := b.Commit(true); err != nil {
			panic(err)
		}
		s, err := e.NewSnapshotSource(descOf(1002, 3), 0)
		if err != nil {
			panic(err)
		}
		var chunks [][]byte
		for {
			c, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				panic(err)
			}
			chunks = append(chunks, c)
		}
		out = append(out, chunks)
		b.Close()
		_, _ = s.Close(), e.Close()
	}
	return out
})

// crash loses power and starts again. It returns an error if the store then shows what it must not.
func (w *world) crash() error {
	w.crashes++
	w.stats.crashes++
	var r *engine.Reader
	if w.crashes%2 == 0 { // a task that had a view open; its end never comes, or after the store's
		r = w.e.NewReader()
		_ = r.Scan(shard.Range{}, false, func(shard.Key, []byte) bool { return false })
		s, err := w.e.NewSnapshotSink(1002, "unfinished")
		must(w.t, err)
		must(w.t, s.Write(snapshots()[1][0]))
	}
	w.fs.Freeze()
	_ = w.e.Close()
	if r != nil && w.crashes%4 == 0 {
		_ = r.Close()
	}
	old := w.fs
	w.fs = old.Crash(w.seed, w.crashes)
	if old.manifest.synced > w.fs.manifest.synced {
		w.stats.undone++
	}
	if len(old.Tables(storeDir)) > 0 {
		w.stats.tables++
	}
	if err := w.start(); err != nil {
		return fmt.Errorf("start after crash %d: %w", w.crashes, err)
	}
	have := w.show()
	v := slices.Index(w.versions[w.floor:], have)
	if v < 0 {
		return fmt.Errorf("crash %d: shows none of the versions %d to %d:\n%s\nfloor:\n%s\nnewest:\n%s", w.crashes,
			w.floor, len(w.versions)-1, have, w.versions[w.floor], w.versions[len(w.versions)-1])
	}
	switch tail := len(w.versions) - 1 - w.floor; {
	case tail == 0:
	case have == w.versions[w.floor+tail]:
		w.stats.lostNothing++
	case v == 0:
		w.stats.lostTail++
	default:
		w.stats.lostSome++
	}
	w.versions, w.floor = []string{have}, 0
	return nil
}

// run lives through some crashes, and returns what the store showed after each.
func (w *world) run(crashes int) (shown []string, err error) {
	must(w.t, w.start())
	w.did()
	w.create(1001, 7)
	for range crashes {
		for range 1 + w.rng.IntN(50) {
			w.step(false)
		}
		for range w.rng.IntN(3) * w.rng.IntN(25) {
			w.step(true)
		}
		if err := w.crash(); err != nil {
			return shown, err
		}
		shown = append(shown, w.versions[0])
	}
	return shown, w.e.Close()
}
