package rpc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/env"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard/call"
)

// item adds n bytes to g, of which a body is sent as it is, and returns all of them.
func item(g *gather, c byte, n, bodied int) []byte {
	all := bytes.Repeat([]byte{c}, n)
	end := body{}
	switch {
	case bodied > 1:
		room := *buffer.Frames.Get(n + 7)
		copy(room[7:], all)
		end = body{data: room[7:], room: room}
	case bodied > 0:
		end = body{data: bytes.Clone(all)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addLocked(n+1, func(b []byte) []byte {
		if b = append(b, 'h'); end.data == nil {
			b = append(b, all...)
		}
		return b
	}, end)
	return append([]byte{'h'}, all...)
}

// TestFrames: a frame is on the wire what protobuf makes of its bytes and bodies in order, and is read by either side, in
// whatever pieces it comes. Its room is not used again before the network has let go of it, whatever others gave back.
func TestFrames(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	type sent struct {
		wire mem.BufferSlice
		want []byte
	}
	var under []sent
	for i := range 400 {
		g := gather{wake: env.Real{}.NewEvent("test")}
		var want []byte
		for j := range rnd.IntN(5) {
			want = append(want, item(&g, byte(i+j), rnd.IntN(3)*rnd.IntN(9000), rnd.IntN(3))...)
		}
		for _, f := range g.take() {
			wire, err := frames.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			under = append(under, sent{wire, want})
		}
		for len(under) > 5 {
			readFrame(t, under[0].wire, under[0].want, rnd)
			under[0].wire.Free()
			under = under[1:]
		}
	}
	if wire, err := frames.Marshal(&frame{}); err != nil || len(under) == 0 {
		t.Fatal(err)
	} else {
		readFrame(t, wire, nil, rnd)
	}
}

func readFrame(t *testing.T, wire mem.BufferSlice, want []byte, rnd *rand.Rand) {
	t.Helper()
	all := wire.Materialize()
	var theirs, ours kvv1.Frame
	if err := proto.Unmarshal(all, &theirs); err != nil || !bytes.Equal(theirs.GetData(), want) {
		t.Fatalf("protobuf reads %d bytes, want %d: %v", len(theirs.GetData()), len(want), err)
	}
	var pieces mem.BufferSlice
	for rest := all; len(rest) > 0; {
		n := 1 + rnd.IntN(len(rest))
		pieces = append(pieces, mem.SliceBuffer(rest[:n]))
		rest = rest[n:]
	}
	if err := frames.Unmarshal(pieces, &ours); err != nil || !bytes.Equal(ours.GetData(), want) {
		t.Fatalf("read %d bytes, want %d: %v", len(ours.GetData()), len(want), err)
	}
	strange := mem.BufferSlice{mem.SliceBuffer(append(bytes.Clone(all), 0x12, 1, 'x'))} // a field of a later version
	if err := frames.Unmarshal(strange, &ours); err != nil || !bytes.Equal(ours.GetData(), want) {
		t.Fatalf("read %d bytes beside a field that is not known, want %d: %v", len(ours.GetData()), len(want), err)
	}
	for _, cut := range []int{1, len(all) / 2} {
		if cut < len(all) && frames.Unmarshal(mem.BufferSlice{mem.SliceBuffer(all[:cut])}, &ours) == nil {
			t.Fatalf("a frame of %d bytes is read from its first %d", len(all), cut)
		}
	}
}

// TestLongAnswers: answers come as they were given, long and short ones, in lent room and without.
func TestLongAnswers(t *testing.T) {
	r := newReplies(env.Real{}, 1, nil)
	want := make(map[uint64][]byte)
	for id := range uint64(40) {
		room := *buffer.Frames.Get(int(id) * 400)
		for i := range room {
			room[i] = byte(id)
		}
		rep := &call.Reply{Term: id, Body: room[len(room)/3:], Room: room}
		if id%2 == 0 {
			rep.Room = nil
		}
		want[id] = bytes.Clone(rep.Body)
		r.Complete(id, rep)
	}
	for _, f := range r.begin() {
		wire, err := frames.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var got kvv1.Frame
		if err := frames.Unmarshal(wire, &got); err != nil {
			t.Fatal(err)
		}
		err = call.DecodeReplies(got.GetData(), func(id uint64, rep *call.Reply) error {
			if rep.Term != id || !bytes.Equal(rep.Body, want[id]) {
				return fmt.Errorf("answer %d came as %d bytes of %d, want %d", id, len(rep.Body), rep.Term, len(want[id]))
			}
			delete(want, id)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d answers did not come", len(want))
	}
}
