package group_test

import (
	"fmt"
	"io"
	"log"
	"testing"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// BenchmarkCommit is a proposal from the leader until all three members have applied it, in memory and without a network,
// beside RawNode alone with the same storage, configuration and order of work. A proposal holds so many commands of 256
// bytes.
func BenchmarkCommit(b *testing.B) {
	for _, commands := range []int{1, 16, 64} {
		data := make([]byte, commands*256)
		data[0] = 1
		b.Run(fmt.Sprintf("commands=%d/group", commands), func(b *testing.B) { benchCommit(b, data, newGroupPeer) })
		b.Run(fmt.Sprintf("commands=%d/rawnode", commands), func(b *testing.B) { benchCommit(b, data, newRawPeer) })
	}
}

// peer is one of three members, which are driven alike whatever is inside. Its disk is done with an append, and its state
// with an entry, at once: ready does both before it returns.
type peer interface {
	campaign() error
	propose(data []byte) error
	step(m *pb.Message) error
	// ready does what there is to do, and reports whether there was anything.
	ready(t *trio) (bool, error)
}

// member is what both kinds of peers have.
type member struct {
	id      uint64
	disk    *raft.MemoryStorage
	applied uint64 // index
	kept    uint64 // the last entry that was cut off the log
}

// trio is three peers, and the messages between them that were not stepped yet, oldest first. Steps make no messages.
type trio struct {
	peers   [3]peer
	members [3]*member
	net     []*pb.Message
}

func newTrio(open func(*member) (peer, error)) (*trio, error) {
	t := new(trio)
	voters := pb.EnsureConfState(&pb.ConfState{Voters: []uint64{1, 2, 3}})
	for i := range t.peers {
		m := &member{id: uint64(i + 1), disk: raft.NewMemoryStorage(), applied: firstIndex, kept: firstIndex}
		must(m.disk.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{
			Index: new(uint64(firstIndex)), Term: new(uint64(firstTerm)), ConfState: voters}}))
		must(m.disk.SetHardState(&pb.HardState{Term: new(uint64(firstTerm)), Vote: new(uint64(0)), Commit: new(uint64(firstIndex))}))
		p, err := open(m)
		if err != nil {
			return nil, err
		}
		t.peers[i], t.members[i] = p, m
	}
	if err := t.peers[0].campaign(); err != nil {
		return nil, err
	}
	return t, t.settle()
}

// settle runs everything until nothing moves.
func (t *trio) settle() error {
	for moved := true; moved; {
		moved = false
		for _, p := range t.peers {
			for {
				did, err := p.ready(t)
				if err != nil {
					return err
				}
				if !did {
					break
				}
				moved = true
			}
		}
		for _, m := range t.net {
			if err := t.peers[m.GetTo()-1].step(m); err != nil {
				return err
			}
			moved = true
		}
		clear(t.net)
		t.net = t.net[:0]
	}
	return nil
}

// write puts an append on disk; hs is nil if it need not be written.
func (m *member) write(entries []*pb.Entry, hs *pb.HardState) error {
	if hs != nil {
		if err := m.disk.SetHardState(hs); err != nil {
			return err
		}
	}
	return m.disk.Append(entries)
}

// cutEvery is how many entries gather in a log before it is cut, keptBehind how many of them stay.
const (
	cutEvery   = 1024
	keptBehind = 16
)

// apply takes committed entries, which are empty or what was proposed, and cuts the log now and then.
func (m *member) apply(entries []*pb.Entry) error {
	for _, e := range entries {
		if e.GetIndex() != m.applied+1 {
			return fmt.Errorf("r%d applies %d after %d", m.id, e.GetIndex(), m.applied)
		}
		m.applied = e.GetIndex()
	}
	if m.applied-m.kept < cutEvery {
		return nil
	}
	m.kept = m.applied - keptBehind
	return m.disk.Compact(m.kept)
}

func benchCommit(b *testing.B, data []byte, open func(*member) (peer, error)) {
	t, err := newTrio(open)
	if err != nil {
		b.Fatal(err)
	}
	before := t.members[0].applied
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for want := before + 1; b.Loop(); want++ {
		if err := t.peers[0].propose(data); err != nil {
			b.Fatal(err)
		}
		if err := t.settle(); err != nil {
			b.Fatal(err)
		}
		for _, m := range t.members {
			if m.applied != want {
				b.Fatalf("r%d applied %d, not %d", m.id, m.applied, want)
			}
		}
	}
}

