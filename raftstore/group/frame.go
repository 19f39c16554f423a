package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// A frame carries raft messages of any number of groups from one store to another; rpc moves it without looking inside.
//
//	frame    version u8, record...
//	record   length u32, crc32c u32, body          (both big-endian; the sum is over the body)
//	body     shard, to, from, term, log term, index, commit as uvarints; type u8; flags u8;
//	         then what the flags name: reject hint, context, entries, snapshot
//	entry    index and term as distance from the entry before (the first: from the message's index and log term), type
//	         u8, data
//	snapshot index, term, four lists of ids, auto leave, data
//
// The encoding is by hand because the library's is generic: it takes 0.75 us and four allocations per entry to decode.
// Messages between replicas never have a vote or responses (those are for local storage), so these have no place here.

const frameVersion = 1

// ErrChecksum is wrapped with the place where a frame's sum is wrong.
var ErrChecksum = errors.New("checksum mismatch")

const (
	hasReject = 1 << iota
	hasRejectHint
	hasContext
	hasEntries
	hasSnapshot
	knownFlags = hasReject | hasRejectHint | hasContext | hasEntries | hasSnapshot
)

const (
	recordHeaderBytes = 8
	minEntryBytes     = 4
	minRecordBytes    = recordHeaderBytes + 9
)

// crc is CRC-32C, which the processor computes. MakeTable returns the library's own table.
func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// AppendMessage appends m, of the group id, to the frame b and begins the frame if b is empty. b holds nothing else.
func AppendMessage(b []byte, id shard.ID, m *pb.Message) []byte {
	if len(b) == 0 {
		b = append(b, frameVersion)
	}
	start := len(b)
	b = append(b, make([]byte, recordHeaderBytes)...)
	b = appendBody(b, id, m)
	body := b[start+recordHeaderBytes:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[start+4:], crc(body))
	return b
}

// The room that a message and an entry take in a frame, besides what entries hold; those with snapshots take more.
const (
	messageRoom = 128
	entryRoom   = 16
)

// MessageRoom is about how many bytes AppendMessage appends.
func MessageRoom(m *pb.Message) int {
	n := messageRoom + entryRoom*len(m.GetEntries())
	for _, e := range m.GetEntries() {
		n += len(e.GetData())
	}
	return n
}

func appendBody(b []byte, id shard.ID, m *pb.Message) []byte {
	for _, v := range [...]uint64{uint64(id), m.GetTo(), m.GetFrom(), m.GetTerm(), m.GetLogTerm(), m.GetIndex(), m.GetCommit()} {
		b = codec.AppendUvarint(b, v)
	}
	flags := flagsOf(m)
	b = append(b, byte(m.GetType()), flags)
	if flags&hasRejectHint != 0 {
		b = codec.AppendUvarint(b, m.GetRejectHint())
	}
	if flags&hasContext != 0 {
		b = codec.AppendBytes(b, m.GetContext())
	}
	if flags&hasEntries != 0 {
		b = appendEntries(b, m)
	}
	if flags&hasSnapshot != 0 {
		b = appendSnapshot(b, m.GetSnapshot())
	}
	return b
}

func flagsOf(m *pb.Message) (f byte) {
	if m.GetReject() {
		f |= hasReject
	}
	if m.GetRejectHint() != 0 {
		f |= hasRejectHint
	}
	if len(m.GetContext()) > 0 {
		f |= hasContext
	}
	if len(m.GetEntries()) > 0 {
		f |= hasEntries
	}
	if m.GetSnapshot() != nil {
		f |= hasSnapshot
	}
	return f
}

func appendEntries(b []byte, m *pb.Message) []byte {
	b = codec.AppendUvarint(b, uint64(len(m.GetEntries())))
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		// Distances wrap around: what raft sends makes them 0 or small, what it does not send still survives.
		b = codec.AppendUvarint(b, e.GetIndex()-index-1)
		b = codec.AppendUvarint(b, e.GetTerm()-term)
		b = append(b, byte(e.GetType()))
		b = codec.AppendBytes(b, e.GetData())
		index, term = e.GetIndex(), e.GetTerm()
	}
	return b
}

func appendSnapshot(b []byte, s *pb.Snapshot) []byte {
	md := s.GetMetadata()
	b = codec.AppendUvarint(b, md.GetIndex())
	b = codec.AppendUvarint(b, md.GetTerm())
	cs := md.GetConfState()
	for _, ids := range [...][]uint64{cs.GetVoters(), cs.GetLearners(), cs.GetVotersOutgoing(), cs.GetLearnersNext()} {
		b = codec.AppendUvarint(b, uint64(len(ids)))
		for _, id := range ids {
			b = codec.AppendUvarint(b, id)
		}
	}
	b = codec.AppendBool(b, cs.GetAutoLeave())
	return codec.AppendBytes(b, s.GetData())
}

