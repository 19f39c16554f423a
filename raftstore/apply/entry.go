package apply

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// formatVersion is the version of the bytes of an entry. The meaning of what they hold is the evaluation version's.
const formatVersion = 1

// EvalVersion is the newest evaluation version whose rules stand here.
//
// INVARIANT: what a given version accepts, does and answers never changes, not even for bytes that it refuses (a body
// of an unknown kind stays refused under version 1, whatever later programs know); whoever changes an evaluation
// raises it, and proposers use the new one once the replicated cluster version allows it. So two programs of different
// age evaluate one entry alike, or the older one stops.
//
//	1  raw commands
//	2  also commands of transactions
//	3  also comparisons of replicas
//
// Which of them may be proposed is said by the version of the cluster (version.Number.Eval).
const EvalVersion = 3

// evalTxn is the evaluation version from which on bodies of transactions are commands.
const evalTxn = 2

// evalCompare is the evaluation version from which on there are entries that compare replicas.
const evalCompare = 3

// Kind is what an entry holds.
type Kind uint8

// The kinds. They are part of the log format.
const (
	KindData     Kind = 1 // commands of clients
	KindClock    Kind = 2 // moves the shard time only
	KindTruncate Kind = 3 // the log may be cut
	KindSplit    Kind = 4
	KindChange   Kind = 5 // one step of membership
	KindCompare  Kind = 6 // every replica sums up what it holds
)

func (k Kind) String() string {
	switch k {
	case KindData:
		return "data"
	case KindClock:
		return "clock"
	case KindTruncate:
		return "truncate"
	case KindSplit:
		return "split"
	case KindChange:
		return "change"
	case KindCompare:
		return "compare"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Header is what the proposer decides for a whole entry.
type Header struct {
	// Eval is the evaluation version: the newest that the cluster's version allows.
	Eval uint64
	// Epoch is the descriptor's by which the proposer checked the commands. Data uses its Version, a change its ConfVer, a
	// split both; the other kinds none.
	Epoch shard.Epoch
	// Stamp is placement's time as the proposer knows it, zero if it knows none that is fresh. Data and clock use it.
	Stamp shard.Millis
}

func (h Header) begin(b []byte, k Kind) []byte {
	b = append(b, formatVersion)
	b = codec.AppendUvarint(b, h.Eval)
	return append(b, byte(k))
}

// Builder gathers commands of one shard into one entry. The zero value is not usable.
type Builder struct {
	buf []byte
	n   int
}

// NewData begins a data entry in b, whose content is overwritten. The Builder owns b, and after Entry the log does:
// raft keeps an entry's bytes, so b is not used again.
func NewData(b []byte, h Header) Builder {
	b = h.begin(b[:0], KindData)
	b = codec.AppendUvarint(b, h.Epoch.Version)
	return Builder{buf: codec.AppendUvarint(b, uint64(h.Stamp))}
}

// Add appends one command. It copies body, and returns the copy, in which the proposer may fill in what is its own
// until the next Add.
func (b *Builder) Add(op call.OpID, body []byte) []byte {
	b.buf = op.Append(b.buf)
	b.buf = codec.AppendBytes(b.buf, body)
	b.n++
	return b.buf[len(b.buf)-len(body):]
}

// Len counts the commands added.
func (b *Builder) Len() int { return b.n }

// Bytes is the size of the entry so far.
func (b *Builder) Bytes() int { return len(b.buf) }

// Entry returns the entry. Nothing is added after it.
func (b *Builder) Entry() []byte { return b.buf }

// EncodeClock makes an entry that moves the shard time to h.Stamp.
func EncodeClock(h Header) []byte {
	return codec.AppendUvarint(h.begin(nil, KindClock), uint64(h.Stamp))
}

// EncodeTruncate makes an entry after which the log no longer needs its entries up to index, whose term is term.
func EncodeTruncate(h Header, index, term uint64) []byte {
	b := codec.AppendUvarint(h.begin(nil, KindTruncate), index)
	return codec.AppendUvarint(b, term)
}

// EncodeSplit makes an entry that splits the shard at the keys, giving the new shards the ids in the same order; see
// shard.Descriptor.Split. It takes as many ids as keys.
func EncodeSplit(h Header, at []shard.Key, ids []shard.SplitID) []byte {
	b := h.begin(nil, KindSplit)
	b = codec.AppendUvarint(b, h.Epoch.ConfVer)
	b = codec.AppendUvarint(b, h.Epoch.Version)
	for i, k := range at {
		b = codec.AppendBytes(b, k)
		b = codec.AppendUvarint(b, uint64(ids[i].Shard))
		b = shard.AppendReplicaIDs(b, ids[i].Replicas)
	}
	return b
}

// EncodeChange makes the Context of a ConfChangeV2. The raft change beside it must say the same: the shell makes both
// from c.
func EncodeChange(h Header, c shard.Change) []byte {
	b := codec.AppendUvarint(h.begin(nil, KindChange), h.Epoch.ConfVer)
	return c.Append(b)
}

// EncodeCompare makes an entry after which every replica sums up its data, exactly as they are at the entry's index, and tells
// the sum to replica by on store.
func EncodeCompare(h Header, by shard.ReplicaID, store shard.StoreID) []byte {
	b := codec.AppendUvarint(h.begin(nil, KindCompare), uint64(by))
	return codec.AppendUvarint(b, uint64(store))
}

// readHeader reads what all kinds have in common.
func readHeader(d *codec.Decoder) (k Kind, eval uint64) {
	d.Version(formatVersion)
	eval = d.Uvarint()
	return Kind(d.Byte()), eval
}

// KindOf tells what an entry's data holds; zero for an empty entry and for bytes that are no entry.
func KindOf(data []byte) Kind {
	d := codec.Decoder{B: data}
	if k, _ := readHeader(&d); d.Err() == nil {
		return k
	}
	return 0
}

// DecodeChange reads the change in the Context of a ConfChangeV2.
func DecodeChange(context []byte) (shard.Change, error) {
	d := codec.Decoder{B: context}
	k, _ := readHeader(&d)
	d.Uvarint() // ConfVer
	c := shard.ReadChange(&d)
	if d.Done() != nil || k != KindChange {
		return shard.Change{}, fmt.Errorf("context of a membership entry: %w", codec.ErrMalformed)
	}
	return c, nil
}

// Ops calls f with the id of every command in an entry's data, in order, until f returns false: to find out, without
// evaluating, whether an attempt is in the log. Entries without commands have none.
func Ops(data []byte, f func(call.OpID) bool) {
	Commands(data, func(_ uint64, op call.OpID, _ []byte) bool { return f(op) })
}

// Commands calls f with every command of an entry, in order, until f returns false: the version that the entry was
// proposed for, the attempt's id, and the body.
func Commands(data []byte, f func(version uint64, op call.OpID, body []byte) bool) {
	d := codec.Decoder{B: data}
	if k, _ := readHeader(&d); k != KindData {
		return
	}
	version, _ := readDataHeader(&d)
	for len(d.B) > 0 {
		op, body := readCommand(&d)
		if d.Err() != nil || !f(version, op, body) {
			return
		}
	}
}

func readDataHeader(d *codec.Decoder) (version uint64, stamp shard.Millis) {
	return d.Uvarint(), shard.Millis(d.Uvarint())
}

func readCommand(d *codec.Decoder) (op call.OpID, body []byte) {
	return call.ReadOpID(d), d.Bytes()
}