// groupPeer is a Group.
type groupPeer struct {
	*member
	g *group.Group
}

// benchNow is when everything happens: later than any promise that was made at the start, at zero.
const benchNow = 1000 * tick

func newGroupPeer(m *member) (peer, error) {
	g, err := group.New(group.Config{Shard: 7, Replica: shard.ReplicaID(m.id), Store: shard.StoreID(m.id), Storage: m.disk, Applied: m.applied})
	return &groupPeer{m, g}, err
}

func (p *groupPeer) campaign() error           { return p.g.Campaign(benchNow) }
func (p *groupPeer) propose(data []byte) error { return p.g.Propose(data, p) }
func (p *groupPeer) step(m *pb.Message) error  { return p.g.Step(m, benchNow) }

func (p *groupPeer) ready(t *trio) (bool, error) {
	e, ok := p.g.Ready()
	if !ok {
		return false, nil
	}
	if len(e.Lost) > 0 {
		return false, fmt.Errorf("r%d lost a proposal", p.id)
	}
	t.net = append(t.net, e.Send...)
	if a := e.Append; a != nil {
		if err := p.append(t, a); err != nil {
			return false, err
		}
	}
	if a := e.Apply; a != nil {
		if err := p.apply(a.Entries); err != nil {
			return false, err
		}
		return true, p.g.Deliver(a.Responses[0])
	}
	return true, nil
}

func (p *groupPeer) append(t *trio, a *group.Append) error {
	var hs *pb.HardState
	if a.StateChanged {
		hs = &pb.HardState{Term: new(a.Term), Vote: new(a.Vote), Commit: new(a.Commit)}
	}
	if err := p.write(a.Entries, hs); err != nil {
		return err
	}
	t.net = append(t.net, a.Hold...)
	for _, m := range a.Responses {
		if m.GetTo() != p.id {
			t.net = append(t.net, m)
		} else if err := p.g.Deliver(m); err != nil {
			return err
		}
	}
	return nil
}

// rawPeer is a RawNode, driven as raft's documentation says.
type rawPeer struct {
	*member
	rn *raft.RawNode
}

func newRawPeer(m *member) (peer, error) {
	rn, err := raft.NewRawNode(&raft.Config{ID: m.id, Storage: m.disk, Applied: m.applied, AsyncStorageWrites: true,
		ElectionTick: group.DefaultElectionTicks, HeartbeatTick: group.DefaultHeartbeatTicks,
		MaxSizePerMsg: group.DefaultMaxSizePerMsg, MaxCommittedSizePerReady: group.DefaultMaxCommittedSizePerReady,
		MaxUncommittedEntriesSize: group.DefaultMaxUncommittedBytes,
		MaxInflightMsgs:           group.DefaultMaxInflightMsgs, MaxInflightBytes: group.DefaultMaxInflightBytes,
		CheckQuorum: true, PreVote: true, DisableProposalForwarding: true, StepDownOnRemoval: true,
		Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}})
	return &rawPeer{m, rn}, err
}

func (p *rawPeer) campaign() error           { return p.rn.Campaign() }
func (p *rawPeer) propose(data []byte) error { return p.rn.Propose(data) }
func (p *rawPeer) step(m *pb.Message) error  { return p.rn.Step(m) }

func (p *rawPeer) ready(t *trio) (bool, error) {
	if !p.rn.HasReady() {
		return false, nil
	}
	rd := p.rn.Ready()
	for _, m := range rd.Messages {
		var err error
		switch m.GetTo() {
		case raft.LocalAppendThread:
			if err = p.write(m.GetEntries(), changed(rd.HardState)); err == nil {
				err = p.respond(t, m)
			}
		case raft.LocalApplyThread:
			if err = p.apply(m.GetEntries()); err == nil {
				err = p.respond(t, m)
			}
		default:
			t.net = append(t.net, m)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// changed is a hard state that has to be written, or nil.
func changed(hs *pb.HardState) *pb.HardState {
	if raft.IsEmptyHardState(hs) {
		return nil
	}
	return hs
}

// respond delivers the responses of a message to local storage.
func (p *rawPeer) respond(t *trio, m *pb.Message) error {
	for _, r := range m.GetResponses() {
		if r.GetTo() != p.id {
			t.net = append(t.net, r)
		} else if err := p.rn.Step(r); err != nil {
			return err
		}
	}
	return nil
}
