package engine

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// TestLog runs the transcripts of one replica's log. Commands, each with the arguments it takes:
//
//	create                      a replica at index 5, term 5, with an empty log
//	append lo hi term commit    one MsgStorageAppend; hs=(term,vote) if they changed
//	apply index term            an unsynced state batch with the applied index; trunc=(index,term) if it truncates
//	truncate index term         deletes entries, in an unsynced state batch
//	install index term          a snapshot at index is installed
//	shrink, entries lo hi max, term i, state, disk
//	crash                       loses what is not synced, opens again, recovers
func TestLog(t *testing.T) {
	for where, open := range map[string]func(testing.TB, vfs.FS) *Engine{"database": openMem, "journal": openJournaled} {
		t.Run(where, func(t *testing.T) {
			datadriven.Walk(t, "testdata/"+where, func(t *testing.T, path string) {
				h := &logHarness{t: t, fs: memdisk.New(), open: open}
				h.e = open(t, h.fs)
				defer func() { mustClose(t, h.e) }()
				datadriven.RunTest(t, path, h.run)
			})
		})
	}
}

type logHarness struct {
	t    *testing.T
	open func(testing.TB, vfs.FS) *Engine
	fs   *memdisk.FS
	e    *Engine
	l    *Log
	a    shard.Applied
}

