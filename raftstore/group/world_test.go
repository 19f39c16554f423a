package group_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Every group of the tests begins with an empty log after entry 10 of term 5, like the right side of a split.
const (
	firstIndex = 10
	firstTerm  = 5
	tick       = group.Instant(100 * time.Millisecond)
)

// world is some members of one group with their disks, one clock and one network, all of which stand still until told
// to move. Everything that happens is checked against what the others did, and written to out.
type world struct {
	nodes map[uint64]*node
	now   group.Instant
	net   []*pb.Message
	out   strings.Builder

	settings *group.Settings
	solid    map[uint64]entryID       // what was applied anywhere, by index
	confs    map[uint64]*pb.ConfState // configurations, by the index of the entry that made them
	leaders  map[uint64]uint64        // who led which term, in any life
	lost     map[string]bool          // proposals reported as lost
	faults   []string                 // broken promises
}

type entryID struct {
	term uint64
	data string
}

// node is one member: a machine that is up or down, with a disk that survives.
type node struct {
	w    *world
	id   uint64
	g    *group.Group // nil while down
	disk disk
	rate float64 // of its clock against the world's

	applied uint64
	durable uint64 // the applied index that a crash cannot lose
	appends []*group.Append
	applies []*group.Apply
	reads   map[uint64]uint64 // ctx -> highest index applied anywhere when the round began
	lease   group.Instant     // by this node's clock
}

// disk is a synced log; the configuration is that of the applied state.
type disk struct {
	*raft.MemoryStorage
	n *node
}

func (d disk) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hs, _, err := d.MemoryStorage.InitialState()
	return hs, d.n.w.confAt(d.n.applied), err
}

func (d disk) Snapshot() (*pb.Snapshot, error) {
	term, err := d.Term(d.n.applied)
	return &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(d.n.applied), Term: new(term),
		ConfState: proto.Clone(d.n.w.confAt(d.n.applied)).(*pb.ConfState)}}, err
}

func newWorld(voters []uint64, electionTicks int) *world {
	set, err := group.NewSettings(group.Settings{ElectionTicks: electionTicks, HeartbeatTicks: 1, MaxDrift: 0.05, MaxUncommittedBytes: 4096})
	must(err)
	w := &world{nodes: map[uint64]*node{}, now: 1000 * tick, settings: set, solid: map[uint64]entryID{},
		confs:   map[uint64]*pb.ConfState{firstIndex: pb.EnsureConfState(&pb.ConfState{Voters: voters})},
		leaders: map[uint64]uint64{}, lost: map[string]bool{}}
	for _, id := range voters {
		w.add(id, &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
			Index: new(uint64(firstIndex)), Term: new(uint64(firstTerm)), ConfState: w.confs[firstIndex]}})
	}
	return w
}

// add makes a member and starts it; without a snapshot its disk is empty.
func (w *world) add(id uint64, s *pb.Snapshot) *node {
	n := &node{w: w, id: id, rate: 1, reads: map[uint64]uint64{}}
	n.disk = disk{raft.NewMemoryStorage(), n}
	if s != nil {
		must(n.disk.ApplySnapshot(s))
		n.applied, n.durable = s.GetMetadata().GetIndex(), s.GetMetadata().GetIndex()
		must(n.disk.SetHardState(&pb.HardState{Term: new(s.GetMetadata().GetTerm()), Vote: new(uint64(0)), Commit: new(n.applied)}))
	}
	w.nodes[id] = n
	n.start()
	return n
}

func (w *world) ids() []uint64 { return slices.Sorted(maps.Keys(w.nodes)) }

func (w *world) confAt(index uint64) *pb.ConfState {
	best := uint64(0)
	for i := range w.confs {
		if i <= index {
			best = max(best, i)
		}
	}
	if best == 0 {
		return pb.EnsureConfState(nil)
	}
	return w.confs[best]
}

