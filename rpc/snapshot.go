package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/codec"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// The fields of raftv1.SnapshotPart, of which each has one.
const (
	headerField = 1
	chunkField  = 2
)

// snapshotPart is a raftv1.SnapshotPart that is neither copied when it is sent, nor twice when it is received. Whoever sends a chunk
// gives its bytes away: they go back to buffer.Frames once the network has taken them.
type snapshotPart struct {
	field protowire.Number
	data  []byte
	room  []byte // of one that was received: the buffer of buffer.Frames whose end data is
}

// marshal is Marshal of the codec.
func (p *snapshotPart) marshal() mem.BufferSlice {
	head := protowire.AppendTag(make([]byte, 0, 16), p.field, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(p.data)))
	if p.field == headerField {
		return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(p.data)}
	}
	own := p.data // the pool keeps a pointer to this
	return mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(&own, &buffer.Frames)}
}

// take is Unmarshal of the codec. It reports false if there is more in data than one part, or something else.
func (p *snapshotPart) take(data mem.BufferSlice) bool {
	*p = snapshotPart{room: *buffer.Frames.Get(data.Len())}
	data.CopyTo(p.room)
	var ok bool
	p.field, p.data, ok = onlyField(p.room)
	return ok && (p.field == headerField || p.field == chunkField)
}

// of is the part that protobuf read.
func (p *snapshotPart) of(m *raftv1.SnapshotPart) {
	*p = snapshotPart{}
	switch part := m.GetPart().(type) {
	case *raftv1.SnapshotPart_Header:
		p.field, p.data = headerField, part.Header
	case *raftv1.SnapshotPart_Chunk:
		p.field, p.data = chunkField, part.Chunk
	}
}

// release gives the part's room back: nobody holds its data any more.
func (p *snapshotPart) release() {
	if p.room != nil {
		buffer.Frames.Give(p.room)
	}
	*p = snapshotPart{}
}

// SendSnapshot streams one snapshot on a stream of its own. The chunks of next go to buffer.Frames in the end.
func (t *Transport) SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error {
	addr, cluster, err := t.addr(to)
	if err != nil {
		return err
	}
	cc, err := t.conns.get(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, headerStore, fmt.Sprint(uint64(to)),
		headerFrom, fmt.Sprint(uint64(t.from)), headerCluster, fmt.Sprint(uint64(cluster)))
	stream, err := raftv1.NewRaftClient(cc).Snapshot(ctx)
	if err != nil {
		return fromStatus(ctx, err, nil, "snapshot to "+to.String())
	}
	part := &snapshotPart{field: headerField, data: header}
	for {
		if err := stream.SendMsg(part); err != nil {
			break // CloseAndRecv says why
		}
		chunk, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		part = &snapshotPart{field: chunkField, data: chunk}
	}
	done, err := stream.CloseAndRecv()
	if err != nil {
		return fromStatus(ctx, err, stream.Trailer(), "snapshot to "+to.String())
	}
	return doneError(done.GetError())
}

// doneError is what the receiver of a snapshot said at the end. Bytes that are no error still say that it was not taken.
func doneError(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d := codec.Decoder{B: b}
	if err := call.ReadError(&d); d.Done() == nil && err != nil {
		return err
	}
	return &call.UnknownError{Text: "the receiver of a snapshot answered with a malformed error"}
}

// Snapshot takes the parts of one snapshot.
func (r *raftServer) Snapshot(stream raftv1.Raft_SnapshotServer) error {
	store, _, err := r.handshake(stream.Context())
	if err != nil {
		return err
	}
	var header, part snapshotPart // what is read of the header points into it, so its room is not given back
	if err := stream.RecvMsg(&header); err != nil {
		return err
	}
	if header.field != headerField {
		header.data = nil
	}
	defer part.release()
	err = store.ReceiveSnapshot(stream.Context(), header.data, func() ([]byte, error) {
		part.release()
		if err := stream.RecvMsg(&part); err != nil {
			return nil, err
		}
		if part.field != chunkField {
			return nil, errors.New("a part of the snapshot is not a chunk")
		}
		return part.data, nil
	})
	done := &raftv1.SnapshotDone{}
	if err != nil {
		done.Error = call.AppendError(nil, err)
	}
	return stream.SendAndClose(done)
}