func (h *logHarness) run(t *testing.T, d *datadriven.TestData) string {
	arg := func(i int) (v uint64) {
		if _, err := fmt.Sscan(d.CmdArgs[i].Key, &v); err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		return v
	}
	switch d.Cmd {
	case "create":
		rs := newState(desc(9, rng("a", "z"), 11), 11)
		h.a, h.l = rs.Applied, create(t, h.e, rs)
	case "append":
		var hs *HardState
		if d.HasArg("hs") {
			hs = &HardState{Commit: h.l.hard.Commit}
			d.ScanArgs(t, "hs", &hs.Term, &hs.Vote)
		}
		b := h.e.NewLogBatch()
		b.Append(h.l, entries(arg(0), arg(1), arg(2)), hs, arg(3))
		must(t, b.Commit())
		must(t, b.Wait())
	case "apply":
		h.a.Index, h.a.Term = arg(0), arg(1)
		if d.HasArg("trunc") {
			d.ScanArgs(t, "trunc", &h.a.TruncIndex, &h.a.TruncTerm)
		}
		set(t, h.e, false, func(b *StateBatch) { b.SetApplied(9, h.a) })
		h.l.SetApplied(h.a)
	case "truncate":
		set(t, h.e, false, func(b *StateBatch) { h.l.Truncate(b, arg(0), arg(1)) })
	case "install":
		rs := newState(desc(9, rng("a", "z"), 11), 11)
		rs.Hard = HardState{Term: h.l.hard.Term, Vote: h.l.hard.Vote}
		rs.Applied.Index, rs.Applied.Term = arg(0), arg(1)
		s, err := h.e.NewSnapshotSink(9, "s")
		must(t, err)
		must(t, s.Write(emptyChunk()))
		must(t, s.Finish())
		must(t, s.Install(Install{State: rs}))
		s.Discard()
		h.a = rs.Applied
		h.l.Reset(rs)
	case "shrink":
		h.l.Shrink()
	case "entries":
		return h.entries(arg(0), arg(1), arg(2))
	case "term":
		v, err := h.l.Term(arg(0))
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(v)
	case "crash":
		return h.crash()
	case "disk":
		return h.disk()
	case "state":
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	return h.state()
}

func emptyChunk() []byte {
	var w chunkWriter
	w.begin(0, 16)
	return w.finish(true)
}

func (h *logHarness) state() string {
	hs, cs, err := h.l.InitialState()
	must(h.t, err)
	first, _ := h.l.FirstIndex()
	last, _ := h.l.LastIndex()
	snap, err := h.l.Snapshot()
	must(h.t, err)
	return fmt.Sprintf("first %d last %d term %d vote %d commit %d snapshot %d/%d voters %v tail %d\n", first, last,
		hs.GetTerm(), hs.GetVote(), hs.GetCommit(), snap.Metadata.GetIndex(), snap.Metadata.GetTerm(), cs.GetVoters(),
		len(h.l.tail.entries))
}

func (h *logHarness) entries(lo, hi, size uint64) string {
	if size == 0 {
		size = math.MaxUint64
	}
	ents, err := h.l.Entries(lo, hi, size)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, e := range ents {
		out = append(out, fmt.Sprintf("%d/%d:%s", e.GetTerm(), e.GetIndex(), e.GetData()))
	}
	return strings.Join(out, " ")
}

func (h *logHarness) crash() string {
	clone := h.fs.CrashClone(vfs.CrashCloneCfg{})
	_ = h.e.Close()
	h.fs, h.e = clone, h.open(h.t, clone)
	all, err := h.e.Replicas()
	if err != nil {
		return err.Error()
	}
	if len(all) == 0 {
		return "no replica"
	}
	h.a, h.l = all[0].Applied, h.e.OpenLog(all[0])
	return h.state()
}

// disk lists the log values with the commit index in their headers, and what a reader of the state sees.
func (h *logHarness) disk() string {
	var b strings.Builder
	list := func(span keys.Span) {
		must(h.t, h.e.each(span, func(k, _ []byte) (bool, error) {
			fmt.Fprintln(&b, keys.Format(k))
			return true, nil
		}))
	}
	list(keys.AllStates())
	must(h.t, h.e.eachEntry(9, 0, math.MaxUint64, func(n *Entry) bool {
		fmt.Fprintf(&b, "%s term %d commit %d %s\n", keys.Format(keys.Log(9, n.Index)), n.Term, n.Commit, n.Data)
		return true
	}))
	list(keys.AllData())
	return b.String()
}

// TestConfState compares with what raft itself says on the way through a joint change.
func TestConfState(t *testing.T) {
	role := func(id shard.ReplicaID, r shard.Role) shard.Replica {
		return shard.Replica{ID: id, Store: shard.StoreID(id), Role: r}
	}
	before := &shard.Descriptor{Replicas: []shard.Replica{role(1, shard.Voter), role(2, shard.Voter), role(3, shard.Voter),
		role(4, shard.Learner), role(5, shard.Learner)}}
	joint := &shard.Descriptor{Replicas: []shard.Replica{role(1, shard.Voter), role(2, shard.Voter),
		role(3, shard.DemotingVoter), role(4, shard.IncomingVoter), role(5, shard.Learner)}}
	after := &shard.Descriptor{Replicas: []shard.Replica{role(1, shard.Voter), role(2, shard.Voter), role(3, shard.Learner),
		role(4, shard.Voter), role(5, shard.Learner)}}
	single := func(typ pb.ConfChangeType, id uint64) *pb.ConfChangeSingle {
		return &pb.ConfChangeSingle{Type: typ.Enum(), NodeId: new(id)}
	}
	tr := tracker.MakeProgressTracker(1, 0)
	step := func(name string, d *shard.Descriptor, f func(c confchange.Changer) (tracker.Config, tracker.ProgressMap, error)) {
		cfg, prs, err := f(confchange.Changer{Tracker: tr, LastIndex: 10})
		must(t, err)
		tr.Config, tr.Progress = cfg, prs
		if err := ConfState(d).Equivalent(tr.ConfState()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// A restart must come to the same.
		tr2 := tracker.MakeProgressTracker(1, 0)
		cfg, prs, err = confchange.Restore(confchange.Changer{Tracker: tr2, LastIndex: 10}, ConfState(d))
		must(t, err)
		tr2.Config, tr2.Progress = cfg, prs
		if err := ConfState(d).Equivalent(tr2.ConfState()); err != nil {
			t.Fatalf("%s: restored: %v", name, err)
		}
	}
	step("before", before, func(c confchange.Changer) (tracker.Config, tracker.ProgressMap, error) {
		return confchange.Restore(c, ConfState(before))
	})
	step("joint", joint, func(c confchange.Changer) (tracker.Config, tracker.ProgressMap, error) {
		return c.EnterJoint(false, single(pb.ConfChangeAddNode, 4), single(pb.ConfChangeAddLearnerNode, 3))
	})
	step("after", after, func(c confchange.Changer) (tracker.Config, tracker.ProgressMap, error) { return c.LeaveJoint() })
	if cs := ConfState(nil); cs == nil || len(cs.Voters) != 0 || cs.GetAutoLeave() {
		t.Fatal("nobody")
	}
}

// TestTailBound: the tails of all logs together stay within their bound, the least recently appended go first, and what
// is not in memory is read from disk as well.
func TestTailBound(t *testing.T) {
	fs := vfs.NewMem()
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, TailBytes: 20 * tailEntryBytes})
	must(t, err)
	defer mustClose(t, e)
	var logs []*Log
	for i := range shard.ID(4) {
		r := rng(string('a'+rune(i)), string('b'+rune(i)))
		logs = append(logs, create(t, e, newState(desc(9+i, r, 11), 11)))
	}
	for round := range uint64(8) {
		for _, l := range logs {
			appendSync(t, e, l, entries(6+round*2, 7+round*2, 5), nil, 5)
			if used := e.tails.used.Load(); used > 20*tailEntryBytes {
				t.Fatalf("%d bytes in tails", used)
			}
		}
	}
	for _, l := range logs {
		ents, err := l.Entries(6, 22, math.MaxUint64)
		must(t, err)
		if len(ents) != 16 || ents[15].GetIndex() != 21 || string(ents[3].GetData()) != "5.9" {
			t.Fatalf("%d entries", len(ents))
		}
		l.Shrink()
		l.Shrink()
	}
	if e.tails.used.Load() != 0 || e.tails.root.next != &e.tails.root {
		t.Fatal("something is left in the tails")
	}
	if n := unsafe.Sizeof(Log{}); n > 512 || logs[0].MemBytes() != int(n) {
		t.Fatalf("a sleeping log takes %d bytes", n)
	}
	// Whole tails go, the least recently appended first.
	appendSync(t, e, logs[1], entries(22, 29, 5), nil, 5)
	appendSync(t, e, logs[2], entries(22, 29, 5), nil, 5)
	appendSync(t, e, logs[1], entries(30, 30, 5), nil, 5)
	appendSync(t, e, logs[3], entries(22, 29, 5), nil, 5)
	for i, want := range []int{0, 9, 0, 8} {
		if n := len(logs[i].tail.entries); n != want {
			t.Fatalf("log %d holds %d entries in memory, not %d", i, n, want)
		}
	}
	// A single append above the bound is kept as far as it fits.
	appendSync(t, e, logs[0], entries(22, 60, 5), nil, 5)
	if n := len(logs[0].tail.entries); n != 19 {
		t.Fatalf("%d entries of a large append kept", n)
	}
}