func (w *world) printf(format string, args ...any) { fmt.Fprintf(&w.out, format+"\n", args...) }

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
	w.printf("FAULT: "+format, args...)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (n *node) clock() group.Instant { return group.Instant(float64(n.w.now) * n.rate) }

func (n *node) start() {
	hs, _, err := n.disk.InitialState()
	must(err)
	last, err := n.disk.LastIndex()
	must(err)
	if hs != nil {
		hs.Commit = new(min(last, max(hs.GetCommit(), n.applied)))
	}
	n.g, err = group.New(group.Config{Shard: 7, Replica: shard.ReplicaID(n.id), Store: shard.StoreID(n.id), Storage: n.disk,
		Applied: n.applied, Now: n.clock(), Settings: n.w.settings})
	must(err)
}

// crash loses what was not synced, except for the first appends in the queue, and maybe some of what was applied.
func (n *node) crash(keepAppends int, applied uint64) {
	for _, a := range n.appends[:min(keepAppends, len(n.appends))] {
		n.write(a)
	}
	n.g, n.appends, n.applies = nil, nil, nil
	n.applied = max(n.durable, min(n.applied, applied))
	clear(n.reads)
	n.lease = 0
}

// write puts one append on disk.
func (n *node) write(a *group.Append) {
	if s := a.Snapshot; s != nil {
		must(n.disk.ApplySnapshot(s))
		n.applied, n.durable = s.GetMetadata().GetIndex(), s.GetMetadata().GetIndex()
	}
	must(n.disk.Append(a.Entries))
	must(n.disk.SetHardState(&pb.HardState{Term: new(a.Term), Vote: new(a.Vote), Commit: new(a.Commit)}))
}

// ready does one Ready: what may leave leaves, what must be written or applied is queued.
func (n *node) ready() bool {
	e, ok := n.g.Ready()
	if !ok {
		return false
	}
	if e.Soft != nil {
		n.noteSoft(e.Soft)
	}
	for _, l := range e.Lost {
		n.w.lost[l.Token.(string)] = true
		n.printf("lost %v", l.Token)
	}
	n.send("send", e.Send)
	if e.Append != nil {
		n.appends = append(n.appends, e.Append)
		n.printf("%s", describeAppend(e.Append))
	}
	if e.Apply != nil {
		n.applies = append(n.applies, e.Apply)
		n.printf("apply %s", describeEntries(e.Apply.Entries))
	}
	for _, r := range e.Reads {
		n.noteRead(r)
	}
	return true
}

func (n *node) noteSoft(s *group.SoftState) {
	n.printf("term %d leader %s leading %t", s.Term, s.Leader, s.Leading)
	n.lease = 0
	if !s.Leading {
		return
	}
	if was, ok := n.w.leaders[s.Term]; ok {
		n.w.fault("r%d leads term %d, which r%d led", n.id, s.Term, was)
	}
	n.w.leaders[s.Term] = n.id
	for _, id := range n.w.ids() {
		if o := n.w.nodes[id]; o != n && o.g != nil && o.clock() < o.lease {
			n.w.fault("r%d leads term %d while r%d has a lease for another %d ms", n.id, s.Term, id, (o.lease-o.clock())*100/tick)
		}
	}
}

// read begins a round, and remembers what it must not miss.
func (n *node) read(ctx uint64) error {
	err := n.g.ReadIndex(ctx, n.clock())
	if err == nil {
		n.reads[ctx] = n.w.newest()
	}
	return err
}

// newest is the highest index that was applied anywhere.
func (w *world) newest() (index uint64) {
	for i := range w.solid {
		index = max(index, i)
	}
	return index
}

// transfer begins a transfer; the leader's lease is over.
func (n *node) transfer(to uint64) error {
	err := n.g.TransferLeader(shard.ReplicaID(to))
	if err == nil {
		n.lease = 0
	}
	return err
}

