package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
	pb "go.etcd.io/raft/v3/raftpb"
)

// The crash test. Fault model: the machine loses power at any moment; of what was not synced anything may be missing.
//
// Two shards live on one store. Shard 1001 keeps its replica: its log is appended to and overwritten, applied and
// truncated. Shard 1002 is destroyed, and added again on the same range, by a small snapshot, a large one, or as a new
// replica (F2). Every step appends to a list of versions what the store should look like after it; every promise (a
// Wait that returned, a synced batch, an install) raises the floor, the oldest version that may be found again. Crash
// clones are taken between steps and at every file operation that Pebble or the engine does within them. A clone is
// opened and must show exactly one version between the floor and the newest. With a journal there are two orders of writes, each
// with its floor: the clone must show the states of one version, and the logs of one.
func TestCrash(t *testing.T) {
	for seed := range uint64(crashSeeds) {
		for _, percent := range []int{0, 40} {
			for _, journaled := range []bool{false, true} {
				t.Run(fmt.Sprintf("seed=%d,unsynced=%d,journal=%t", seed, percent, journaled), func(t *testing.T) {
					newCrashRun(t, seed, percent, journaled).run()
				})
			}
		}
	}
}

const (
	crashSteps  = 120
	crashClones = 90 // per seed, chosen evenly from all points
)

// crashPoint is one moment at which the machine may stop.
type crashPoint struct {
	fs       *memdisk.FS
	floor    int // of the states
	logFloor int // of the logs in a journal
	newest   int
	step     string
}

type crashRun struct {
	t         *testing.T
	percent   int
	journaled bool
	rng       *rand.Rand
	fs        *memdisk.FS
	e         *Engine
	logs      map[shard.ID]*Log

	mu       sync.Mutex // points come from Pebble's goroutines too
	versions []moment
	floor    int
	logFloor int // follows floor without a journal
	step     string
	points   []crashPoint
	seen     int
	pointRNG *rand.Rand // which points are kept, and what of them is lost

	waits   []pendingWait
	marked  bool // 1002's data are not yet gone
	nextRep shard.ReplicaID
}

type pendingWait struct {
	b *LogBatch
	v int
	// states: the wait is one for the database as well.
	states bool
}

var crashRange = map[shard.ID]shard.Range{1001: rng("a", "m"), 1002: rng("m", "z")}

func newCrashRun(t *testing.T, seed uint64, percent int, journaled bool) *crashRun {
	r := &crashRun{t: t, percent: percent, journaled: journaled, rng: rand.New(rand.NewPCG(seed, uint64(percent))),
		pointRNG: rand.New(rand.NewPCG(seed, 1000)), fs: memdisk.New(),
		logs: map[shard.ID]*Log{}, nextRep: 10, step: "create"}
	r.versions = []moment{{replicas: map[shard.ID]replicaModel{}, data: map[string]string{}, next: map[shard.ID]shard.ReplicaID{}}}
	return r
}

func (r *crashRun) run() {
	r.e = r.open(&crashFS{FS: r.fs, point: r.point})
	if r.percent == 0 || r.rng.IntN(2) == 0 {
		r.e.exciseBytes = 0 // always excise, however little there is
	}
	for id := range crashRange {
		r.createReplica(id)
	}
	steps := []func(){r.append, r.append, r.append, r.apply, r.apply, r.truncate, r.wait, r.wait, r.churn, r.churn, r.syncWAL, r.flush}
	for range crashSteps {
		steps[r.rng.IntN(len(steps))]()
		r.point()
	}
	for len(r.waits) > 0 {
		r.wait()
	}
	mustClose(r.t, r.e)
	r.verify()
}

func (r *crashRun) open(fs vfs.FS) *Engine {
	if r.journaled {
		return openJournaled(r.t, fs)
	}
	return openMem(r.t, fs)
}

