package placement

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// The records of shard 1. Names are part of the disk format.
const (
	recordCluster   = "cluster"   // the cluster's id; put once
	recordIDs       = "ids"       // ids below it may be in use
	recordTSO       = "tso"       // timestamps below it may be in use
	recordBootstrap = "bootstrap" // the first shards; put once
	recordCreated   = "created"   // present once every replica of them was created
	prefixMember    = "member/"   // + id: a member that takes part or has, and so may not begin again
	recordRules     = "rules"     // what administrators want of placement, as JSON; absent: the defaults
	recordPause     = "pause"     // until when nothing is scheduled, in milliseconds of placement's wall clock
	recordGC        = "gc"        // how the safe points move by themselves; absent: the default
	recordSettings  = "settings"  // what administrators set for the whole cluster; absent: nothing
	recordSafe      = "safe"      // the safe point of transactions, and up to where versions are collected
	// recordClusterVersion is what all programs of the cluster must understand; absent: the first version. It only grows.
	recordClusterVersion = "version"

	prefixStore = "store/" // + id, big endian
	prefixShard = "shard/" // + id: the last known descriptor, a hint
)

func recordKey(name string) shard.Key { return shard.MakeKey(shard.ModeMeta, []byte(name)) }

func idKey(prefix string, id uint64) shard.Key {
	return binary.BigEndian.AppendUint64(recordKey(prefix), id)
}

func putOp(k shard.Key, v []byte) raw.Op { return raw.Op{Kind: raw.Put, Key: k, Value: v} }

// unchanged guards a record: it holds old, or nothing if old is nil.
func unchanged(k shard.Key, old []byte) raw.Condition {
	if old == nil {
		return raw.Condition{Key: k}
	}
	return raw.Condition{Key: k, Exists: true, HasValue: true, Value: old}
}

const recordVersion = 1

func encodeNumber(n uint64) []byte { return codec.AppendUvarint([]byte{recordVersion}, n) }

func decodeNumber(b []byte) (uint64, error) {
	if b == nil {
		return 0, nil
	}
	d := codec.Decoder{B: b}
	d.Version(recordVersion)
	n := d.Uvarint()
	return n, d.Done()
}

// storeRecord is what must survive of a store.
type storeRecord struct {
	id      shard.StoreID
	addr    string
	removed bool
	// draining: an administrator wants it empty.
	draining bool
	// evicting: an administrator wants it to lead nothing.
	evicting bool
	labels   []beat.Label // by key, each once
	// token is what the store's directory drew before it registered; 0: it registered without one.
	token uint64
}

// Version 1 of a store's record ends before draining, version 2 before evicting.
//
// INVARIANT: version 3 is written only of a store that is evicting, which the version of the cluster must allow: members that
// run an older program do not read it.
const storeRecordVersion = 3

// Bounds of labels.
const (
	maxLabels     = 32
	maxLabelBytes = 128 // of a key, and of a value
)

func (r storeRecord) encode() []byte {
	v := byte(storeRecordVersion)
	if !r.evicting {
		v--
	}
	b := codec.AppendUvarint([]byte{v}, uint64(r.id))
	b = codec.AppendString(b, r.addr)
	b = codec.AppendBool(b, r.removed)
	b = codec.AppendBool(b, r.draining)
	b = codec.AppendUvarint(b, uint64(len(r.labels)))
	for _, l := range r.labels {
		b = codec.AppendString(codec.AppendString(b, l.Key), l.Value)
	}
	b = codec.AppendUvarint(b, r.token)
	if r.evicting {
		b = codec.AppendBool(b, true)
	}
	return b
}

func decodeStore(b []byte) (storeRecord, error) {
	d := codec.Decoder{B: b}
	version := d.Version(storeRecordVersion)
	r := storeRecord{id: shard.StoreID(d.Uvarint()), addr: d.String(), removed: d.Bool()}
	if version > 1 {
		r.draining = d.Bool()
		for range d.Count(2) {
			r.labels = append(r.labels, beat.Label{Key: d.String(), Value: d.String()})
		}
		r.token = d.Uvarint()
	}
	if version > 2 {
		r.evicting = d.Bool()
	}
	return r, d.Done()
}

func encodeShards(ds []*shard.Descriptor) []byte {
	b := codec.AppendUvarint([]byte{recordVersion}, uint64(len(ds)))
	for _, d := range ds {
		b = codec.AppendBytes(b, d.Append(nil))
	}
	return b
}

func decodeShards(b []byte) ([]*shard.Descriptor, error) {
	d := codec.Decoder{B: b}
	d.Version(recordVersion)
	n := d.Count(1)
	out := make([]*shard.Descriptor, 0, n)
	for range n {
		desc, err := shard.DecodeDescriptor(d.Bytes())
		if err != nil {
			return nil, err
		}
		out = append(out, desc)
	}
	return out, d.Done()
}

// get reads one record; nil if there is none.
func (s *Server) get(ctx context.Context, name string) ([]byte, error) {
	a, err := s.meta.Read(ctx, &raw.Query{Kind: raw.Get, Keys: []shard.Key{recordKey(name)}})
	if err != nil {
		return nil, fmt.Errorf("read record %s: %w", name, err)
	}
	if len(a.Rows) == 0 || !a.Rows[0].Found {
		return nil, nil
	}
	return append([]byte{}, a.Rows[0].Value...), nil
}

// scan reads all records below a prefix.
func (s *Server) scan(ctx context.Context, prefix string, f func(v []byte) error) error {
	return s.scanKeys(ctx, prefix, func(_ uint64, v []byte) error { return f(v) })
}

// scanKeys is scan for records that do not say their id themselves.
func (s *Server) scanKeys(ctx context.Context, prefix string, f func(id uint64, v []byte) error) error {
	start := recordKey(prefix)
	end := append(start.Clone()[:len(start)-1], start[len(start)-1]+1)
	rng := shard.Range{Start: start, End: end}
	for {
		a, err := s.meta.Read(ctx, &raw.Query{Kind: raw.Scan, Range: rng})
		if err != nil {
			return fmt.Errorf("read records %s*: %w", prefix, err)
		}
		for _, r := range a.Rows {
			if len(r.Key) != len(start)+8 {
				return fmt.Errorf("record %s: its key does not end with an id", r.Key)
			}
			if err := f(binary.BigEndian.Uint64(r.Key[len(start):]), r.Value); err != nil {
				return fmt.Errorf("record %s: %w", r.Key, err)
			}
		}
		if !a.More {
			return nil
		}
		rng.Start = a.Next
	}
}

// ClusterOf reads the cluster's id from a replica of shard 1, 0 if it does not hold it yet. Every member applies the
// log of shard 1, so each learns the id without asking.
func ClusterOf(get func(shard.Key) ([]byte, bool, error)) (shard.ClusterID, error) {
	n, err := numberOf(get, recordCluster)
	return shard.ClusterID(n), err
}

// numberOf reads a record that is a number, 0 if there is none.
func numberOf(get func(shard.Key) ([]byte, bool, error), name string) (uint64, error) {
	b, ok, err := get(recordKey(name))
	if err != nil || !ok {
		return 0, err
	}
	v, err := raw.DecodeValue(b)
	if err != nil {
		return 0, err
	}
	return decodeNumber(v.User)
}
