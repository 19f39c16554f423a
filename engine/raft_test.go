package engine

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// TestUnderRaft drives the log with the library that it is for: a sole voter proposes, applies, truncates, crashes and
// goes on, with asynchronous storage writes.
func TestUnderRaft(t *testing.T) {
	fs := memdisk.New()
	e := openMem(t, fs)
	d := desc(1001, rng("a", "m"), 11)
	create(t, e, newState(d, 11))
	for life := range 4 {
		all, err := e.Replicas()
		must(t, err)
		n := newSoleVoter(t, e, all[0])
		must(t, n.rn.Campaign())
		n.run()
		for i := range 50 {
			must(t, n.rn.Propose(fmt.Appendf(nil, "life %d proposal %d", life, i)))
			n.run()
			if i%20 == 19 {
				n.truncate(n.applied.Index - 7)
			}
		}
		if want := uint64(5 + 51*(life+1)); n.applied.Index != want {
			t.Fatalf("applied %d in life %d, not %d", n.applied.Index, life, want)
		}
		clone := fs.CrashClone(vfs.CrashCloneCfg{})
		mustClose(t, e)
		fs, e = clone, openMem(t, clone)
	}
	if v, ok, err := e.Get(rk("b")); err != nil || !ok || string(v) == "" {
		t.Fatal(ok, err)
	}
	mustClose(t, e)
}

type soleVoter struct {
	t       *testing.T
	e       *Engine
	l       *Log
	rn      *raft.RawNode
	applied shard.Applied
}

func newSoleVoter(t *testing.T, e *Engine, rs ReplicaState) *soleVoter {
	n := &soleVoter{t: t, e: e, l: e.OpenLog(rs), applied: rs.Applied}
	rn, err := raft.NewRawNode(&raft.Config{ID: uint64(rs.Replica), ElectionTick: 10, HeartbeatTick: 1, Storage: n.l,
		Applied: rs.Applied.Index, AsyncStorageWrites: true, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 16, PreVote: true,
		CheckQuorum: true, Logger: quiet{}})
	must(t, err)
	n.rn = rn
	return n
}

func (n *soleVoter) run() {
	for n.rn.HasReady() {
		for _, m := range n.rn.Ready().Messages {
			switch m.GetType() {
			case pb.MsgStorageAppend:
				n.append(m)
			case pb.MsgStorageApply:
				n.apply(m)
			}
			for _, r := range m.GetResponses() {
				must(n.t, n.rn.Step(r))
			}
		}
	}
}

func (n *soleVoter) append(m *pb.Message) {
	b := n.e.NewLogBatch()
	var hs *HardState
	if m.GetTerm() != 0 || m.GetVote() != 0 {
		hs = &HardState{Term: m.GetTerm(), Vote: m.GetVote(), Commit: m.GetCommit()}
	}
	b.Append(n.l, m.GetEntries(), hs, m.GetCommit())
	must(n.t, b.Commit())
	must(n.t, b.Wait())
}

func (n *soleVoter) apply(m *pb.Message) {
	set(n.t, n.e, false, func(b *StateBatch) {
		for _, e := range m.GetEntries() {
			if e.GetIndex() != n.applied.Index+1 {
				n.t.Fatalf("entry %d after %d", e.GetIndex(), n.applied.Index)
			}
			n.applied.Index, n.applied.Term = e.GetIndex(), e.GetTerm()
			b.Set(rk("b"), e.GetData())
		}
		b.SetApplied(1001, n.applied)
	})
	n.l.SetApplied(n.applied)
}

func (n *soleVoter) truncate(index uint64) {
	term, err := n.l.Term(index)
	must(n.t, err)
	n.applied.TruncIndex, n.applied.TruncTerm = index, term
	set(n.t, n.e, false, func(b *StateBatch) {
		b.SetApplied(1001, n.applied)
		n.l.Truncate(b, index, term)
	})
}

// quiet panics as raft's own logger does, and says nothing else.
type quiet struct{}

func (quiet) Debug(...any)              {}
func (quiet) Debugf(string, ...any)     {}
func (quiet) Info(...any)               {}
func (quiet) Infof(string, ...any)      {}
func (quiet) Warning(...any)            {}
func (quiet) Warningf(string, ...any)   {}
func (quiet) Error(...any)              {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (quiet) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (quiet) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (quiet) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