// point takes a clone. Of all points an even sample is kept.
func (r *crashRun) point() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen++; len(r.points) >= crashClones && r.pointRNG.IntN(r.seen) >= crashClones {
		return
	}
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: r.percent, RNG: r.pointRNG}
	p := crashPoint{fs: r.fs.CrashClone(cfg), floor: r.floor, logFloor: r.logFloor, newest: len(r.versions) - 1, step: r.step}
	if len(r.points) < crashClones {
		r.points = append(r.points, p)
	} else {
		r.points[r.pointRNG.IntN(crashClones)] = p
	}
}

func (r *crashRun) verify() {
	lost := 0
	for _, p := range r.points {
		e, err := Open(testDir, Options{FS: p.fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, SegmentBytes: testSegmentBytes})
		if err != nil {
			r.t.Fatalf("crash in %s: %v", p.step, err)
		}
		have, err := observe(e)
		if err != nil {
			r.t.Fatalf("crash in %s (versions %d to %d): %v", p.step, p.floor, p.newest, err)
		}
		v := r.shown(p, have)
		if v < 0 {
			r.t.Fatalf("crash in %s: the store shows none of the versions %d to %d (of logs %d):\n%s\nfloor:\n%s\nnewest:\n%s", p.step,
				p.floor, p.newest, p.logFloor, have, r.versions[p.floor], r.versions[p.newest])
		}
		lost += p.newest - v
		// What recovery did must itself survive, and recover again to the same.
		again := p.fs.CrashClone(vfs.CrashCloneCfg{})
		mustClose(r.t, e)
		e = r.open(again)
		if second, err := observe(e); err != nil || second != have {
			r.t.Fatalf("crash in %s, and again after recovery: %v\n%s\nwas\n%s", p.step, err, second, have)
		}
		mustClose(r.t, e)
	}
	r.t.Logf("%d of %d points verified, %d versions, %d lost", len(r.points), r.seen, len(r.versions), lost)
}

// shown is the version of the states that a store shows which was opened after a crash; -1 if it is none that it may show.
func (r *crashRun) shown(p crashPoint, have string) int {
	for v := p.newest; v >= p.floor; v-- {
		if !r.journaled {
			if r.versions[v].String() == have {
				return v
			}
			continue
		}
		for l := p.newest; l >= p.logFloor; l-- {
			if m, ok := r.versions[v].with(r.versions[l]); ok && m.String() == have {
				return v
			}
		}
	}
	return -1
}

// next makes the version after the newest. change works on copies.
func (r *crashRun) next(step string, change func(v moment)) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.versions[len(r.versions)-1].clone()
	change(v)
	r.versions = append(r.versions, v)
	r.step = step
	return len(r.versions) - 1
}

// name says what happens now, if it changes nothing that can be seen.
func (r *crashRun) name(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step = step
}

// promise says that version v can no longer be lost; of a journal, only its states.
func (r *crashRun) promise(v int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.floor = max(r.floor, v)
}

// promiseLog says so of the logs of version v.
func (r *crashRun) promiseLog(v int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logFloor = max(r.logFloor, v)
}

func (r *crashRun) now() moment { return r.versions[len(r.versions)-1] }

// pick chooses a replica that lives.
func (r *crashRun) pick() (shard.ID, replicaModel) {
	ids := slices.Sorted(maps.Keys(r.now().replicas))
	id := ids[r.rng.IntN(len(ids))]
	return id, r.now().replicas[id]
}

func (r *crashRun) createReplica(id shard.ID) {
	r.nextRep++
	rs := newState(desc(id, crashRange[id], r.nextRep), r.nextRep)
	v := r.next("create", func(v moment) { v.replicas[id] = modelOf(rs) })
	r.logs[id] = create(r.t, r.e, rs)
	r.promise(v)
}

func modelOf(rs ReplicaState) replicaModel {
	return replicaModel{replica: rs.Replica, hs: rs.Hard, applied: rs.Applied,
		base: position{index: rs.Applied.Index, term: rs.Applied.Term}}
}