func (n *node) noteRead(r group.Read) {
	n.printf("read %d at %d", r.Ctx, r.Index)
	if want, ok := n.reads[r.Ctx]; ok && r.Index < want {
		n.w.fault("read %d of r%d at %d misses %d", r.Ctx, n.id, r.Index, want)
	}
	delete(n.reads, r.Ctx)
	n.lease = max(n.lease, n.g.LeaseUntil(r.At))
}

func (n *node) send(how string, msgs []*pb.Message) {
	for _, m := range msgs {
		n.printf("%s %s", how, describe(m))
		n.w.net = append(n.w.net, m)
	}
}

// sync finishes the oldest append.
func (n *node) sync() bool {
	if len(n.appends) == 0 || n.appends[0].Snapshot != nil && len(n.applies) > 0 {
		return false
	}
	a := n.appends[0]
	n.appends = n.appends[1:]
	n.write(a)
	n.send("send", a.Hold)
	for _, m := range a.Responses {
		if m.GetTo() == n.id {
			must(n.g.Deliver(m))
			continue
		}
		n.send("send", []*pb.Message{m})
	}
	return true
}

// apply finishes the oldest apply, unless a snapshot was queued for appending before it.
func (n *node) apply() bool {
	if len(n.applies) == 0 {
		return false
	}
	a := n.applies[0]
	n.applies = n.applies[1:]
	for _, e := range a.Entries {
		n.applyEntry(e)
	}
	must(n.g.Deliver(a.Responses[0]))
	return true
}

func (n *node) applyEntry(e *pb.Entry) {
	w, id := n.w, entryID{e.GetTerm(), string(e.GetData())}
	if was, ok := w.solid[e.GetIndex()]; ok && was != id {
		w.fault("r%d applies %v at %d, another applied %v", n.id, id, e.GetIndex(), was)
	}
	if e.GetIndex() != n.applied+1 {
		w.fault("r%d applies %d after %d", n.id, e.GetIndex(), n.applied)
	}
	if w.lost[id.data] {
		w.fault("r%d applies %q, which was lost", n.id, id.data)
	}
	w.solid[e.GetIndex()] = id
	n.applied = e.GetIndex()
	if e.GetType() != pb.EntryConfChangeV2 {
		return
	}
	cc := new(pb.ConfChangeV2)
	must(proto.Unmarshal(e.GetData(), cc))
	cs := n.g.ApplyChange(cc)
	n.printf("config %s", raft.DescribeConfState(cs))
	w.confs[e.GetIndex()] = cs
}

func (n *node) printf(format string, args ...any) {
	n.w.printf("r%d: "+format, append([]any{n.id}, args...)...)
}

// deliver takes message i off the network, through the codec, and steps it where it belongs.
func (w *world) deliver(i int) {
	m := w.net[i]
	w.net = slices.Delete(w.net, i, i+1)
	n := w.nodes[m.GetTo()]
	if n == nil || n.g == nil {
		w.printf("undeliverable %s", describe(m))
		return
	}
	frame := group.AppendMessage(nil, 7, m)
	err := group.DecodeFrame(frame, func(_ shard.ID, m *pb.Message) error { return n.g.Step(m, n.clock()) })
	if err != nil {
		n.printf("dropped %s: %v", describe(m), err)
	}
}

// stabilize runs everything until nothing moves.
func (w *world) stabilize() {
	for moved := true; moved; {
		moved = false
		for _, id := range w.ids() {
			n := w.nodes[id]
			if n.g == nil {
				continue
			}
			for n.ready() || n.sync() || n.apply() {
				moved = true
			}
		}
		for len(w.net) > 0 {
			w.deliver(0)
			moved = true
		}
	}
}

