package mvcc

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// QueryKind is what a Query asks for.
type QueryKind uint8

// The kinds. They are part of the wire format.
const (
	Get       QueryKind = 1 // the values of Keys at TS
	Scan      QueryKind = 2 // one page of Range at TS
	ScanLocks QueryKind = 3 // one page of the locks of Range with a start_ts up to TS
	// Resolved asks up to when the shard's part of Range is decided: nothing will be committed there any more at or below
	// Answer.Resolved, which is at most TS (rule T6 of the design).
	Resolved QueryKind = 4
	// Checksum asks for one over the shard's part of Range, versions and locks. TS says nothing to it.
	Checksum QueryKind = 5
	// Changes asks for what was committed in Range after a position, in the order of commits, up to Answer.Resolved, which
	// is as of a Resolved: see changes.go.
	Changes QueryKind = 6
)

// Query is a read of one shard's part at a timestamp. A zero Limit or MaxBytes is the maximum.
//
// Who serves it has raised the shard's largest read timestamp to TS before it opened the Reader, and has waited for the
// proposed commands whose floor is not above TS (rule T2 of the design); without that a commit could still appear at or
// below TS after the answer.
type Query struct {
	Kind QueryKind
	TS   Timestamp
	// OwnTS is the start_ts of the transaction that reads, or zero: its own locks do not stop it. Its own writes it keeps
	// itself.
	OwnTS Timestamp
	// Bypass names transactions, in ascending order, whose locks do not stop this read: those that are rolled back, and
	// those that were pushed above TS. See CheckStatus.
	Bypass   []Timestamp
	Keys     []shard.Key // Get, in any order
	Range    shard.Range // all but Get
	Reverse  bool        // Scan: from the end down
	KeysOnly bool        // no values
	Limit    int         // Scan, ScanLocks: rows of the page; Changes: changes
	MaxBytes int         // Get, Scan, Changes: keys and values of the page; it holds one row more if that is its first

	// Of a Changes alone. After and AfterKey are the position that it goes on from: all that was committed up to After is
	// known, or, if AfterKey is not nil, all below After, and at After all keys up to AfterKey.
	After    Timestamp
	AfterKey shard.Key
	// Previous asks for what was there before each change as well.
	Previous bool
	// WaitMillis is how long a Changes that finds nothing may wait for a change; the answer is what it was at its TS.
	WaitMillis uint32
}

// Answer is what a Query found in one shard.
type Answer struct {
	// Rejected is a read below the safe point; the rest is empty then.
	Rejected *Rejected
	// Rows are, of a Get, of its first keys, in their order; of Changes in the order of commits, not Found of removals, and
	// with Previous each is followed by a row without a key: what was there before.
	Rows []Row
	// Locks: of a Get, on its keys, and there are no rows then; of a Scan, the one before which the page ends; of a
	// ScanLocks, what it found; of Changes the one that holds Resolved back, if it does. Those of a Get and a Scan must be
	// resolved, or bypassed, before the read goes on.
	Locks []LockInfo
	// More says that the query is not exhausted, by the page's bounds, a lock, or because its range goes on beyond the
	// shard. Next is where the rest begins: a key of a Get, the start of the next page's range, or in reverse its end.
	More  bool
	Next  shard.Key
	Range shard.Range // of all but a Get: the part of the query's range that this page covers
	// Resolved answers a Resolved, and Changes: the smallest of the query's TS and of what lies just below a lock's start_ts. Locks that
	// are only pessimistic do not hold it back: their prewrite comes later, and commits above.
	Resolved Timestamp
	Sum      Sum // of a Checksum
}

// Sum is a checksum of versions and locks that does not depend on their order, so the sums of disjoint parts add up.
type Sum struct {
	Hash     uint64 // the sum modulo 2^64 of every item's xxhash64 over what it is, its key, its timestamp and its value
	Versions uint64
	Locks    uint64
}

// Add returns the checksum of both parts together.
func (s Sum) Add(o Sum) Sum {
	return Sum{Hash: s.Hash + o.Hash, Versions: s.Versions + o.Versions, Locks: s.Locks + o.Locks}
}