func (r *crashRun) append() {
	id, m := r.pick()
	commit := m.commit()
	first := m.last() + 1
	var hs *HardState
	if r.rng.IntN(3) == 0 { // a new leader, which may overwrite what is not committed
		first = commit + 1 + r.rng.Uint64N(m.last()-commit+1)
		hs = &HardState{Term: max(m.hs.Term, m.term(m.last())) + 1, Vote: r.rng.Uint64N(3), Commit: commit}
		m.hs = *hs
	}
	last := first + r.rng.Uint64N(5)
	commit += r.rng.Uint64N(last - commit + 1)
	m.log = slices.Clone(m.log[:first-m.base.index-1])
	for range last - first + 1 {
		m.log = append(m.log, entryModel{term: m.hs.Term, commit: commit})
	}
	v := r.next(fmt.Sprintf("append %d to %d", first, last), func(v moment) { v.replicas[id] = m })
	b := r.e.NewLogBatch()
	b.Append(r.logs[id], bulky(entries(first, last, m.hs.Term), r.rng), hs, commit)
	must(r.t, b.Commit())
	r.waits = append(r.waits, pendingWait{b: b, v: v, states: b.b != nil})
}

// bulky makes some entries large, so that memtables fill and are flushed.
func bulky(ents []*pb.Entry, rng *rand.Rand) []*pb.Entry {
	for _, e := range ents {
		e.Data = append(e.Data, make([]byte, rng.IntN(8<<10))...)
	}
	return ents
}

func (r *crashRun) wait() {
	if len(r.waits) == 0 {
		return
	}
	must(r.t, r.waits[0].b.Wait())
	if r.waits[0].states {
		r.promise(r.waits[0].v)
	}
	r.promiseLog(r.waits[0].v)
	r.waits = r.waits[1:]
}

func (r *crashRun) apply() {
	for r.journaled && len(r.waits) > 0 { // raft applies what is on disk
		r.wait()
	}
	id, m := r.pick()
	commit := m.commit()
	if commit <= m.applied.Index {
		return
	}
	m.applied.Index += 1 + r.rng.Uint64N(commit-m.applied.Index)
	m.applied.Term = m.term(m.applied.Index)
	if r.rng.IntN(3) == 0 && m.applied.Index > m.trunc() {
		m.applied.TruncIndex = m.trunc() + 1 + r.rng.Uint64N(m.applied.Index-m.trunc())
		m.applied.TruncTerm = m.term(m.applied.TruncIndex)
	}
	b := r.e.NewStateBatch()
	defer b.Close()
	r.next("apply", func(v moment) {
		v.replicas[id] = m
		r.mutate(b, v, id)
	})
	b.SetApplied(id, m.applied)
	must(r.t, b.Commit(false))
	r.logs[id].SetApplied(m.applied)
}

// mutate writes some data of a shard to the batch and the model.
func (r *crashRun) mutate(b *StateBatch, v moment, id shard.ID) {
	for range 1 + r.rng.IntN(6) {
		k, k2 := r.key(id), r.key(id)
		switch r.rng.IntN(5) {
		case 0:
			b.Delete(k)
			delete(v.data, k.String())
		case 1:
			rg := shard.Range{Start: min2(k, k2), End: max2(k, k2)}
			b.DeleteRange(rg)
			maps.DeleteFunc(v.data, func(s, _ string) bool {
				return s >= rg.Start.String() && s < rg.End.String()
			})
		default:
			val := fmt.Sprintf("%d.%d", len(r.versions), r.rng.IntN(1000))
			b.Set(k, []byte(val))
			v.data[k.String()] = val
		}
	}
}

func (r *crashRun) key(id shard.ID) shard.Key {
	return rk(fmt.Sprintf("%s%02d", crashRange[id].Start.User(), r.rng.IntN(30)))
}

func min2(a, b shard.Key) shard.Key {
	if a.Compare(b) < 0 {
		return a
	}
	return b
}

func max2(a, b shard.Key) shard.Key {
	if a.Compare(b) < 0 {
		return b
	}
	return a
}

