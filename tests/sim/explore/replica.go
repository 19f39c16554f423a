package explore

import (
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// Every group begins with an empty log behind this entry, as the right side of a split does.
const (
	firstIndex = 10
	firstTerm  = 5
)

const (
	tick          = group.Instant(100e6)
	electionTicks = 3
	maxDrift      = 0.05
)

var settings = func() *group.Settings {
	s, err := group.NewSettings(group.Settings{ElectionTicks: electionTicks, HeartbeatTicks: 1, TickInterval: 100e6, MaxDrift: maxDrift})
	must(err)
	return s
}()

// replica is one copy of the shard: the group and the state machine that ship, and of the shell around them what matters
// here. It follows raftstore: ready.go (what leaves before and after a sync), recover.go (how a life begins), outcome.go
// (when "never" may be said), admin.go (transfers withdraw the view).
type replica struct {
	w    *state
	id   uint64
	rate float64 // of its clock

	// On disk. disk is the log as far as it is synced.
	disk *raft.MemoryStorage

	// Of this life.
	g       *group.Group
	machine apply.Machine
	data    *rawtest.Map
	appends []*group.Append
	applies []*group.Apply
	rounds  map[uint64]uint64 // of reads: what was applied anywhere when they began
	lease   group.Instant     // by its clock
	// cancelled are the attempts of which "never" was said in cancelledTerm.
	cancelled     map[call.OpID]bool
	cancelledTerm uint64

	promise promise
}

// storage is what raft sees of the disk.
type storage struct {
	*raft.MemoryStorage
	r *replica
}

// InitialState implements raft.Storage.
func (s storage) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hs, _, err := s.MemoryStorage.InitialState()
	if err == nil && hs != nil {
		last, _ := s.LastIndex()
		hs.Commit = new(min(last, max(hs.GetCommit(), s.r.machine.Applied.Index)))
	}
	return hs, s.r.w.conf(), err
}

func newReplica(w *state, id uint64, rate float64) *replica {
	r := &replica{w: w, id: id, rate: rate, disk: raft.NewMemoryStorage()}
	must(r.disk.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(firstIndex)), Term: new(uint64(firstTerm)), ConfState: w.conf()}}))
	must(r.disk.SetHardState(&pb.HardState{Term: new(uint64(firstTerm)), Vote: new(uint64(0)), Commit: new(uint64(firstIndex))}))
	r.forgetApplied()
	r.start(0)
	return r
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// forgetApplied takes the state machine back to what is durable: where the log begins.
func (r *replica) forgetApplied() {
	r.machine = apply.Machine{Desc: r.w.desc, Applied: shard.Applied{Index: firstIndex, Term: firstTerm, TruncIndex: firstIndex, TruncTerm: firstTerm}}
	r.data = new(rawtest.Map)
}

func (r *replica) clock() group.Instant { return group.Instant(float64(r.w.now) * r.rate) }

// start begins a life on what is on disk.
func (r *replica) start(heard group.Instant) {
	if bug.VoteAtOnceAfterStart.On() && heard != 0 {
		heard = 1
	}
	g, err := group.New(group.Config{Shard: r.w.desc.ID, Replica: shard.ReplicaID(r.id), Store: shard.StoreID(r.id), Storage: storage{r.disk, r},
		Applied: r.machine.Applied.Index, Now: r.clock(), Heard: heard, Settings: settings})
	must(err)
	r.g, r.appends, r.applies, r.lease = g, nil, nil, 0
	r.rounds, r.cancelled, r.cancelledTerm = make(map[uint64]uint64), make(map[call.OpID]bool), 0
	r.w.checkPromise(r)
}

// crash ends this life and begins the next. The first keep of the appends that were not synced survive; what was applied
// survives with all of them, and not otherwise.
func (r *replica) crash(keep int) {
	for _, a := range r.appends[:keep] {
		r.write(a)
	}
	if keep < len(r.appends) || keep == 0 {
		r.forgetApplied()
	}
	r.w.forget(r.id)
	r.start(r.clock())
}

