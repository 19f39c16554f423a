package group_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// full gives every scalar of a message a value, as raft reads an absent one as zero.
func full(m *pb.Message) *pb.Message {
	out := &pb.Message{Type: m.GetType().Enum(), To: new(m.GetTo()), From: new(m.GetFrom()), Term: new(m.GetTerm()),
		LogTerm: new(m.GetLogTerm()), Index: new(m.GetIndex()), Commit: new(m.GetCommit()), Reject: new(m.GetReject()),
		RejectHint: new(m.GetRejectHint())}
	if len(m.GetContext()) > 0 {
		out.Context = m.GetContext()
	}
	for _, e := range m.GetEntries() {
		f := &pb.Entry{Type: e.GetType().Enum(), Term: new(e.GetTerm()), Index: new(e.GetIndex())}
		if len(e.GetData()) > 0 {
			f.Data = e.GetData()
		}
		out.Entries = append(out.Entries, f)
	}
	if s := m.GetSnapshot(); s != nil {
		out.Snapshot = &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(s.GetMetadata().GetIndex()),
			Term: new(s.GetMetadata().GetTerm()), ConfState: pb.EnsureConfState(proto.CloneOf(s.GetMetadata().GetConfState()))}}
		if len(s.GetData()) > 0 {
			out.Snapshot.Data = s.GetData()
		}
	}
	return out
}

func randomMessage(t *rapid.T) *pb.Message {
	u := rapid.OneOf(rapid.Uint64Range(0, 300), rapid.Uint64())
	bs := rapid.SliceOfN(rapid.Byte(), 0, 40)
	m := &pb.Message{Type: pb.MessageType(rapid.Int32Range(0, 23).Draw(t, "type")).Enum(), To: new(u.Draw(t, "to")),
		From: new(u.Draw(t, "from")), Term: new(u.Draw(t, "term")), LogTerm: new(u.Draw(t, "logterm")),
		Index: new(u.Draw(t, "index")), Commit: new(u.Draw(t, "commit")), Reject: new(rapid.Bool().Draw(t, "reject")),
		RejectHint: new(u.Draw(t, "hint")), Context: bs.Draw(t, "context")}
	for range rapid.IntRange(0, 5).Draw(t, "entries") {
		m.Entries = append(m.Entries, &pb.Entry{Type: pb.EntryType(rapid.Int32Range(0, 2).Draw(t, "entrytype")).Enum(),
			Term: new(u.Draw(t, "entryterm")), Index: new(u.Draw(t, "entryindex")), Data: bs.Draw(t, "data")})
	}
	if rapid.Bool().Draw(t, "snapshot") {
		ids := rapid.SliceOfN(u, 0, 4)
		m.Snapshot = &pb.Snapshot{Data: bs.Draw(t, "snapdata"), Metadata: &pb.SnapshotMetadata{
			Index: new(u.Draw(t, "snapindex")), Term: new(u.Draw(t, "snapterm")),
			ConfState: &pb.ConfState{Voters: ids.Draw(t, "voters"), Learners: ids.Draw(t, "learners"),
				VotersOutgoing: ids.Draw(t, "outgoing"), LearnersNext: ids.Draw(t, "next"), AutoLeave: new(rapid.Bool().Draw(t, "auto"))}}}
	}
	return m
}

// TestFrameRoundTrip: what goes into a frame comes out of it, in order, whatever the fields hold.
func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var frame []byte
		var want []string
		for i := range rapid.IntRange(1, 40).Draw(rt, "n") {
			m := randomMessage(rt)
			frame = group.AppendMessage(frame, shard.ID(i), m)
			want = append(want, wire(shard.ID(i), full(m)))
		}
		var got []string
		err := group.DecodeFrame(frame, func(id shard.ID, m *pb.Message) error {
			got = append(got, wire(id, m))
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			rt.Fatalf("error %v\n got %q\nwant %q", err, got, want)
		}
	})
}

func wire(id shard.ID, m *pb.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	must(err)
	return fmt.Sprintf("%d %x", id, b)
}

// TestFrameFields fails when the library's messages grow a field: decide then whether it crosses the network.
func TestFrameFields(t *testing.T) {
	for _, c := range []struct {
		m      proto.Message
		fields string
	}{
		// vote and responses are those of MsgStorageAppend and MsgStorageApply: they do not leave the store.
		{&pb.Message{}, "[type to from term logTerm index entries commit vote snapshot reject rejectHint context responses]"},
		{&pb.Entry{}, "[Term Index Type Data]"},
		{&pb.Snapshot{}, "[data metadata]"},
		{&pb.SnapshotMetadata{}, "[conf_state index term]"},
		{&pb.ConfState{}, "[voters learners voters_outgoing learners_next auto_leave]"},
	} {
		var names []protoreflect.Name
		fields := c.m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			names = append(names, fields.Get(i).Name())
		}
		if got := fmt.Sprint(names); got != c.fields {
			t.Errorf("%s has fields %s, the codec knows %s", c.m.ProtoReflect().Descriptor().Name(), got, c.fields)
		}
	}
}

