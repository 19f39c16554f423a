package sim

import (
	"slices"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// txnMonitor is what the monitors know of transactions, from the commands that replicas apply and the answers they give:
//
//	outcome    a transaction has one outcome, on all of its keys: rolled back, or committed at one timestamp
//	primary    one that commits in two phases commits its primary first, and no other key tells what became of it
//	grave      a key that a transaction was rolled back on takes no lock of it any more
//	snapshot   a read at r shows the newest version up to r: nothing commits at or below r that it missed, before or after,
//	           and no version that somebody may still ask for was collected
//	changes    what a replica calls complete up to a timestamp holds every commit up to it, and none comes later
type txnMonitor struct {
	txns map[mvcc.Timestamp]*txnSeen // by start
	keys map[string]*keySeen
	// changes are all commits, in the order of their timestamps, and resolved what replicas called complete, by range.
	changes  []mvcc.Change
	resolved []resolvedSeen
	// executed is the largest index of a shard whose command was looked at: replicas that come to it later add nothing.
	executed map[shard.ID]uint64
}

// txnSeen is what is known of one transaction.
type txnSeen struct {
	primary string
	writes  map[string]bool // keys that it locked to be written
	plain   bool            // it commits in two phases
	decided bool
	commit  mvcc.Timestamp  // if decided; zero is rolled back
	graves  map[string]bool // keys that it was rolled back on
}

// keySeen is what is known of one key.
type keySeen struct {
	commits []commitSeen
	reads   []readSeen
}

type commitSeen struct{ at, start mvcc.Timestamp }

// readSeen is a read at a timestamp, of the transaction own or of none, that was answered with the version at saw.
type readSeen struct{ at, own, saw mvcc.Timestamp }

// missed reports that a read should have shown a version. Its own a transaction does not see: a serializable one looks at
// what it read once more as of its commit timestamp.
func (r readSeen) missed(c commitSeen) bool { return r.saw < c.at && c.at <= r.at && r.own != c.start }

func newTxnMonitor() *txnMonitor {
	return &txnMonitor{txns: make(map[mvcc.Timestamp]*txnSeen), keys: make(map[string]*keySeen), executed: make(map[shard.ID]uint64)}
}

func (m *txnMonitor) txn(start mvcc.Timestamp) *txnSeen {
	t := m.txns[start]
	if t == nil {
		t = &txnSeen{writes: make(map[string]bool), graves: make(map[string]bool)}
		m.txns[start] = t
	}
	return t
}

func (m *txnMonitor) key(k string) *keySeen {
	s := m.keys[k]
	if s == nil {
		s = &keySeen{}
		m.keys[k] = s
	}
	return s
}

// executedTxn looks at a command of a transaction.
func (m *monitors) executedTxn(c mvcc.Command, x *raftstore.Execution) {
	r, err := mvcc.DecodeResult(x.Reply)
	if err != nil {
		m.violated("outcome", "the result of a command of a transaction cannot be decoded: %v", err)
		return
	}
	if x.Index > m.tx.executed[x.Shard] {
		m.tx.executed[x.Shard] = x.Index
		if len(r.Rejected) == 0 {
			m.c.echo.hear(x.Body)
		}
		m.graves(c, r)
	}
	if len(r.Rejected) > 0 {
		m.rejectedTxn(r.Rejected)
		return
	}
	switch c := c.(type) {
	case *mvcc.Prewrite:
		m.prewritten(c, r)
	case *mvcc.Commit:
		m.committedKeys(c)
	case *mvcc.Rollback:
		m.decided(c.StartTS, 0)
	case *mvcc.CheckStatus:
		if t := m.tx.txn(c.StartTS); r.Status == mvcc.StatusLocked && t.primary != "" && t.primary != string(c.Primary) {
			m.violated("primary", "%s tells that transaction %d is undecided, and its primary is %s", c.Primary, c.StartTS, shard.Key(t.primary))
		}
		m.toldStatus(c.StartTS, r)
	case *mvcc.CheckSecondaries:
		m.toldStatus(c.StartTS, r)
	case *mvcc.Resolve:
		for _, t := range c.Txns {
			m.decided(t.StartTS, t.CommitTS)
		}
	case *mvcc.Add:
		m.tx.txn(c.StartTS).writes[string(c.Key)] = true
		m.decided(c.StartTS, r.CommitTS)
	}
}

// graves notes the keys that a transaction is rolled back on, and holds its locks against them.
func (m *monitors) graves(c mvcc.Command, r *mvcc.Result) {
	switch c := c.(type) {
	case *mvcc.Rollback:
		for _, k := range c.List {
			m.buried(c.StartTS, k, r)
		}
	case *mvcc.CheckStatus:
		if r.Status == mvcc.StatusRolledBack {
			m.buried(c.StartTS, c.Primary, r)
		}
	case *mvcc.CheckSecondaries:
		for _, k := range c.List {
			if r.Status != mvcc.StatusCommitted && !slices.ContainsFunc(r.Locks, func(l mvcc.LockInfo) bool { return l.Key.Compare(k) == 0 }) {
				m.buried(c.StartTS, k, r)
			}
		}
	case *mvcc.Prewrite:
		for i := range c.Mutations {
			m.stands(c.StartTS, c.Mutations[i].Key, r)
		}
	case *mvcc.PessimisticLock:
		for _, k := range c.List {
			m.stands(c.StartTS, k, r)
		}
	case *mvcc.Heartbeat:
		m.stands(c.StartTS, c.Primary, r)
	}
}

// rejectedKey reports whether a result refuses something on a key.
func rejectedKey(r *mvcc.Result, k shard.Key) bool {
	return slices.ContainsFunc(r.Rejected, func(x *mvcc.Rejected) bool { return x.Key.Compare(k) == 0 })
}

func (m *monitors) buried(start mvcc.Timestamp, k shard.Key, r *mvcc.Result) {
	if !rejectedKey(r, k) {
		m.tx.txn(start).graves[string(k)] = true
	}
}

// stands holds a lock that was taken, or kept alive, against the graves.
func (m *monitors) stands(start mvcc.Timestamp, k shard.Key, r *mvcc.Result) {
	m.seen["grave"]++
	if len(r.Rejected) == 0 && m.tx.txn(start).graves[string(k)] {
		m.violated("grave", "transaction %d locks %s, on which it was rolled back", start, k)
	}
}

// rejectedTxn takes what refusals say about the fate of a transaction.
func (m *monitors) rejectedTxn(why []*mvcc.Rejected) {
	for _, x := range why {
		switch x.Reason {
		case mvcc.Committed:
			m.decided(x.StartTS, x.CommitTS)
		case mvcc.RolledBack:
			m.decided(x.StartTS, 0)
		}
	}
}

func (m *monitors) toldStatus(start mvcc.Timestamp, r *mvcc.Result) {
	switch r.Status {
	case mvcc.StatusCommitted:
		m.decided(start, r.CommitTS)
	case mvcc.StatusRolledBack:
		m.decided(start, 0)
	}
}

func (m *monitors) prewritten(c *mvcc.Prewrite, r *mvcc.Result) {
	t := m.tx.txn(c.StartTS)
	t.primary = string(c.Primary)
	for i := range c.Mutations {
		k := string(c.Mutations[i].Key)
		if _, again := t.writes[k]; again {
			continue
		}
		t.writes[k] = c.Mutations[i].Kind != mvcc.Touch
		t.plain = t.plain || r.CommitTS == 0 && !r.Async
		if t.decided && t.commit != 0 && t.writes[k] {
			m.newVersion(k, commitSeen{t.commit, c.StartTS})
		}
	}
	if r.CommitTS != 0 {
		m.decided(c.StartTS, r.CommitTS)
	}
}

func (m *monitors) committedKeys(c *mvcc.Commit) {
	t := m.tx.txn(c.StartTS)
	if t.plain && !t.decided {
		m.seen["primary"]++
		for _, k := range c.List {
			if string(k) != t.primary {
				m.violated("primary", "transaction %d commits %s in the second phase, and its primary %s has not", c.StartTS, k, shard.Key(t.primary))
			}
		}
	}
	m.decided(c.StartTS, c.CommitTS)
}

// decided notes the outcome of a transaction, which must be what it was before.
func (m *monitors) decided(start, commit mvcc.Timestamp) {
	t := m.tx.txn(start)
	m.seen["outcome"]++
	switch {
	case t.decided && t.commit != commit:
		m.violated("outcome", "transaction %d is decided at %d, and was at %d (0 is rolled back)", start, commit, t.commit)
	case t.decided:
		return
	case commit != 0 && commit <= start:
		m.violated("outcome", "transaction %d commits at %d, which is before it began", start, commit)
	}
	t.decided, t.commit = true, commit
	if commit == 0 {
		return
	}
	for k, writes := range t.writes { // in any order: a violation ends the world, whichever is met first
		if writes {
			m.newVersion(k, commitSeen{commit, start})
		}
	}
}

// newVersion holds a commit against all reads that were answered.
func (m *monitors) newVersion(k string, c commitSeen) {
	s := m.tx.key(k)
	if slices.Contains(s.commits, c) {
		return
	}
	s.commits = append(s.commits, c)
	m.newChange(k, c)
	for _, r := range s.reads {
		if r.missed(c) {
			m.violated("snapshot", "%s is committed at %d by %d; a read at %d was answered with the version at %d", shard.Key(k), c.at, c.start, r.at, r.saw)
		}
	}
}

// Answered implements raftstore.Observer.
func (o *observer) Answered(id shard.ID, rep shard.ReplicaID, query, answer []byte) {
	q, err := mvcc.DecodeQuery(query)
	if err != nil {
		return
	}
	a, err := mvcc.DecodeAnswer(answer)
	if err != nil || a.Rejected != nil {
		return
	}
	if q.Kind == mvcc.Changes {
		o.m.toldChanges(id, rep, q, a)
		return
	}
	for i, row := range a.Rows {
		switch {
		case q.Kind == mvcc.Get && i < len(q.Keys):
			o.m.read(id, rep, string(q.Keys[i]), readSeen{q.TS, q.OwnTS, row.CommitTS})
		case q.Kind == mvcc.Scan:
			o.m.read(id, rep, string(row.Key), readSeen{q.TS, q.OwnTS, row.CommitTS})
		}
	}
}

// read holds an answer against all commits that are known.
func (m *monitors) read(id shard.ID, rep shard.ReplicaID, k string, r readSeen) {
	m.seen["snapshot"]++
	s := m.tx.key(k)
	for _, c := range s.commits {
		if r.missed(c) {
			m.violated("snapshot", "%s of %s answers a read of %s at %d with the version at %d, and it is committed at %d by %d", rep, id, shard.Key(k), r.at, r.saw, c.at, c.start)
		}
	}
	s.reads = append(s.reads, r)
}

// resolvedSeen is that all changes of a range up to a timestamp were told to somebody.
type resolvedSeen struct {
	r  shard.Range
	at mvcc.Timestamp
}

// newChange holds a commit against what was called complete.
func (m *monitors) newChange(k string, c commitSeen) {
	x := mvcc.Change{TS: c.at, Key: shard.Key(k)}
	at, found := slices.BinarySearchFunc(m.tx.changes, x, mvcc.Change.Compare)
	if found {
		return // an Add went into it
	}
	m.tx.changes = slices.Insert(m.tx.changes, at, x)
	for _, r := range m.tx.resolved {
		if c.at <= r.at && r.r.Contains(x.Key) {
			m.violated("changes", "%s is committed at %d by %d; the changes of %s were complete up to %d", x.Key, c.at, c.start, r.r, r.at)
		}
	}
}

// toldChanges holds an answer against all commits that are known.
func (m *monitors) toldChanges(id shard.ID, rep shard.ReplicaID, q *mvcc.Query, a *mvcc.Answer) {
	m.seen["changes"]++
	step := 1
	if q.Previous {
		step = 2
	}
	from := mvcc.Change{TS: q.After + 1}
	if q.AfterKey != nil {
		from = mvcc.Change{TS: q.After, Key: q.AfterKey}
	}
	at, found := slices.BinarySearchFunc(m.tx.changes, from, mvcc.Change.Compare)
	if found {
		at++
	}
	row := 0
	for _, c := range m.tx.changes[at:] {
		if !a.Range.Contains(c.Key) {
			continue
		}
		told := row < len(a.Rows) && c.Compare(mvcc.Change{TS: a.Rows[row].CommitTS, Key: a.Rows[row].Key}) == 0
		switch {
		case told:
			row += step
		case c.TS <= a.Resolved:
			m.violated("changes", "%s of %s leaves out %s at %d after %d; it says it is complete up to %d", rep, id, c.Key, c.TS, q.After, a.Resolved)
			return
		}
		if c.TS > a.Resolved && row >= len(a.Rows) {
			break
		}
	}
	if row < len(a.Rows) {
		m.violated("changes", "%s of %s tells of %s at %d, which was not committed", rep, id, a.Rows[row].Key, a.Rows[row].CommitTS)
	}
	m.resolvedTo(a.Range, a.Resolved)
}

func (m *monitors) resolvedTo(r shard.Range, at mvcc.Timestamp) {
	for i := range m.tx.resolved {
		if s := &m.tx.resolved[i]; s.r.Start.Compare(r.Start) == 0 && s.r.CompareEnd(r.End) == 0 {
			s.at = max(s.at, at)
			return
		}
	}
	m.tx.resolved = append(m.tx.resolved, resolvedSeen{r: shard.Range{Start: r.Start.Clone(), End: r.End.Clone()}, at: at})
}