// Check holds the query against the limits. An error is a *shard.InvalidError that says what to change.
func (q *Query) Check() error {
	if q.Limit < 0 || q.MaxBytes < 0 {
		return invalidf("limits of a page are %d rows and %d bytes; give none, or positive ones", q.Limit, q.MaxBytes)
	}
	if q.TS == 0 || q.TS > MaxTimestamp>>1 {
		return invalidf("read at timestamp %d, which was not issued", q.TS)
	}
	if len(q.Bypass) > MaxKeys || !slices.IsSorted(q.Bypass) {
		return invalidf("%d transactions to bypass; sort them, and give at most %d", len(q.Bypass), MaxKeys)
	}
	switch q.Kind {
	case Get:
		for _, k := range q.Keys {
			if err := keyValid(k); err != nil {
				return err
			}
		}
		return checkKeys(q.Keys)
	case Scan:
		return checkRange(q.Range)
	case Changes:
		return q.checkChanges()
	case ScanLocks, Resolved, Checksum:
		if q.Reverse {
			return invalidf("only keys are scanned in reverse; leave Reverse out")
		}
		return checkRange(q.Range)
	}
	return invalidf("unknown query %d", q.Kind)
}

// CheckIn returns a *shard.KeyNotInShardError if the query does not begin in d: a key of a Get lies outside, or the
// first key that a scan would read. A scan may go on beyond the shard; its answer says how far it came.
func (q *Query) CheckIn(d *shard.Descriptor) error { return q.checkIn(d.ID, d.Range) }

func (q *Query) checkIn(id shard.ID, in shard.Range) error {
	outside := func(k shard.Key) error { return &shard.KeyNotInShardError{Shard: id, Key: k.Clone(), Range: in} }
	if q.Kind == Get {
		for _, k := range q.Keys {
			if !in.Contains(k) {
				return outside(k)
			}
		}
		return nil
	}
	if !q.Reverse && !in.Contains(q.Range.Start) {
		return outside(q.Range.Start)
	}
	if q.Reverse && (in.CompareEnd(q.Range.End) < 0 || len(q.Range.End) != 0 && q.Range.End.Compare(in.Start) <= 0) {
		return outside(q.Range.End)
	}
	return nil
}

// Run reads q's part of a shard whose range is in, from a view whose replicated state is st. The answer copies what it
// keeps of r and aliases q and in. An error is a *shard.KeyNotInShardError, or else the store is broken.
//
// INVARIANT: an answer without a lock of its keys is final: at no later index does the same query answer otherwise, as
// long as the caller keeps rule T2 and the safe point stays at or below TS.
func (q *Query) Run(r Reader, in shard.Range, st State) (Answer, error) {
	if q.Kind == Changes {
		a, _, err := q.ChangesFrom(r, in, st, nil)
		return a, err
	}
	if err := q.checkIn(0, in); err != nil {
		return Answer{}, err
	}
	p := page{q: q, r: r, st: st, maxRows: bound(q.Limit, MaxPageRows), maxBytes: bound(q.MaxBytes, MaxPageBytes)}
	var err error
	switch {
	case q.Kind == ScanLocks:
		err = p.locks(q.Range.Intersect(in))
	case q.Kind == Resolved:
		err = p.resolved(q.Range.Intersect(in))
	case q.Kind == Checksum:
		err = p.checksum(q.Range.Intersect(in))
	case q.TS < st.SafePoint && !bug.ReadBelowSafePoint.On():
		return Answer{Rejected: &Rejected{Reason: TooOld, Key: q.first(), StartTS: q.TS, CommitTS: st.SafePoint}}, nil
	case q.Kind == Get:
		err = p.get()
	default:
		err = p.scan(q.Range.Intersect(in))
	}
	if err != nil {
		return Answer{}, err
	}
	return p.a, nil
}

func (q *Query) first() shard.Key {
	if len(q.Keys) > 0 {
		return q.Keys[0]
	}
	return q.Range.Start
}

func bound(asked, largest int) int {
	if asked == 0 || asked > largest {
		return largest
	}
	return asked
}

// stops reports whether l must be resolved before q can read its key.
func (q *Query) stops(l *Lock) bool {
	if l.StartTS == q.OwnTS || !l.hides(q.TS) {
		return false
	}
	_, bypass := slices.BinarySearch(q.Bypass, l.StartTS)
	return !bypass && !bug.ReaderPassesLock.On()
}

// page is an answer being built.
type page struct {
	q                 *Query
	r                 Reader
	st                State
	maxRows, maxBytes int

	a     Answer
	bytes int
}

func (p *page) get() error {
	if p.st.Locks > 0 {
		for _, k := range p.q.Keys {
			if err := p.lockOf(k); err != nil {
				return err
			}
		}
		if len(p.a.Locks) > 0 {
			return nil
		}
	}
	p.a.Rows = make([]Row, 0, len(p.q.Keys))
	for _, k := range p.q.Keys {
		v, err := value(p.r, k, p.q.TS)
		if err != nil {
			return err
		}
		if !p.add(Row{Found: v.found, Value: v.value, CommitTS: v.commit}) {
			p.a.More, p.a.Next = true, k
			return nil
		}
	}
	return nil
}

