package raftstore

import (
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Transactions in a store: docs/transactions.md. Commands go the way of raw writes, without the bracket of at most once:
// they are known by their keys and start_ts (rule T7). Queries go the way of raw reads, behind the guard (guard.go).

// txnCall is what a Call carries of a transaction. It is not changed once the shard's worker has it, but for arrived.
type txnCall struct {
	cmd   mvcc.Command // of a write
	floor bool         // the command computes a timestamp: it needs a floor
	query *mvcc.Query  // of a read
	// ts is the timestamp that a read, or a follower's barrier, reads at; zero: none that the guard must know.
	ts mvcc.Timestamp
	// arrived is the place of a lock that may wait among those that came to this leader; set by its worker, see lockwait.go.
	arrived uint64
}

// guards are the keys that a read is about, none for the whole shard.
func (t *txnCall) guards() []shard.Key {
	if t.query != nil && t.query.Kind == mvcc.Get {
		return t.query.Keys
	}
	return nil
}

// maxAheadMillis is how far above placement's time, as this store knows it, a timestamp may lie that a request names. A new
// leader of placement begins where its predecessor's timestamps may have come to, up to 3 s above the clock; the times of
// two stores differ by half a second. A barrier gets one second more, for the time of the store that asked.
const (
	maxAheadMillis     = 4000
	barrierSlackMillis = 1000
)

func timestampOf(ts uint64) mvcc.Timestamp { return mvcc.Timestamp(ts) }

// checkTimestamp refuses a timestamp that placement cannot have issued.
//
// INVARIANT (rule T4): with a wild one a client could move the largest read timestamp of a shard, and with it every
// commit timestamp computed there, into a future in which others do not read yet.
func (s *Store) checkTimestamp(id shard.ID, ts mvcc.Timestamp, due, ahead shard.Millis) error {
	if due == 0 {
		return shard.ErrNoFreshTime
	}
	if limit := mvcc.AtMillis(due + ahead); ts > limit {
		return &shard.TooNewError{Shard: id, Timestamp: uint64(ts), Limit: uint64(limit)}
	}
	return nil
}

// checkTxnWrite is check for commands of transactions.
func (s *Store) checkTxnWrite(c *Call) error {
	cmd, err := mvcc.Decode(c.Req.Body)
	if err != nil {
		return &shard.InvalidError{Why: "the command cannot be decoded: " + err.Error()}
	}
	if err := cmd.Check(); err != nil {
		return err
	}
	if c.Req.Op != (call.OpID{}) {
		return &shard.InvalidError{Why: "a command of a transaction has no op id: it is known by its keys and start timestamp"}
	}
	c.txn = &txnCall{cmd: cmd, floor: mvcc.NeedsFloor(c.Req.Body)}
	c.grows = txnGrows(cmd)
	return s.checkTimestamp(c.Req.Shard, mvcc.Latest(cmd), c.due, maxAheadMillis)
}

// checkTxnRead is check for their queries.
func (s *Store) checkTxnRead(c *Call) error {
	q, err := mvcc.DecodeQuery(c.Req.Body)
	if err != nil {
		return &shard.InvalidError{Why: "the query cannot be decoded: " + err.Error()}
	}
	if err := q.Check(); err != nil {
		return err
	}
	q.MaxBytes = s.pageBytes(q.MaxBytes, mvcc.MaxPageBytes)
	c.txn = &txnCall{query: q, ts: q.TS}
	if q.Kind == mvcc.Checksum {
		c.txn.ts = 0
		return nil
	}
	return s.checkTimestamp(c.Req.Shard, q.TS, c.due, maxAheadMillis)
}

const barrierVersion = 1

// barrierBody is the body of a follower's question to its leader: the timestamp that is to be read at, if any.
func barrierBody(ts mvcc.Timestamp) []byte {
	if ts == 0 {
		return nil
	}
	return codec.AppendUvarint([]byte{barrierVersion}, uint64(ts))
}

func (s *Store) checkBarrier(c *Call) error {
	if len(c.Req.Body) == 0 {
		return nil
	}
	d := codec.Decoder{B: c.Req.Body}
	d.Version(barrierVersion)
	c.txn = &txnCall{ts: mvcc.Timestamp(d.Uvarint())}
	if d.Done() != nil {
		return &shard.InvalidError{Why: "the barrier cannot be decoded"}
	}
	return s.checkTimestamp(c.Req.Shard, c.txn.ts, c.due, maxAheadMillis+barrierSlackMillis)
}

// guardOf is the guard of this leadership, made if there is none.
//
// INVARIANT: a guard is taken away (endGuard) only after the view is withdrawn. So a reader on another goroutine that noted
// its read in one that is gone, finds its view gone as well when it looks again, and reads once more.
func (r *replica) guardOf() *guard {
	if g := r.guard.Load(); g != nil {
		return g
	}
	r.guard.CompareAndSwap(nil, new(guard))
	return r.guard.Load()
}

// guardNow notes a read on the caller's goroutine, and reports whether it may begin; if not, it is the worker's.
func (r *replica) guardNow(c *Call) bool {
	if c.txn == nil || c.txn.ts == 0 {
		return true
	}
	g := r.guardOf()
	return g != nil && g.read(c.txn.ts, c.txn.guards()) == 0
}

// guardRead notes a read, or a follower's question, that comes to the leader's worker. It reports false if the call has to
// wait, or was answered; it goes on by itself then.
//
// INVARIANT (rule T2, T5): the timestamp is noted before the round is stepped that confirms the leadership. A command of
// this leader with a floor at or below it was proposed before, and is waited for here; one of a later leader commits above
// it, because that one fetched its timestamp after it was elected, and so after this call came.
func (r *replica) guardRead(c *Call) bool {
	if c.txn == nil || c.txn.ts == 0 || !r.group.Leading() {
		return true
	}
	g := r.guardOf()
	seq := g.read(c.txn.ts, c.txn.guards())
	if seq == 0 {
		return true
	}
	if len(g.waiting) >= maxWaitingReads {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many reads wait for " + r.id.String(), Wait: busyWait})
		return false
	}
	r.w.store.metrics.guardWaits.Add(1)
	r.enter(c, call.StageTimestamp)
	g.waiting = append(g.waiting, guardWait{seq: seq, call: *c})
	return false
}

// unguard ends an entry of floors, and lets go on who waited for it.
func (r *replica) unguard(g *guard, seq uint64) {
	if g == nil {
		return
	}
	g.finish(seq)
	if len(g.waiting) == 0 || r.guard.Load() != g {
		return
	}
	done, all := g.finished(), g.waiting
	g.waiting = nil
	for _, wt := range all {
		if wt.seq > done {
			g.waiting = append(g.waiting, wt)
			continue
		}
		c := wt.call
		r.enter(&c, call.StageQueue)
		if c.Req.Kind == call.Barrier {
			r.acceptRead(&c)
		} else {
			r.w.acceptLeasedOrQueued(r, &c)
		}
	}
}

// endGuard forgets the guard of a leadership that is over, whose view is withdrawn, and answers who waits there.
func (r *replica) endGuard(err error) {
	g := r.guard.Swap(nil)
	if g == nil {
		return
	}
	parked, waiting := g.parked, g.waiting
	g.parked, g.waiting = nil, nil
	for i := range parked {
		r.fail(&parked[i], err)
	}
	for i := range waiting {
		r.fail(&waiting[i].call, err)
	}
}

// guardIdle reports whether nobody waits at the guard.
func (r *replica) guardIdle() bool {
	g := r.guard.Load()
	return g == nil || len(g.parked)+len(g.waiting) == 0
}

// expireGuard drops calls for which nobody waits any more, and commands that wait for a timestamp for too long.
func (r *replica) expireGuard() {
	g := r.guard.Load()
	if g == nil || len(g.parked)+len(g.waiting) == 0 {
		return
	}
	if len(g.parked) > 0 && r.w.now.Sub(g.parkedAt) > 2*r.w.store.opt.electionTimeout() {
		r.refuseParked(g, "this leader has no timestamp yet")
	}
	now := int64(r.w.now)
	kept := g.waiting[:0]
	for i := range g.waiting {
		if c := &g.waiting[i].call; c.expire != 0 && c.expire < now {
			r.fail(c, shard.ErrUnavailable)
			continue
		}
		kept = append(kept, g.waiting[i])
	}
	clear(g.waiting[len(kept):])
	g.waiting = kept
}

// asyncTooEarly is the planted bug that forgets rule T4.
func (r *replica) asyncTooEarly() bool { return bug.AsyncTooEarly.On() }

// setFloor writes the floor into the copy of a command that is in an entry.
func (r *replica) setFloor(p *proposal, body []byte, c *Call) (floor mvcc.Timestamp) {
	if c.txn == nil || !c.txn.floor {
		return 0
	}
	if p.guard == nil {
		p.guard = r.guardOf()
	}
	floor, p.mark = p.guard.enter(c.txn.cmd, p.mark)
	mvcc.SetFloor(body, floor)
	return floor
}

// adoptSafePoint puts a command of the store's own before those of an entry, if there are transactions among those that
// wait and the cluster's safe point is above the shard's. So a shard that nobody uses need not be woken for each safe
// point: it takes up the newest before it evaluates anything.
func (r *replica) adoptSafePoint(b *apply.Builder) (added int) {
	safe := r.w.store.safe.Load()
	if safe <= max(r.machine.Applied.SafePoint, r.safeProposed) ||
		!slices.ContainsFunc(r.waiting, func(c Call) bool { return c.txn != nil }) {
		return 0
	}
	r.safeProposed = safe
	b.Add(call.OpID{}, (&mvcc.GC{SafePoint: mvcc.Timestamp(safe)}).Append(nil)) // its reply is nobody's
	return 1
}

// showTxn makes what readers without a view need visible; with the rest of the applied state, before applied.
func (r *replica) showTxn(a shard.Applied) {
	r.locks.Store(a.Locks)
	r.hideBelow(a)
}

// hideBelow moves the safe point that readers look at.
//
// INVARIANT (rule T8): before the batch that collects below it is visible, so that a reader that misses a version finds the
// safe point above its timestamp when it looks again.
func (r *replica) hideBelow(a shard.Applied) {
	if a.SafePoint != r.safe.Load() {
		r.safe.Store(a.SafePoint)
	}
}

// evaluateTxn runs a query against the data of the engine.
func (s *Store) evaluateTxn(r *replica, q *mvcc.Query, desc *shard.Descriptor) ([]byte, error) {
	if q.Kind == mvcc.Get && len(q.Keys) == 1 {
		return s.evaluateOne(r, q, desc)
	}
	rd := s.engine.NewReader()
	defer rd.Close()
	a, _, err := rd.Applied(r.id)
	if err != nil {
		return nil, err
	}
	ans, err := q.Run(rd.Txn(), desc.Range, apply.TxnState(a))
	if err != nil {
		return nil, err
	}
	return r.countedTxn(q, &ans), nil
}

// evaluateOne reads one key without a view: one seek, and one more only while the shard has locks.
//
// It is as good as a view at the index that was visible when the number of locks was loaded. What is applied since commits
// above q.TS (rule T2; a commit timestamp that is fetched is fetched later), and what is collected since is found out by
// the safe point.
func (s *Store) evaluateOne(r *replica, q *mvcc.Query, desc *shard.Descriptor) ([]byte, error) {
	st := mvcc.State{Locks: r.locks.Load(), SafePoint: mvcc.Timestamp(r.safe.Load())}
	ans, err := q.Run(s.engine.Txn(), desc.Range, st)
	if st.SafePoint = mvcc.Timestamp(r.safe.Load()); err == nil && st.SafePoint > q.TS {
		ans, err = q.Run(s.engine.Txn(), desc.Range, st) // refused
	}
	if err != nil {
		return nil, err
	}
	return r.countedTxn(q, &ans), nil
}

// countedTxn encodes an answer, and counts it among what the shard was asked for.
func (r *replica) countedTxn(q *mvcc.Query, ans *mvcc.Answer) []byte {
	body := ans.Append(nil)
	r.load.readTxn(q, ans, len(body))
	return body
}
