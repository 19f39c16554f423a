package placement

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// memberRecord is what must survive of a placement member. Its number is its store's and its replica's id; it lives once,
// and the record stays when the member is gone.
type memberRecord struct {
	id shard.StoreID
	// token is what the member's directory drew before it asked; 0: it is one of the first, and began without asking.
	token uint64
	addr  string // where its node listens; empty: as the first members were told
	// removed: it is to go, or has gone, and never comes back.
	removed bool
}

// Version 1 of a member's record is a one and says only that the member took part; version 2 ends after the token.
const memberRecordVersion = 3

func (r memberRecord) encode() []byte {
	b := codec.AppendUvarint([]byte{memberRecordVersion}, uint64(r.id))
	b = codec.AppendUvarint(b, r.token)
	return codec.AppendBool(codec.AppendString(b, r.addr), r.removed)
}

func decodeMember(id shard.StoreID, b []byte) (memberRecord, error) {
	d := codec.Decoder{B: b}
	version := d.Version(memberRecordVersion)
	n := d.Uvarint()
	r := memberRecord{id: id}
	if version > 1 {
		r.token = d.Uvarint()
		if shard.StoreID(n) != id && d.Err() == nil {
			return r, fmt.Errorf("it is of member %d", n)
		}
	}
	if version > 2 {
		r.addr, r.removed = d.String(), d.Bool()
	}
	return r, d.Done()
}

// MemberAddr reads where a member listens from a replica of shard 1, "" if that holds nothing about it. Every member
// applies the log of shard 1, so each knows the others without asking.
func MemberAddr(get func(shard.Key) ([]byte, bool, error), id shard.StoreID) (string, error) {
	b, ok, err := get(idKey(prefixMember, uint64(id)))
	if err != nil || !ok {
		return "", err
	}
	v, err := raw.DecodeValue(b)
	if err != nil {
		return "", err
	}
	r, err := decodeMember(id, v.User)
	return r.addr, err
}

// roster is what a leader knows of members' records. Safe for concurrent use; mu is a leaf.
type roster struct {
	mu      sync.Mutex
	entries map[shard.StoreID]memberEntry
	// step is what the leader last did, or what it waits for, towards the members that there shall be; why is what it waits
	// for in that.
	step, why string
}

// memberEntry is a record with its bytes as they stand, which guard the next write.
type memberEntry struct {
	memberRecord
	bytes []byte
}

func (r *roster) get(id shard.StoreID) (memberEntry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.entries[id]
	return e, ok
}

func (r *roster) put(m memberRecord, bytes []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entries == nil {
		r.entries = make(map[shard.StoreID]memberEntry)
	}
	r.entries[m.id] = memberEntry{m, bytes}
}

// all are the records by number.
func (r *roster) all() []memberRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []memberRecord
	for _, id := range slices.Sorted(maps.Keys(r.entries)) {
		out = append(out, r.entries[id].memberRecord)
	}
	return out
}

// withToken finds the member whose directory drew a token.
func (r *roster) withToken(token uint64) (memberRecord, bool) {
	for _, m := range r.all() {
		if token != 0 && m.token == token {
			return m, true
		}
	}
	return memberRecord{}, false
}

func (r *roster) setStep(step, why string) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.step != step
	r.step, r.why = step, why
	return changed
}

func (r *roster) lastStep() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.step + r.why
}