func describe(m *pb.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d->%d %s t%d", m.GetFrom(), m.GetTo(), m.GetType(), m.GetTerm())
	if m.GetIndex() != 0 || m.GetLogTerm() != 0 {
		fmt.Fprintf(&b, " at %d/%d", m.GetLogTerm(), m.GetIndex())
	}
	if m.GetReject() {
		fmt.Fprintf(&b, " reject hint %d", m.GetRejectHint())
	}
	if m.GetCommit() != 0 {
		fmt.Fprintf(&b, " commit %d", m.GetCommit())
	}
	if c := m.GetContext(); len(c) > 0 {
		if bytes.IndexFunc(c, func(r rune) bool { return r < 'A' || r > 'z' }) < 0 {
			fmt.Fprintf(&b, " %s", c)
		} else {
			fmt.Fprintf(&b, " ctx %x", c)
		}
	}
	if len(m.GetEntries()) > 0 {
		b.WriteString(" " + describeEntries(m.GetEntries()))
	}
	if s := m.GetSnapshot(); s != nil {
		fmt.Fprintf(&b, " snapshot %d/%d", s.GetMetadata().GetTerm(), s.GetMetadata().GetIndex())
	}
	return b.String()
}

func describeEntries(es []*pb.Entry) string {
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteByte(' ')
		}
		data := string(e.GetData())
		if e.GetType() != pb.EntryNormal {
			data = "change"
		} else if data == "" {
			data = "-"
		}
		fmt.Fprintf(&b, "%d/%d:%s", e.GetTerm(), e.GetIndex(), data)
	}
	return "[" + b.String() + "]"
}

func describeAppend(a *group.Append) string {
	var b strings.Builder
	b.WriteString("append")
	if a.Snapshot != nil {
		fmt.Fprintf(&b, " snapshot %d/%d", a.Snapshot.GetMetadata().GetTerm(), a.Snapshot.GetMetadata().GetIndex())
	}
	if len(a.Entries) > 0 {
		b.WriteString(" " + describeEntries(a.Entries))
	}
	if a.StateChanged {
		fmt.Fprintf(&b, " term %d vote %d", a.Term, a.Vote)
	}
	fmt.Fprintf(&b, " commit %d", a.Commit)
	if !a.MustSync {
		b.WriteString(" (order only)")
	}
	for _, x := range a.Bound {
		fmt.Fprintf(&b, "; bound %v=%d/%d", x.Token, x.Term, x.Index)
	}
	for _, m := range a.Hold {
		fmt.Fprintf(&b, "; hold %s", describe(m))
	}
	for _, m := range a.Responses {
		if m.GetType() == pb.MsgStorageAppendResp {
			fmt.Fprintf(&b, "; then stable")
			continue
		}
		fmt.Fprintf(&b, "; then %s", describe(m))
	}
	return b.String()
}

// checkLogs compares the synced logs pairwise: entries of one index and term have the same past.
func (w *world) checkLogs() {
	logs := map[uint64][]*pb.Entry{}
	for _, id := range w.ids() {
		d := w.nodes[id].disk
		first, _ := d.FirstIndex()
		last, _ := d.LastIndex()
		if last >= first {
			es, err := d.Entries(first, last+1, math.MaxUint64)
			must(err)
			logs[id] = es
		}
	}
	for _, a := range w.ids() {
		for _, b := range w.ids() {
			if a < b {
				w.checkPair(a, b, logs[a], logs[b])
			}
		}
	}
}

func (w *world) checkPair(a, b uint64, la, lb []*pb.Entry) {
	byIndex := map[uint64]*pb.Entry{}
	for _, e := range lb {
		byIndex[e.GetIndex()] = e
	}
	same := false
	for _, x := range slices.Backward(la) {
		y := byIndex[x.GetIndex()]
		if y == nil {
			continue
		}
		same = same || x.GetTerm() == y.GetTerm()
		if same && (x.GetTerm() != y.GetTerm() || !bytes.Equal(x.GetData(), y.GetData())) {
			w.fault("logs of r%d and r%d differ at %d below a common entry", a, b, x.GetIndex())
		}
	}
}

// drain fails the test with the world's faults and returns what was written.
func (w *world) drain(t testing.TB) string {
	t.Helper()
	for _, f := range w.faults {
		t.Error(f)
	}
	w.faults = nil
	s := w.out.String()
	w.out.Reset()
	if s == "" {
		return "ok\n"
	}
	return s
}