// DecodeFrame calls f for every message of a frame, in order, and stops at f's first error, which it returns as it is.
// Entry data and contexts alias b, which must not change or be reused as long as anything of its messages is kept.
//
// Memory: a message and its numbers come from a slab of up to slabMessages, the entries of a message from one slab and
// one list of pointers. Entries take at most 30 times the memory of their encoding.
func DecodeFrame(b []byte, f func(id shard.ID, m *pb.Message) error) error {
	d := codec.Decoder{B: b}
	d.Version(frameVersion)
	if err := d.Err(); err != nil {
		return fmt.Errorf("raft frame of %d bytes: version: %w", len(b), err)
	}
	var slab messageSlab
	for rest := d.B; len(rest) > 0; {
		body, next, err := cutRecord(rest)
		if err == nil {
			var id shard.ID
			var m *pb.Message
			if id, m, err = decodeBody(body, slab.next(rest)); err == nil {
				if err := f(id, m); err != nil {
					return err
				}
				rest = next
				continue
			}
		}
		return fmt.Errorf("raft frame of %d bytes at %d: %w", len(b), len(b)-len(rest), err)
	}
	return nil
}

// cutRecord takes one record off the front of b and checks its sum.
func cutRecord(b []byte) (body, rest []byte, err error) {
	if len(b) < recordHeaderBytes {
		return nil, nil, codec.ErrMalformed
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-recordHeaderBytes) {
		return nil, nil, codec.ErrMalformed
	}
	end := recordHeaderBytes + int(n)
	body = b[recordHeaderBytes:end:end]
	if crc(body) != binary.BigEndian.Uint32(b[4:]) {
		return nil, nil, ErrChecksum
	}
	return body, b[end:], nil
}

// slabMessages bounds a slab, which lives as long as any of its messages does.
const slabMessages = 16

// flatMessage is a message together with the numbers that its fields point to.
type flatMessage struct {
	m                                                  pb.Message
	to, from, term, logTerm, index, commit, rejectHint uint64
	typ                                                pb.MessageType
	reject                                             bool
}

// flatEntry is the same for an entry.
type flatEntry struct {
	e           pb.Entry
	index, term uint64
	typ         pb.EntryType
}

type messageSlab struct{ free []flatMessage }

// next hands out one message; rest is what is left of the frame, and bounds how many more there can be.
func (s *messageSlab) next(rest []byte) *flatMessage {
	if len(s.free) == 0 {
		s.free = make([]flatMessage, countRecords(rest, slabMessages))
	}
	m := &s.free[0]
	s.free = s.free[1:]
	return m
}

// countRecords counts the records in b, up to a limit, by their lengths only; at least 1.
func countRecords(b []byte, limit int) int {
	n := 1
	for ; n < limit && len(b) >= recordHeaderBytes; n++ {
		size := recordHeaderBytes + uint64(binary.BigEndian.Uint32(b))
		if size+minRecordBytes > uint64(len(b)) {
			break
		}
		b = b[size:]
	}
	return n
}

func decodeBody(body []byte, s *flatMessage) (shard.ID, *pb.Message, error) {
	d := codec.Decoder{B: body}
	id := shard.ID(d.Uvarint())
	for _, v := range [...]*uint64{&s.to, &s.from, &s.term, &s.logTerm, &s.index, &s.commit} {
		*v = d.Uvarint()
	}
	s.typ = pb.MessageType(d.Byte())
	flags := d.Byte()
	m := &s.m
	m.Type, m.To, m.From, m.Term = &s.typ, &s.to, &s.from, &s.term
	m.LogTerm, m.Index, m.Commit = &s.logTerm, &s.index, &s.commit
	s.reject = flags&hasReject != 0
	m.Reject = &s.reject
	if flags&hasRejectHint != 0 {
		s.rejectHint = d.Uvarint()
	}
	m.RejectHint = &s.rejectHint
	if flags&hasContext != 0 {
		m.Context = d.Bytes()
	}
	if flags&hasEntries != 0 {
		m.Entries = decodeEntries(&d, s.index, s.logTerm)
	}
	if flags&hasSnapshot != 0 {
		m.Snapshot = decodeSnapshot(&d)
	}
	if err := d.Done(); err != nil || flags&^knownFlags != 0 {
		return 0, nil, codec.ErrMalformed
	}
	return id, m, nil
}

func decodeEntries(d *codec.Decoder, index, term uint64) []*pb.Entry {
	n := d.Count(minEntryBytes)
	if n == 0 {
		return nil
	}
	slab, out := make([]flatEntry, n), make([]*pb.Entry, n)
	for i := range slab {
		s := &slab[i]
		index += d.Uvarint() + 1
		term += d.Uvarint()
		s.index, s.term, s.typ = index, term, pb.EntryType(d.Byte())
		s.e.Index, s.e.Term, s.e.Type, s.e.Data = &s.index, &s.term, &s.typ, d.Bytes()
		out[i] = &s.e
	}
	return out
}

func decodeSnapshot(d *codec.Decoder) *pb.Snapshot {
	md := &pb.SnapshotMetadata{Index: new(d.Uvarint()), Term: new(d.Uvarint()), ConfState: new(pb.ConfState)}
	cs := md.ConfState
	for _, ids := range [...]*[]uint64{&cs.Voters, &cs.Learners, &cs.VotersOutgoing, &cs.LearnersNext} {
		for range d.Count(1) {
			*ids = append(*ids, d.Uvarint())
		}
	}
	cs.AutoLeave = new(d.Bool())
	return &pb.Snapshot{Metadata: md, Data: d.Bytes()}
}