func sampleFrame() []byte {
	b := group.AppendMessage(nil, 7, &pb.Message{Type: pb.MsgHeartbeat.Enum(), To: new(uint64(1)), From: new(uint64(2)),
		Term: new(uint64(6)), Commit: new(uint64(11)), Context: []byte("12345678")})
	b = group.AppendMessage(b, 7, &pb.Message{Type: pb.MsgApp.Enum(), To: new(uint64(1)), From: new(uint64(2)),
		Term: new(uint64(6)), LogTerm: new(uint64(5)), Index: new(uint64(10)), Commit: new(uint64(10)), Entries: []*pb.Entry{
			{Index: new(uint64(11)), Term: new(uint64(6))},
			{Index: new(uint64(12)), Term: new(uint64(6)), Data: []byte("data"), Type: pb.EntryConfChangeV2.Enum()}}})
	return group.AppendMessage(b, 9, &pb.Message{Type: pb.MsgSnap.Enum(), To: new(uint64(1)), From: new(uint64(2)), Term: new(uint64(6)),
		Snapshot: &pb.Snapshot{Data: []byte("d"), Metadata: &pb.SnapshotMetadata{Index: new(uint64(20)), Term: new(uint64(6)),
			ConfState: &pb.ConfState{Voters: []uint64{1, 2, 3}, AutoLeave: new(false)}}}})
}

func discard(shard.ID, *pb.Message) error { return nil }

// TestFrameDamage: no single damaged byte and no cut goes unnoticed, but for a cut between records.
func TestFrameDamage(t *testing.T) {
	frame := sampleFrame()
	for i := range frame {
		for _, bit := range []byte{1, 0x80} {
			damaged := bytes.Clone(frame)
			damaged[i] ^= bit
			if err := group.DecodeFrame(damaged, discard); !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, group.ErrChecksum) {
				t.Errorf("byte %d damaged: %v", i, err)
			}
		}
	}
	whole := 0
	for i := range frame {
		if group.DecodeFrame(frame[:i], discard) == nil {
			whole++
		}
	}
	if whole != 3 { // the version alone, and after the first and second record
		t.Errorf("%d cuts went unnoticed", whole)
	}
	stop := errors.New("stop")
	n := 0
	err := group.DecodeFrame(frame, func(shard.ID, *pb.Message) error { n++; return stop })
	if n != 1 || !errors.Is(err, stop) {
		t.Errorf("receiver's error came out as %v after %d messages", err, n)
	}
}

// FuzzDecodeFrame: nothing that arrives panics, and what is accepted is encoded to the same messages again. Sums are
// mended first, so that the fuzzer gets past them.
func FuzzDecodeFrame(f *testing.F) {
	f.Add(sampleFrame())
	f.Fuzz(func(t *testing.T, b []byte) {
		b = group.MendFrame(bytes.Clone(b))
		var again []byte
		var got []string
		if group.DecodeFrame(b, func(id shard.ID, m *pb.Message) error {
			again = group.AppendMessage(again, id, m)
			got = append(got, wire(id, m))
			return nil
		}) != nil || len(got) == 0 {
			return
		}
		i := 0
		err := group.DecodeFrame(again, func(id shard.ID, m *pb.Message) error {
			if w := wire(id, m); w != got[i] {
				t.Errorf("message %d: %s became %s", i, got[i], w)
			}
			i++
			return nil
		})
		if err != nil || i != len(got) {
			t.Errorf("%d of %d messages survive: %v", i, len(got), err)
		}
	})
}

// FuzzStep: no message that the network can carry panics a member that leads, or one that follows, but for those that
// contradict what is committed: there raft is right to stop the store.
func FuzzStep(f *testing.F) {
	f.Add(sampleFrame())
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld([]uint64{1, 2, 3}, 10)
		w.now += 11 * tick
		must(w.nodes[1].g.Campaign(w.now))
		w.stabilize()
		_ = w.nodes[1].read(1)
		w.stabilize()
		_ = group.DecodeFrame(group.MendFrame(bytes.Clone(b)), func(_ shard.ID, m *pb.Message) error {
			if m.GetType() == pb.MsgSnap || len(m.GetEntries()) > 0 && m.GetIndex() < w.nodes[1].g.Committed() {
				return nil
			}
			for _, id := range []uint64{1, 2} {
				n, forged := w.nodes[id], proto.CloneOf(m)
				forged.To = new(id)
				_ = n.g.Step(forged, n.clock())
				for n.ready() || n.sync() {
				}
			}
			return nil
		})
	})
}

func BenchmarkFrame(b *testing.B) {
	m := &pb.Message{Type: pb.MsgApp.Enum(), To: new(uint64(1)), From: new(uint64(2)), Term: new(uint64(6)),
		LogTerm: new(uint64(6)), Index: new(uint64(100)), Commit: new(uint64(90))}
	for i := range uint64(16) {
		m.Entries = append(m.Entries, &pb.Entry{Index: new(101 + i), Term: new(uint64(6)), Data: make([]byte, 256)})
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var frame []byte
		for b.Loop() {
			frame = group.AppendMessage(frame[:0], 7, m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		frame := group.AppendMessage(nil, 7, m)
		for b.Loop() {
			must(group.DecodeFrame(frame, discard))
		}
	})
}