// TestTailPart: a log may have an equal part of what all tails may take, between 1 and 8 MiB, as long as others have theirs.
func TestTailPart(t *testing.T) {
	const mib = 1 << 20
	p := tailPool{limit: 20 * mib}
	var tails [40]tail
	next := make([]uint64, len(tails))
	write := func(i, times int) {
		for range times {
			next[i]++
			index := next[i]
			p.append(&tails[i], []*pb.Entry{{Index: &index, Data: make([]byte, mib/4)}})
		}
	}
	holds := func(i, least, most int) {
		t.Helper()
		if n := tails[i].bytes; n < least || n > most {
			t.Fatalf("log %d of %d has %.2f MiB in memory", i, p.count, float64(n)/mib)
		}
	}
	write(0, 100)
	holds(0, 7*mib, 8*mib)
	for range 40 {
		for i := range 5 {
			write(i, 1)
		}
	}
	holds(0, 3*mib, 4*mib)
	holds(4, 3*mib, 4*mib)
	for i := range tails {
		write(i, 1)
	}
	write(0, 100)
	holds(0, mib*3/4, mib)
	for i := range tails[1:] {
		p.clear(&tails[1+i])
	}
	write(0, 100)
	holds(0, 7*mib, 8*mib)
	if p.clear(&tails[0]); p.count != 0 || p.used.Load() != 0 {
		t.Fatalf("%d logs and %d bytes are left", p.count, p.used.Load())
	}
}

// TestLogErrorsAreExact: raft compares these errors with ==.
func TestLogErrorsAreExact(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	l := create(t, e, newState(desc(9, rng("a", "z"), 11), 11))
	appendSync(t, e, l, entries(6, 8, 5), nil, 5)
	if _, err := l.Entries(5, 7, 1); err != raft.ErrCompacted {
		t.Error(err)
	}
	if _, err := l.Entries(6, 10, 1); err != raft.ErrUnavailable {
		t.Error(err)
	}
	if _, err := l.Term(4); err != raft.ErrCompacted {
		t.Error(err)
	}
	if _, err := l.Term(9); err != raft.ErrUnavailable {
		t.Error(err)
	}
	u := e.OpenLog(ReplicaState{Shard: 10, Replica: 12})
	if _, err := u.Snapshot(); err != raft.ErrSnapshotTemporarilyUnavailable {
		t.Error(err)
	}
	if _, cs, err := u.InitialState(); err != nil || cs == nil {
		t.Error("uninitialised", err)
	}
}
