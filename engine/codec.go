package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine/journal"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Encodings of everything that the engine itself writes. Each value begins with a version byte and ends with a CRC-32C
// over key and value, so that a value that comes back under another key is found as well. Values of data keys belong
// to the commands that wrote them and are covered by Pebble's block checksums.

// ErrCorruption is wrapped by every error that says that what was read is not what was written. The store stops.
var ErrCorruption = journal.ErrCorruption

func corrupt(key []byte, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrCorruption, keys.Format(key), fmt.Sprintf(format, args...))
}

const crcLen = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// seal appends the checksum of key and value to value.
func seal(key, value []byte) []byte {
	return binary.LittleEndian.AppendUint32(value, checksum(key, value))
}

// unseal checks what seal appended and cuts it off.
func unseal(key, value []byte) ([]byte, error) {
	n := len(value) - crcLen
	if n < 1 {
		return nil, corrupt(key, "value of %d bytes is too short", len(value))
	}
	if have, want := binary.LittleEndian.Uint32(value[n:]), checksum(key, value[:n]); have != want {
		return nil, corrupt(key, "checksum is %08x, not %08x", have, want)
	}
	return value[:n:n], nil
}

// logHeader is what a log value says besides its data.
type logHeader struct {
	// commit is the commit index of the MsgStorageAppend that carried the entry. The last entry of a log carries the one
	// of the latest append, so that a commit index need not be written alone.
	commit uint64
	term   uint64
	typ    pb.EntryType
}

const logVersion = 1

// logValueLen is the length of a log value.
func logValueLen(commit, term uint64, data int) int {
	return 1 + uvarintLen(commit) + uvarintLen(term) + 1 + data + crcLen
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// putLogValue writes the log value of one entry into dst, which has exactly its length.
func putLogValue(dst, key []byte, h logHeader, data []byte) {
	b := append(dst[:0], logVersion)
	b = binary.AppendUvarint(b, h.commit)
	b = binary.AppendUvarint(b, h.term)
	b = append(b, byte(h.typ))
	b = append(b, data...)
	seal(key, b)
}

// decodeLogValue takes a log value apart. The data alias value and are nil if there are none.
func decodeLogValue(key, value []byte) (logHeader, []byte, error) {
	v, err := unseal(key, value)
	if err != nil {
		return logHeader{}, nil, err
	}
	d := codec.Decoder{B: v}
	d.Version(logVersion)
	h := logHeader{commit: d.Uvarint(), term: d.Uvarint(), typ: pb.EntryType(d.Byte())}
	if d.Err() != nil || h.typ > pb.EntryConfChangeV2 {
		return logHeader{}, nil, corrupt(key, "log value: %s", codec.ErrMalformed)
	}
	if len(d.B) == 0 {
		return h, nil, nil
	}
	return h, d.B, nil
}

// hardRecord is what a replica must not forget although it is not replicated.
type hardRecord struct {
	replica shard.ReplicaID
	hard    HardState
	// base is the last entry before the replica's own log: where it was created or last restored from a snapshot. The
	// local log may begin later than the replicated state says (shard.Applied.TruncIndex), and raft needs the term there.
	base position
}

// position names a log entry.
type position struct{ index, term uint64 }

const hardVersion = 1

func (r hardRecord) encode(key []byte) []byte {
	b := append(make([]byte, 0, 32), hardVersion)
	for _, v := range [...]uint64{uint64(r.replica), r.hard.Term, r.hard.Vote, r.hard.Commit, r.base.index, r.base.term} {
		b = codec.AppendUvarint(b, v)
	}
	return seal(key, b)
}

func decodeHard(key, value []byte) (hardRecord, error) {
	v, err := unseal(key, value)
	if err != nil {
		return hardRecord{}, err
	}
	d := codec.Decoder{B: v}
	d.Version(hardVersion)
	r := hardRecord{
		replica: shard.ReplicaID(d.Uvarint()),
		hard:    HardState{Term: d.Uvarint(), Vote: d.Uvarint(), Commit: d.Uvarint()},
		base:    position{index: d.Uvarint(), term: d.Uvarint()},
	}
	if err := d.Done(); err != nil {
		return hardRecord{}, corrupt(key, "hard state: %s", err)
	}
	return r, nil
}

func encodeApplied(key []byte, a shard.Applied) []byte {
	return seal(key, a.Append(make([]byte, 0, 48)))
}

func decodeApplied(key, value []byte) (shard.Applied, error) {
	v, err := unseal(key, value)
	if err != nil {
		return shard.Applied{}, err
	}
	a, err := shard.DecodeApplied(v)
	if err != nil {
		return shard.Applied{}, corrupt(key, "%s", err)
	}
	return a, nil
}

func encodeDescriptor(key []byte, d *shard.Descriptor) []byte {
	return seal(key, d.Append(make([]byte, 0, 128)))
}

func decodeDescriptor(key, value []byte) (*shard.Descriptor, error) {
	v, err := unseal(key, value)
	if err != nil {
		return nil, err
	}
	d, err := shard.DecodeDescriptor(v)
	if err != nil {
		return nil, corrupt(key, "%s", err)
	}
	return d, nil
}

const tombstoneVersion = 1

func encodeTombstone(key []byte, next shard.ReplicaID) []byte {
	return seal(key, codec.AppendUvarint([]byte{tombstoneVersion}, uint64(next)))
}

func decodeTombstone(key, value []byte) (shard.ReplicaID, error) {
	v, err := unseal(key, value)
	if err != nil {
		return 0, err
	}
	d := codec.Decoder{B: v}
	d.Version(tombstoneVersion)
	next := shard.ReplicaID(d.Uvarint())
	if err := d.Done(); err != nil {
		return 0, corrupt(key, "tombstone: %s", err)
	}
	return next, nil
}

const marksVersion = 1

// encodeMarks writes the ranges of a shard that are still to be destroyed. There is more than one only if a replica is
// destroyed while the data of an earlier one of the same shard is not yet gone.
func encodeMarks(key []byte, ranges []shard.Range) []byte {
	b := codec.AppendUvarint([]byte{marksVersion}, uint64(len(ranges)))
	for _, r := range ranges {
		b = codec.AppendBytes(b, r.Start)
		b = codec.AppendBytes(b, r.End)
	}
	return seal(key, b)
}

func decodeMarks(key, value []byte) ([]shard.Range, error) {
	v, err := unseal(key, value)
	if err != nil {
		return nil, err
	}
	d := codec.Decoder{B: v}
	d.Version(marksVersion)
	out := make([]shard.Range, d.Count(2))
	for i := range out {
		out[i] = shard.Range{Start: shard.Key(d.Bytes()).Clone(), End: shard.Key(d.Bytes()).Clone()}
	}
	if err := d.Done(); err != nil {
		return nil, corrupt(key, "destroying mark: %s", err)
	}
	return out, nil
}

const recordVersion = 1

func encodeRecord(key, v []byte) []byte {
	b := append(make([]byte, 0, 1+len(v)+crcLen), recordVersion)
	return seal(key, append(b, v...))
}

func decodeRecord(key, value []byte) ([]byte, error) {
	v, err := unseal(key, value)
	if err != nil {
		return nil, err
	}
	if v[0] != recordVersion {
		return nil, corrupt(key, "record of version %d", v[0])
	}
	return v[1:], nil
}
