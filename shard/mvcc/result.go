package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Result is what became of a command. Fields that the command does not name are zero.
type Result struct {
	// Rejected holds what stands against it, by key in the command's order. If there is any, nothing was done.
	Rejected []*Rejected
	// CommitTS: Commit; of a Prewrite in one phase or an Add, when it committed; of a TwoPhase or Async Prewrite not zero
	// only if the transaction is committed already; CheckStatus and CheckSecondaries with StatusCommitted.
	CommitTS Timestamp
	// Async: a Prewrite's locks are all those of an async commit; MinCommitTS is the largest of their least commit
	// timestamps. If a Prewrite in that mode is answered without it, the transaction commits in two phases.
	Async       bool
	MinCommitTS Timestamp
	Status      Status // CheckStatus, CheckSecondaries
	Expired     bool   // CheckStatus: the life of an async commit's lock is over; recover it by CheckSecondaries
	// Locks: of CheckStatus and Heartbeat the primary's, of CheckSecondaries those that were found.
	Locks []LockInfo
	Rows  []Row     // PessimisticLock with Values
	Next  shard.Key // Resolve, GC: where the rest of the range begins; nil if it is done
	Count int       // Resolve, PessimisticRollback: locks finished; GC: records collected
}

const resultVersion = 1

const (
	resultAsync byte = 1 << iota
	resultExpired
	resultFlags = resultAsync | resultExpired
)

// Append appends the encoding of r: call.Reply.Body of a transaction command.
func (r *Result) Append(b []byte) []byte {
	b = append(b, resultVersion, flag(r.Async, resultAsync)|flag(r.Expired, resultExpired), byte(r.Status))
	b = codec.AppendUvarint(b, uint64(len(r.Rejected)))
	for _, e := range r.Rejected {
		b = appendRejected(b, e)
	}
	b = codec.AppendUvarint(codec.AppendUvarint(b, uint64(r.CommitTS)), uint64(r.MinCommitTS))
	b = appendRows(appendLocks(b, r.Locks), r.Rows)
	return codec.AppendUvarint(codec.AppendBytes(b, r.Next), uint64(r.Count))
}

// DecodeResult reads what Append wrote; keys and values alias b.
func DecodeResult(b []byte) (*Result, error) {
	d := codec.Decoder{B: b}
	d.Version(resultVersion)
	flags := d.Byte()
	r := &Result{Async: flags&resultAsync != 0, Expired: flags&resultExpired != 0, Status: Status(d.Byte())}
	ok := flags&^resultFlags == 0 && r.Status <= StatusRolledBack
	for range d.Count(1) {
		e, good := readRejected(&d)
		ok = ok && good && e != nil
		r.Rejected = append(r.Rejected, e)
	}
	r.CommitTS, r.MinCommitTS = Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	var good bool
	r.Locks, good = readLocks(&d)
	ok = ok && good
	r.Rows, good = readRows(&d, nil)
	ok = ok && good
	r.Next = d.Bytes()
	n := d.Uvarint()
	r.Count = int(min(n, 1<<30))
	if d.Done() != nil || !ok || n > 1<<30 {
		return nil, fmt.Errorf("result of a transaction command: %w", codec.ErrMalformed)
	}
	return r, nil
}

// Row is a key and its value.
type Row struct {
	Key      shard.Key // nil in answers that are in the order of the asked keys
	Found    bool
	Value    []byte
	CommitTS Timestamp // of the version, in answers to queries
}

func appendRows(b []byte, rows []Row) []byte {
	b = codec.AppendUvarint(b, uint64(len(rows)))
	for i := range rows {
		r := &rows[i]
		b = codec.AppendBytes(codec.AppendBool(b, r.Found), r.Key)
		b = codec.AppendUvarint(codec.AppendBytes(b, r.Value), uint64(r.CommitTS))
	}
	return b
}

// minRowBytes is the shortest encoding of a Row.
const minRowBytes = 4

// readRows appends to rows, which is empty.
func readRows(d *codec.Decoder, rows []Row) ([]Row, bool) {
	n := d.Count(minRowBytes)
	if n > cap(rows) {
		rows = make([]Row, 0, min(n, MaxPageRows)) // a Row is larger than its smallest encoding
	}
	for range n {
		rows = append(rows, Row{Found: d.Bool(), Key: d.Bytes(), Value: d.Bytes(), CommitTS: Timestamp(d.Uvarint())})
	}
	return rows, n <= MaxPageRows
}
