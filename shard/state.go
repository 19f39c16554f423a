package shard

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
)

// Millis is shard time: milliseconds since the Unix epoch as told by placement's clock. It is part of a shard's state,
// moves only by log entries and never back, and serves expiry only.
type Millis uint64

// Applied is how far a replica has applied its log, and the small state that evaluation needs besides the data. It is
// written in the same batch as the effects of the entries that it covers, and travels in snapshots.
type Applied struct {
	Index uint64 // of the last applied entry
	Term  uint64 // of that entry
	// TruncIndex and TruncTerm name the last entry that the replicated log no longer holds.
	// INVARIANT: TruncIndex <= Index.
	TruncIndex uint64
	TruncTerm  uint64
	// Time is the shard time after that entry.
	Time Millis
	// Expiring is the index of the last entry that wrote a key with a TTL, and zero while no key of the shard can have
	// one, so that shards without TTL pay nothing for reclaiming.
	Expiring uint64
	// Locks counts the transaction locks in the shard, exactly, so that reads need not look for them while it is zero.
	Locks uint64
	// SafePoint and Collected are timestamps of transactions, see mvcc.State.
	// INVARIANT: Collected <= SafePoint, and both only grow.
	SafePoint, Collected uint64
}

// Version 1 of the applied state ends after Locks.
const appliedVersion = 2

// Append appends the encoding of a.
func (a Applied) Append(b []byte) []byte {
	b = append(b, appliedVersion)
	for _, v := range [...]uint64{a.Index, a.Term, a.TruncIndex, a.TruncTerm, uint64(a.Time), a.Expiring, a.Locks,
		a.SafePoint, a.Collected} {
		b = codec.AppendUvarint(b, v)
	}
	return b
}

// DecodeApplied reads what Append wrote.
func DecodeApplied(b []byte) (Applied, error) {
	d := codec.Decoder{B: b}
	version := d.Version(appliedVersion)
	a := Applied{Index: d.Uvarint(), Term: d.Uvarint(), TruncIndex: d.Uvarint(), TruncTerm: d.Uvarint(),
		Time: Millis(d.Uvarint()), Expiring: d.Uvarint(), Locks: d.Uvarint()}
	if version > 1 {
		a.SafePoint, a.Collected = d.Uvarint(), d.Uvarint()
	}
	if err := d.Done(); err != nil {
		return Applied{}, fmt.Errorf("applied state: %w", err)
	}
	return a, nil
}

const descriptorVersion = 1

// Append appends the encoding of d.
func (d *Descriptor) Append(b []byte) []byte {
	b = append(b, descriptorVersion)
	b = codec.AppendUvarint(b, uint64(d.ID))
	b = codec.AppendBytes(b, d.Range.Start)
	b = codec.AppendBytes(b, d.Range.End)
	b = codec.AppendUvarint(b, d.Epoch.ConfVer)
	b = codec.AppendUvarint(b, d.Epoch.Version)
	b = codec.AppendUvarint(b, uint64(len(d.Replicas)))
	for _, r := range d.Replicas {
		b = codec.AppendUvarint(b, uint64(r.ID))
		b = codec.AppendUvarint(b, uint64(r.Store))
		b = append(b, byte(r.Role))
	}
	return b
}

// ReadDescriptor reads what Append wrote from the front of d, copying what it keeps. The caller checks d.Err.
func ReadDescriptor(d *codec.Decoder) *Descriptor {
	d.Version(descriptorVersion)
	out := &Descriptor{ID: ID(d.Uvarint())}
	out.Range.Start = Key(d.Bytes()).Clone()
	out.Range.End = Key(d.Bytes()).Clone()
	out.Epoch = Epoch{ConfVer: d.Uvarint(), Version: d.Uvarint()}
	n := d.Count(3)
	for range n {
		out.Replicas = append(out.Replicas,
			Replica{ID: ReplicaID(d.Uvarint()), Store: StoreID(d.Uvarint()), Role: Role(d.Byte())})
	}
	return out
}

// DecodeDescriptor reads one descriptor and nothing after it.
func DecodeDescriptor(b []byte) (*Descriptor, error) {
	d := codec.Decoder{B: b}
	out := ReadDescriptor(&d)
	if err := d.Done(); err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	return out, nil
}