// truncate deletes what the replicated state no longer needs. It changes nothing that a restart shows.
func (r *crashRun) truncate() {
	id, m := r.pick()
	b := r.e.NewStateBatch()
	defer b.Close()
	r.logs[id].Truncate(b, m.trunc(), m.term(m.trunc()))
	must(r.t, b.Commit(false))
}

func (r *crashRun) syncWAL() {
	v := len(r.versions) - 1
	must(r.t, r.e.SyncWAL())
	r.promise(v)
}

func (r *crashRun) flush() {
	if r.rng.IntN(3) == 0 {
		must(r.t, r.e.db.Flush())
	}
}

// churn takes the next step of destroying shard 1002's replica and adding another.
func (r *crashRun) churn() {
	const id = shard.ID(1002)
	_, lives := r.now().replicas[id]
	switch {
	case lives && r.rng.IntN(2) == 0:
		r.install(id, r.now().replicas[id].replica) // it fell behind
	case lives:
		r.destroy(id)
	case r.marked:
		span := crashRange[id]
		r.name("finish destroy")
		must(r.t, r.e.FinishDestroy(id, span))
		r.marked = false
	case r.rng.IntN(3) == 0:
		r.createReplica(id)
	default:
		r.nextRep++
		r.install(id, r.nextRep)
	}
}

func (r *crashRun) destroy(id shard.ID) {
	for len(r.waits) > 0 { // the lanes are drained
		r.wait()
	}
	m, span := r.now().replicas[id], crashRange[id]
	v := r.next("destroy", func(v moment) {
		delete(v.replicas, id)
		v.next[id] = m.replica + 1
		maps.DeleteFunc(v.data, func(s, _ string) bool { return s >= span.Start.String() })
	})
	b := r.e.NewStateBatch()
	defer b.Close()
	b.DestroyReplica(id, m.replica+1, &span)
	must(r.t, b.Commit(true))
	r.promise(v)
	r.logs[id].Shrink()
	delete(r.logs, id)
	r.marked = true
}

func (r *crashRun) install(id shard.ID, replica shard.ReplicaID) {
	for len(r.waits) > 0 {
		r.wait()
	}
	rs := newState(desc(id, crashRange[id], replica), replica)
	p := Install{State: rs}
	if m, ok := r.now().replicas[id]; ok {
		rg := crashRange[id]
		p.OldRange = &rg
		p.State.Hard = HardState{Term: m.hs.Term, Vote: m.hs.Vote}
		// The log may reach beyond the snapshot, with entries that were never committed.
		commit := m.commit()
		p.State.Applied.Index, p.State.Applied.Term = commit+1+r.rng.Uint64N(m.last()-commit+10), m.hs.Term
	}
	p.State.Hard.Commit = p.State.Applied.Index
	// The chunks come from nowhere; the size decides how they are installed.
	size := 10
	if r.rng.IntN(2) == 0 {
		size = 2 * smallSnapshotBytes / 20
	}
	var w chunkWriter
	w.begin(0, 0)
	data := map[string]string{}
	for i := range 20 {
		k, val := rk(fmt.Sprintf("m%02d", i)), fmt.Sprintf("%d!%0*d", len(r.versions), size, i)
		w.add(keys.Data(k), []byte(val))
		data[k.String()] = val
	}
	s, err := r.e.NewSnapshotSink(id, fmt.Sprint(len(r.versions)))
	must(r.t, err)
	r.name("receive")
	must(r.t, s.Write(w.finish(true)))
	must(r.t, s.Finish())
	v := r.next("install", func(v moment) {
		v.replicas[id] = modelOf(p.State)
		maps.DeleteFunc(v.data, func(s, _ string) bool { return s >= crashRange[id].Start.String() })
		maps.Copy(v.data, data)
	})
	must(r.t, s.Install(p))
	r.promise(v)
	s.Discard()
	if l := r.logs[id]; l != nil {
		l.Reset(p.State)
	} else {
		r.logs[id] = r.e.OpenLog(p.State)
	}
}
