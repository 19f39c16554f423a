package mvcc

import (
	"cmp"
	"container/heap"
	"fmt"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// The answer to Changes: what was committed in a range, in the order of commits.

// Change names a version: the keys of one commit timestamp follow each other in their order.
type Change struct {
	TS  Timestamp // its commit timestamp
	Key shard.Key
}

// Compare orders changes as a Changes answers them.
func (c Change) Compare(o Change) int { return cmp.Or(cmp.Compare(c.TS, o.TS), c.Key.Compare(o.Key)) }

// MaxWaitMillis bounds how long a Changes that finds nothing may be kept for an answer.
const MaxWaitMillis = 1000

// Recent remembers the latest changes of a shard, so that they need not be looked for among all its versions.
type Recent interface {
	// Since returns those of part after a position and up to a timestamp, in their order, at most limit of them; more says
	// that there are others. It reports false if it may not know all of them. It is called after the Reader was opened.
	Since(after Change, part shard.Range, upTo Timestamp, limit int) (list []Change, more, ok bool)
}

// after is the position that a Changes goes on from: what comes after it is asked for.
func (q *Query) after() Change {
	if q.AfterKey == nil {
		return Change{TS: q.After + 1} // before every key
	}
	return Change{TS: q.After, Key: q.AfterKey}
}

// reaches is the largest timestamp of which q was given everything.
func (q *Query) reaches() Timestamp {
	if q.AfterKey != nil {
		return q.After - 1
	}
	return q.After
}

func (q *Query) checkChanges() error {
	switch {
	case q.Reverse:
		return invalidf("changes come in the order of their commits; leave Reverse out")
	case q.After > MaxTimestamp>>1:
		return invalidf("changes after timestamp %d, which was not issued", q.After)
	case q.AfterKey != nil && q.After == 0:
		return invalidf("changes after a key of no timestamp; name the timestamp")
	case q.WaitMillis > MaxWaitMillis:
		return invalidf("wait %d ms for a change; wait at most %d", q.WaitMillis, MaxWaitMillis)
	case len(q.AfterKey) > shard.MaxKeyBytes+3:
		return invalidf("the key to go on from is longer than every key")
	case shard.ModeRange(shard.ModeRaw).ContainsRange(q.Range) && !q.Range.Empty():
		return invalidf("raw keys have no versions and no commit timestamps, so there is nothing to watch them by; " +
			"write the keys in transactions, and watch those")
	}
	return checkRange(q.Range)
}

// ChangesFrom is Run for a Changes, with what is remembered of the shard's latest changes; nil: nothing. It reports
// whether that was enough, and the versions needed not be looked through.
func (q *Query) ChangesFrom(r Reader, in shard.Range, st State, recent Recent) (a Answer, remembered bool, err error) {
	if err := q.checkIn(0, in); err != nil {
		return Answer{}, false, err
	}
	p := page{q: q, r: r, st: st, maxRows: bound(q.Limit, MaxPageRows), maxBytes: bound(q.MaxBytes, MaxPageBytes)}
	if q.Previous {
		p.maxRows = max(1, min(p.maxRows, MaxPageRows/2))
	}
	remembered, err = p.changes(q.Range.Intersect(in), recent)
	return p.a, remembered, err
}

// changes answers a Changes.
//
// INVARIANT: every version of part after the query's position and up to Resolved is among the rows, and no version with a
// timestamp up to Resolved comes later: the query's TS was noted before the Reader was opened (rule T6). A page that is
// full is resolved to just below its last row's timestamp, because other keys of that may be left.
func (p *page) changes(part shard.Range, recent Recent) (remembered bool, err error) {
	q := p.q
	if safe := p.st.SafePoint; q.reaches() < safe && !bug.ReadBelowSafePoint.On() {
		p.a = Answer{Rejected: &Rejected{Reason: TooOld, Key: q.first(), StartTS: q.reaches(), CommitTS: safe}}
		return true, nil
	}
	if err := p.resolvedBy(part); err != nil {
		return false, err
	}
	if p.a.Resolved < q.after().TS {
		return true, nil
	}
	var list []Change
	var more bool
	if recent != nil {
		list, more, remembered = recent.Since(q.after(), part, p.a.Resolved, p.maxRows)
	}
	if !remembered {
		if list, more, err = p.findChanges(part); err != nil {
			return false, err
		}
	}
	for i, c := range list {
		if i > 0 && p.bytes >= p.maxBytes {
			list, more = list[:i], true
			break
		}
		if err := p.addChange(c); err != nil {
			return false, err
		}
	}
	if more {
		p.cutAfter(list[len(list)-1])
	}
	return remembered, nil
}

// resolvedBy is resolved, and names the lock that holds it back, if there is one.
func (p *page) resolvedBy(part shard.Range) error {
	p.a.Range, p.a.Resolved = part, p.q.TS
	var bad error
	if p.st.Locks > 0 && !bug.ResolvedPastLocks.On() {
		err := p.r.Locks(part, false, func(k shard.Key, b []byte) bool {
			var l *Lock
			if l, bad = DecodeLock(b); bad != nil {
				bad = fmt.Errorf("lock of %s: %w", short(k), bad)
				return false
			}
			if at := l.StartTS - 1; l.Kind != LockPessimistic && at < p.a.Resolved {
				p.a.Resolved, p.a.Locks = at, append(p.a.Locks[:0], l.info(k.Clone()))
			}
			return true
		})
		if err != nil || bad != nil {
			return firstOf(bad, err)
		}
	}
	p.goOn()
	return nil
}

// cutAfter ends a full page.
func (p *page) cutAfter(last Change) {
	p.a.Resolved, p.a.Locks = last.TS-1, nil
	if bug.PageCutsCommit.On() {
		p.a.Resolved = last.TS
	}
}

// findChanges looks through all versions of part for the first changes after the query's position.
func (p *page) findChanges(part shard.Range) (list []Change, more bool, err error) {
	if part.Empty() {
		return nil, false, nil
	}
	var (
		first = firstChanges{rows: p.maxRows, most: p.maxBytes}
		after = p.q.after()
		key   shard.Key
		bad   error
	)
	err = p.r.Scan(part, false, p.a.Resolved, func(k shard.Key, ts Timestamp, b []byte) Step {
		if ts < after.TS {
			return NextKey
		}
		rec, err := decodeRecord(b)
		if err != nil {
			bad = fmt.Errorf("record of %s: %w", short(k), err)
			return Stop
		}
		c := Change{TS: ts, Key: k}
		if rec.kind != recPut && rec.kind != recDelete || c.Compare(after) <= 0 {
			return NextVersion
		}
		if key == nil || key.Compare(k) != 0 {
			key = k.Clone()
		}
		c.Key = key
		first.add(c)
		return NextVersion
	})
	if err != nil || bad != nil {
		return nil, false, firstOf(bad, err)
	}
	return first.sorted(), first.dropped, nil
}

// addChange adds the row of a change, and, if it is asked for, one of what was there before.
func (p *page) addChange(c Change) error {
	v, err := value(p.r, c.Key, c.TS)
	if err != nil {
		return err
	}
	if v.commit != c.TS {
		return fmt.Errorf("the version of %s at %d is gone, the newest below is at %d", short(c.Key), c.TS, v.commit)
	}
	p.addRow(Row{Key: c.Key, Found: v.found, Value: v.value, CommitTS: c.TS})
	if !p.q.Previous {
		return nil
	}
	// INVARIANT: it is still there: c lies above the safe point, so what was read just below it is what was read at the
	// safe point or above.
	if v, err = value(p.r, c.Key, c.TS-1); err != nil {
		return err
	}
	p.addRow(Row{Found: v.found, Value: v.value, CommitTS: v.commit})
	return nil
}

func (p *page) addRow(row Row) {
	if p.q.KeysOnly {
		row.Value = nil
	}
	p.bytes += len(row.Key) + len(row.Value)
	p.a.Rows = append(p.a.Rows, row)
}

// firstChanges keeps the first changes of many: a heap whose top is the last of them.
type firstChanges struct {
	rows, most int // bounds: changes, and bytes of their keys, of which there may be one key more
	list       []Change
	bytes      int
	dropped    bool // there are others
}

func (h *firstChanges) Len() int           { return len(h.list) }
func (h *firstChanges) Less(i, j int) bool { return h.list[i].Compare(h.list[j]) > 0 }
func (h *firstChanges) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *firstChanges) Push(x any)         { h.list = append(h.list, x.(Change)) }
func (h *firstChanges) Pop() any {
	last := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return last
}

func (h *firstChanges) add(c Change) {
	if full := len(h.list) >= h.rows || h.bytes > h.most; full && c.Compare(h.list[0]) > 0 {
		h.dropped = true
		return
	}
	heap.Push(h, c)
	h.bytes += len(c.Key)
	for len(h.list) > h.rows || h.bytes-len(h.list[0].Key) > h.most {
		h.bytes -= len(heap.Pop(h).(Change).Key)
		h.dropped = true
	}
}

func (h *firstChanges) sorted() []Change {
	out := make([]Change, len(h.list))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = heap.Pop(h).(Change)
	}
	return out
}

// Tap is a Writer that tells of every change that is written through it.
type Tap struct {
	Writer
	// On is told of each version that a commit makes or removes a value by; k is lent.
	On func(k shard.Key, ts Timestamp)
}

// SetVersion implements Writer.
func (t Tap) SetVersion(k shard.Key, ts Timestamp, v []byte) {
	t.Writer.SetVersion(k, ts, v)
	if rec, err := decodeRecord(v); err == nil && (rec.kind == recPut || rec.kind == recDelete) {
		t.On(k, ts)
	}
}
