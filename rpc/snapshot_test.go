package rpc

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/internal/buffer"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
)

// TestSnapshotParts: a part of a snapshot is on the wire what protobuf makes of it, and is read by either side, in whatever pieces it
// comes. A chunk's room is not used again before the network has let go of it, whatever others take meanwhile.
func TestSnapshotParts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	type sent struct {
		wire mem.BufferSlice
		want *raftv1.SnapshotPart
	}
	var under []sent
	for i := range 300 {
		data := bytes.Repeat([]byte{byte(i + 1)}, rnd.IntN(3)*rnd.IntN(300<<10))
		part, want := snapshotPart{field: headerField, data: data}, &raftv1.SnapshotPart{Part: &raftv1.SnapshotPart_Header{Header: data}}
		if i%4 > 0 {
			room := *buffer.Frames.Get(len(data))
			copy(room, data)
			part, want = snapshotPart{field: chunkField, data: room}, &raftv1.SnapshotPart{Part: &raftv1.SnapshotPart_Chunk{Chunk: data}}
		}
		wire, err := frames.Marshal(&part)
		if err != nil {
			t.Fatal(err)
		}
		if under = append(under, sent{wire, want}); len(under) > 5 {
			readPart(t, under[0].wire, under[0].want, rnd)
			under[0].wire.Free()
			under = under[1:]
		}
	}
	// What is no part of today's is left to protobuf: fields that nobody knows are skipped, nonsense is refused.
	known := []byte{headerField<<3 | 2, 1, 'h'}
	var p snapshotPart
	if err := frames.Unmarshal(mem.BufferSlice{mem.SliceBuffer(append([]byte{9 << 3, 1}, known...))}, &p); err != nil || p.field != headerField || string(p.data) != "h" {
		t.Fatalf("behind an unknown field: %+v, %v", p, err)
	}
	if err := frames.Unmarshal(mem.BufferSlice{mem.SliceBuffer(nil)}, &p); err != nil || p.field != 0 {
		t.Fatalf("nothing: %+v, %v", p, err)
	}
	if err := frames.Unmarshal(mem.BufferSlice{mem.SliceBuffer(known[:2])}, &p); err == nil {
		t.Fatal("cut short, and taken")
	}
}

func readPart(t *testing.T, wire mem.BufferSlice, want *raftv1.SnapshotPart, rnd *rand.Rand) {
	t.Helper()
	all := wire.Materialize()
	var theirs raftv1.SnapshotPart
	if err := proto.Unmarshal(all, &theirs); err != nil || !proto.Equal(&theirs, want) {
		t.Fatalf("protobuf reads %d bytes, not the part of %d: %v", len(all), proto.Size(want), err)
	}
	var pieces mem.BufferSlice
	for rest := all; len(rest) > 0; {
		n := 1 + rnd.IntN(len(rest))
		pieces = append(pieces, mem.SliceBuffer(rest[:n]))
		rest = rest[n:]
	}
	var ours snapshotPart
	if err := frames.Unmarshal(pieces, &ours); err != nil {
		t.Fatal(err)
	}
	field, data := ours.field, want.GetHeader()
	if want.GetChunk() != nil {
		data = want.GetChunk()
	}
	if (field == chunkField) != (want.GetChunk() != nil) || !bytes.Equal(ours.data, data) {
		t.Fatalf("field %d with %d bytes, want %d", field, len(ours.data), len(data))
	}
	ours.release()
}