func (r *replica) write(a *group.Append) {
	must(r.disk.Append(a.Entries))
	must(r.disk.SetHardState(&pb.HardState{Term: new(a.Term), Vote: new(a.Vote), Commit: new(a.Commit)}))
}

// settle does every Ready: what may leave leaves, what must be written or applied is under way.
func (r *replica) settle() {
	for {
		e, ok := r.g.Ready()
		if !ok {
			if r.w.folds {
				r.g.Fold()
			}
			return
		}
		if e.Soft != nil {
			r.lease = 0
			if r.g.Term() != r.cancelledTerm {
				clear(r.cancelled)
			}
			if e.Soft.Leading {
				r.w.led(r, e.Soft.Term)
			}
		}
		for _, l := range e.Lost {
			r.w.lost[l.Token.(call.OpID)] = true
		}
		r.w.send(e.Send)
		if a := e.Append; a != nil {
			if bug.ResponseBeforeSync.On() {
				a = r.answerAtOnce(a)
			}
			r.appends = append(r.appends, a)
			r.w.ask(event{kind: syncs, at: r.id})
		}
		if e.Apply != nil {
			r.applies = append(r.applies, e.Apply)
			r.w.ask(event{kind: applies, at: r.id})
		}
		for _, read := range e.Reads {
			if want, ok := r.rounds[read.Ctx]; ok && read.Index < want {
				r.w.violated("read: r%d would answer from %d, and %d was applied before it was asked", r.id, read.Index, want)
			}
			delete(r.rounds, read.Ctx)
			r.lease = max(r.lease, r.g.LeaseUntil(read.At))
		}
	}
}

// answerAtOnce is what the bug of that name does to an append.
func (r *replica) answerAtOnce(a *group.Append) *group.Append {
	b := *a
	b.Hold, b.Responses = nil, nil
	r.w.send(a.Hold)
	for _, m := range a.Responses {
		if m.GetTo() == r.id {
			b.Responses = append(b.Responses, m)
		} else {
			r.w.send([]*pb.Message{m})
		}
	}
	return &b
}

// synced finishes the oldest append.
func (r *replica) synced() {
	a := r.appends[0]
	r.appends = r.appends[1:]
	r.write(a)
	r.w.send(a.Hold)
	for _, m := range a.Responses {
		if m.GetTo() != r.id {
			r.w.send([]*pb.Message{m})
			continue
		}
		must(r.g.Deliver(m))
	}
}

// applied finishes the oldest apply.
func (r *replica) applied() {
	a := r.applies[0]
	r.applies = r.applies[1:]
	for _, e := range a.Entries {
		res, err := r.machine.Apply(apply.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData()}, r.data)
		if err != nil {
			r.w.violated("apply: r%d: %v", r.id, err)
			return
		}
		r.w.applied(r, e, &res)
	}
	must(r.g.Deliver(a.Responses[0]))
}

// entry is the entry at an index of this replica's log, synced or not; nil if it has none.
func (r *replica) entry(index uint64) *pb.Entry {
	for i := len(r.appends) - 1; i >= 0; i-- {
		if es := r.appends[i].Entries; len(es) > 0 {
			if first := es[0].GetIndex(); index >= first {
				if index-first < uint64(len(es)) {
					return es[index-first]
				}
				return nil // this append ends the log
			}
		}
	}
	if last, _ := r.disk.LastIndex(); index <= firstIndex || index > last {
		return nil
	}
	es, err := r.disk.Entries(index, index+1, 1<<20)
	if err != nil || len(es) == 0 {
		return nil
	}
	return es[0]
}

// String says where it stands.
func (r *replica) String() string {
	return fmt.Sprintf("r%d term %d vote %s leading %t last %d commit %d applied %d lease %d appends %d applies %d", r.id, r.g.Term(), r.g.Vote(), r.g.Leading(),
		r.g.LastIndex(), r.g.Committed(), r.machine.Applied.Index, r.lease, len(r.appends), len(r.applies))
}
