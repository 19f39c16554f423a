package raftstore

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestDiskLevels: a disk fills up and is emptied again; it is not low, or at its reserve, one moment and not the next.
func TestDiskLevels(t *testing.T) {
	const low = 1000 // so the reserve is 250
	level := Roomy
	for _, s := range []struct {
		free uint64
		want Level
	}{
		{1251, Roomy}, {1001, Roomy}, {1000, Roomy},
		{999, Low}, {1000, Low}, {1249, Low}, {1250, Roomy},
		{500, Low}, {250, Low}, {249, Reserve}, {251, Reserve}, {311, Reserve}, {312, Low},
		{100, Reserve}, {5000, Roomy},
		{0, Reserve}, {1100, Low}, {1250, Roomy},
	} {
		if level = levelOf(level, s.free, low); level != s.want {
			t.Fatalf("%d free: %s, want %s", s.free, level, s.want)
		}
	}
	if l := levelOf(Low, 0, 0); l != Roomy {
		t.Errorf("a disk without a mark is %s", l)
	}
}

// TestLowMark: by default a store is low only when placement has stopped to send it shards: when less than a tenth of its
// disk, and less than 64 GiB, are free (schedule.DefaultLimits).
func TestLowMark(t *testing.T) {
	const gib = 1 << 30
	for total, want := range map[uint64]uint64{
		0: 0, gib: gib / 10, 10 * gib: gib, 20 * gib: 2 * gib, 30 * gib: 2 * gib, 100 * gib: 5 * gib, 640 * gib: 32 * gib, 10_000 * gib: 32 * gib,
	} {
		if low := lowMark(total); low != want {
			t.Errorf("a disk of %d GiB is low below %d MiB, want %d", total/gib, low>>20, want>>20)
		}
		if low := lowMark(total); low > min(total/10, 64*gib) {
			t.Errorf("a disk of %d GiB is low at %d MiB already, while placement sends it shards", total/gib, low>>20)
		}
	}
}

// TestGrows: which commands add data.
func TestGrows(t *testing.T) {
	k := shard.RawKey([]byte("k"))
	put, del := raw.Op{Kind: raw.Put, Key: k, Value: []byte("v")}, raw.Op{Kind: raw.Delete, Key: k}
	span := raw.Op{Kind: raw.DeleteRange, Key: k, End: shard.RawKey([]byte("l"))}
	tk := shard.Key("xk\x00")
	mutation := func(kind mvcc.MutationKind) []byte {
		p := &mvcc.Prewrite{Primary: tk, StartTS: 2, TTLMillis: 1000, Mutations: []mvcc.Mutation{{Kind: kind, Key: tk}}}
		if kind == mvcc.Put || kind == mvcc.Insert {
			p.Mutations[0].Value = []byte("v")
		}
		return p.Append(nil)
	}
	for _, s := range []struct {
		what string
		body []byte
		want bool
	}{
		{"put", (&raw.Command{Ops: []raw.Op{put}}).Append(nil), true},
		{"delete", (&raw.Command{Ops: []raw.Op{del}}).Append(nil), false},
		{"delete of a range", (&raw.Command{Ops: []raw.Op{span}}).Append(nil), false},
		{"delete and put", (&raw.Command{Ops: []raw.Op{del, put}}).Append(nil), true},
		{"conditional delete", (&raw.Command{Conditions: []raw.Condition{{Key: k, Exists: true, HasValue: true, Value: []byte("v")}}, Ops: []raw.Op{del}}).Append(nil), false},
		{"prewrite of a put", mutation(mvcc.Put), true},
		{"prewrite of an insert", mutation(mvcc.Insert), true},
		{"prewrite of a delete", mutation(mvcc.Delete), false},
		{"prewrite of a touch", mutation(mvcc.Touch), false},
		{"rollback", mvcc.NewRollback(2, tk).Append(nil), false},
		{"nothing", nil, false},
		{"unknown", []byte{200, 1}, false},
	} {
		if got := bodyGrows(s.body); got != s.want {
			t.Errorf("%s grows: %v", s.what, got)
		}
		b := apply.NewData(nil, apply.Header{Eval: apply.EvalVersion})
		b.Add(call.OpID{Client: 1, Seq: 1}, s.body)
		if got := entriesGrow([]*raftpb.Entry{{Data: b.Entry()}}); got != s.want {
			t.Errorf("an entry with a %s grows: %v", s.what, got)
		}
	}
	if entriesGrow([]*raftpb.Entry{{}, {Data: apply.EncodeTruncate(apply.Header{Eval: apply.EvalVersion}, 3, 1)}}) {
		t.Error("an empty entry, or one that truncates, grows")
	}
}

// TestUnpin: what is small in a large frame does not keep the frame, what is large is not copied.
func TestUnpin(t *testing.T) {
	frame := make([]byte, 1<<20)
	message := func(n int) *raftpb.Message {
		return &raftpb.Message{Entries: []*raftpb.Entry{{Data: frame[:n:n]}, {Data: frame[n : 2*n : 2*n]}}}
	}
	aliases := func(m *raftpb.Message) bool { return &m.Entries[0].Data[0] == &frame[0] }
	small, large := message(100), message(256<<10)
	frame[100] = 7
	unpin(small, len(frame))
	unpin(large, len(frame))
	if aliases(small) || small.Entries[1].Data[0] != 7 || len(small.Entries[1].Data) != 100 {
		t.Error("small entries keep the frame, or are wrong")
	}
	if !aliases(large) {
		t.Error("large entries were copied")
	}
	short := message(10)
	unpin(short, 4<<10)
	if !aliases(short) {
		t.Error("entries of a small frame were copied")
	}
}