// lockOf adds the lock of k to the answer if it stops the read.
func (p *page) lockOf(k shard.Key) error {
	b, ok, err := p.r.Lock(k)
	if err != nil || !ok {
		return err
	}
	l, err := DecodeLock(b)
	if err != nil {
		return fmt.Errorf("lock of %s: %w", short(k), err)
	}
	if p.q.stops(l) {
		p.a.Locks = append(p.a.Locks, l.info(k))
	}
	return nil
}

// add puts a row into the page. It reports false, and leaves it out, if the page is full; a first row always fits.
func (p *page) add(row Row) bool {
	n := len(row.Key) + len(row.Value)
	if len(p.a.Rows) > 0 && (p.bytes+n > p.maxBytes || p.q.Kind == Scan && len(p.a.Rows) >= p.maxRows) {
		return false
	}
	p.bytes += n
	if p.q.KeysOnly {
		row.Value = nil
	}
	p.a.Rows = append(p.a.Rows, row)
	return true
}

func (p *page) scan(part shard.Range) error {
	p.a.Range = part
	if err := p.stopAtLock(); err != nil {
		return err
	}
	if err := p.rows(p.a.Range); err != nil {
		return err
	}
	p.goOn()
	return nil
}

// stopAtLock ends the page before the first lock in its way.
func (p *page) stopAtLock() error {
	if p.st.Locks == 0 {
		return nil
	}
	var bad error
	err := p.r.Locks(p.a.Range, p.q.Reverse, func(k shard.Key, b []byte) bool {
		l, err := DecodeLock(b)
		if err != nil {
			bad = fmt.Errorf("lock of %s: %w", short(k), err)
			return false
		}
		if !p.q.stops(l) {
			return true
		}
		p.a.Locks = []LockInfo{l.info(k)}
		p.cutAt(k)
		return false
	})
	if bad != nil {
		return bad
	}
	return err
}

// rows adds the rows of part.
func (p *page) rows(part shard.Range) error {
	if part.Empty() {
		return nil
	}
	var (
		key  shard.Key // whose records f looks at; nil between keys
		f    finder
		bad  error
		full bool
	)
	// take ends a key: it has a row, or none.
	take := func() bool {
		if bad = f.end(); bad != nil {
			return false
		}
		if key != nil && f.found && !p.add(Row{Key: key, Found: true, Value: f.value, CommitTS: f.commit}) {
			full = true
			p.a.Locks = nil // it lies beyond
			p.cutAt(key)
			return false
		}
		key, f = nil, finder{}
		return true
	}
	err := p.r.Scan(part, p.q.Reverse, p.q.TS, func(k shard.Key, ts Timestamp, b []byte) Step {
		if key == nil || key.Compare(k) != 0 {
			if !take() {
				return Stop
			}
			key = k.Clone()
		}
		more, err := f.step(ts, b)
		if bad = err; bad != nil {
			return Stop
		}
		if more {
			return NextVersion
		}
		if !take() {
			return Stop
		}
		return NextKey
	})
	if err == nil && bad == nil && !full {
		take()
	}
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("scan %s: %w", part, err)
	}
	return nil
}

// cutAt ends the page before the key k.
func (p *page) cutAt(k shard.Key) {
	p.a.More = true
	if p.q.Reverse {
		p.a.Next = k.Next()
		p.a.Range.Start = p.a.Next
		return
	}
	p.a.Next = k.Clone()
	p.a.Range.End = p.a.Next
}

// goOn sends a query whose range goes on beyond the shard to the neighbour.
func (p *page) goOn() {
	switch {
	case p.a.More:
	case p.q.Reverse && p.q.Range.Start.Compare(p.a.Range.Start) < 0:
		p.a.More, p.a.Next = true, p.a.Range.Start
	case !p.q.Reverse && p.q.Range.CompareEnd(p.a.Range.End) > 0:
		p.a.More, p.a.Next = true, p.a.Range.End
	}
}

func (p *page) locks(part shard.Range) error {
	p.a.Range = part
	var bad error
	err := p.r.Locks(part, false, func(k shard.Key, b []byte) bool {
		l, err := DecodeLock(b)
		if err != nil {
			bad = err
			return false
		}
		if l.StartTS > p.q.TS {
			return true
		}
		if len(p.a.Locks) >= p.maxRows {
			p.cutAt(k)
			return false
		}
		p.a.Locks = append(p.a.Locks, l.info(k))
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("locks of %s: %w", part, err)
	}
	p.goOn()
	return nil
}
