package mvcc

import (
	"bytes"
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
)

// recordKind is what is stored at (key, timestamp).
type recordKind uint8

// The kinds. They are part of the disk format.
const (
	recPut      recordKind = 1 // at commit_ts: the key has a value from here on
	recDelete   recordKind = 2 // at commit_ts: it has none from here on
	recLock     recordKind = 3 // at commit_ts: the key was locked by a committed transaction; its value stays
	recRollback recordKind = 4 // at start_ts: the transaction was rolled back here
	recValue    recordKind = 5 // at start_ts: a long value, for the lock or the record that names start_ts
	recAdded    recordKind = 6 // at start_ts: an Add went into the version at start; see Add
)

// record is what is stored at (key, timestamp), taken apart.
type record struct {
	kind recordKind
	// start is the start_ts of the transaction that committed, of recAdded the timestamp of the version that took the
	// operation; zero for the others, which lie at their start_ts.
	start Timestamp
	long  bool   // recPut: the value is at (key, start)
	value []byte // recPut: if it is short; recValue
}

const recordVersion = 1

// recordLong is the only flag of a record.
const recordLong byte = 1

func (r record) append(b []byte) []byte {
	b = append(b, recordVersion, byte(r.kind), flag(r.long, recordLong))
	b = appendTS(b, r.start)
	return append(b, r.value...)
}

// decodeRecord takes a stored record apart; value aliases b. An error means damaged data: the store is broken.
func decodeRecord(b []byte) (record, error) {
	d := codec.Decoder{B: b}
	d.Version(recordVersion)
	r := record{kind: recordKind(d.Byte())}
	flags := d.Byte()
	r.long = flags&recordLong != 0
	r.start = readTS(&d)
	r.value = d.B
	if d.Err() != nil || flags&^recordLong != 0 || r.kind < recPut || r.kind > recAdded {
		return record{}, fmt.Errorf("stored record of %d bytes: %w", len(b), codec.ErrMalformed)
	}
	return r, nil
}

// committed reports whether r was left by a committed transaction, at its commit_ts.
func (r record) committed() bool { return r.kind <= recLock }

// finder looks for the value of one key among its records, which it is shown newest first.
type finder struct {
	found  bool      // there is a value
	commit Timestamp // of the version that decides: the value's, or that of its removal
	value  []byte    // a copy
	want   Timestamp // the long value is at this timestamp, further down
}

// step takes the next older record; more is false when the finder knows all.
func (f *finder) step(ts Timestamp, b []byte) (more bool, err error) {
	r, err := decodeRecord(b)
	if err != nil {
		return false, err
	}
	if f.want != 0 {
		if ts > f.want {
			return true, nil
		}
		if ts < f.want || r.kind != recValue {
			return false, f.missing()
		}
		f.value, f.want = bytes.Clone(r.value), 0
		return false, nil
	}
	switch r.kind {
	case recPut:
		f.found, f.commit = true, ts
		if r.long {
			f.want = r.start
			return true, nil
		}
		f.value = bytes.Clone(r.value)
		return false, nil
	case recDelete:
		f.commit = ts
		return false, nil
	}
	return true, nil
}

// end is called when there are no more records of the key.
func (f *finder) end() error {
	if f.want != 0 {
		return f.missing()
	}
	return nil
}

func (f *finder) missing() error {
	return fmt.Errorf("version at %d has no value at %d: %w", f.commit, f.want, codec.ErrMalformed)
}
