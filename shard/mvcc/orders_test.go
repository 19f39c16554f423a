package mvcc_test

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/mvcc/mvcctest"
)

// Every order of everything that two or three small transactions send, on two keys of two shards. The model test draws
// long histories at random; this one leaves nothing out of short ones: each message arrives at any time, or never, some
// twice, and some answers are lost; readers read the two keys one after the other, with anything in between; recoverers
// find locks that are over or push those that live. An owner may be dead in every state: in each, whatever stands is
// settled, and judged (see orders_check_test.go).

// The two keys, each a shard of its own.
var ordersKeys = [2]shard.Key{mvcc.Key([]byte("a")), mvcc.Key([]byte("b"))}

// forever is a timestamp at which every lock is over. Locks live for a moment, so all are over there and none at zero.
const forever = mvcc.Timestamp(1) << 40

// scenario is what a search begins with.
type scenario struct {
	name    string
	owners  []owner
	readers int // that read both keys at one timestamp each
	late    int // deliveries of messages that were delivered before, and lost answers
	recover int // locks that are looked at by somebody for whom they are over
	keep    int // heartbeats
}

// owner is a transaction and what its client knows. All owners are values: states are copied.
type owner struct {
	mode        mvcc.Mode
	pessimistic bool
	keys        []int // in order; the first is the primary
	limit       mvcc.Timestamp
	phase       phase
	start, at   mvcc.Timestamp // at: to commit at, as far as is known
	waits       int            // answers
	twoPhase    bool           // a prewrite of it was not async
	acked       mvcc.Timestamp
}

type phase uint8

const (
	fresh phase = iota
	locking
	prewriting
	prewritten // a commit timestamp is to be fetched
	committing
	asking // whether it can still be committed by its locks: an async commit that gives up
	over
)

// message is a command under way.
type parcel struct {
	body  mvcc.Command
	to    int // shard
	owner int // who is told the answer; -1: nobody
	told  bool
	came  int // deliveries
}

type reader struct {
	ts     mvcc.Timestamp
	read   [2]bool
	rows   [2]mvcc.Row
	bypass []mvcc.Timestamp
	stuck  *mvcc.LockInfo
}

// part is one shard.
type part struct {
	m       *mvcctest.Map
	st      mvcc.State
	maxRead mvcc.Timestamp // the leader's, see rule T2
}

// orders is a state.
type orders struct {
	parts               [2]part
	clock               mvcc.Timestamp
	owners              []owner
	sent                []parcel
	readers             []reader
	toRead              int
	late, recover, keep int
	path                []string // how it came about
}

func (s scenario) begin() *orders {
	o := &orders{clock: 100, owners: s.owners, toRead: s.readers, late: s.late, recover: s.recover, keep: s.keep}
	for i := range o.parts {
		o.parts[i].m = new(mvcctest.Map)
	}
	return o
}

func (o *orders) copy() *orders {
	c := *o
	for i := range c.parts {
		c.parts[i].m = o.parts[i].m.Copy()
	}
	c.owners, c.sent, c.readers = slices.Clone(o.owners), slices.Clone(o.sent), slices.Clone(o.readers)
	c.path = o.path[:len(o.path):len(o.path)]
	return &c
}

func (o *orders) issue() mvcc.Timestamp { o.clock += 2; return o.clock }

// do evaluates a command in a shard, as its leader has it proposed and applied.
func (o *orders) do(in int, c mvcc.Command) mvcc.Result {
	p := &o.parts[in]
	if pw, ok := c.(*mvcc.Prewrite); ok && pw.Mode != mvcc.TwoPhase {
		floored := *pw
		floored.Floor = p.maxRead.NextOdd()
		c = &floored
	}
	r, eff, err := mvcc.Evaluate(c, p.m, p.st)
	if err != nil {
		panic(err)
	}
	p.st.Locks += uint64(eff.Locks)
	return r
}

// send puts a command under way, unless the same one is, from somebody else.
func (o *orders) send(owner, to int, c mvcc.Command) {
	body := c.Append(nil)
	for i := range o.sent {
		if p := &o.sent[i]; owner < 0 && p.owner < 0 && p.came == 0 && p.to == to && bytes.Equal(p.body.Append(nil), body) {
			return
		}
	}
	o.sent = append(o.sent, parcel{body: c, to: to, owner: owner})
}

// next are all states that one step leads to.
func (o *orders) next(f func(*orders)) {
	try := func(what string, step func(n *orders) bool) {
		if n := o.copy(); step(n) {
			n.path = append(n.path, what)
			f(n)
		}
	}
	for i := range o.owners {
		switch o.owners[i].phase {
		case fresh:
			try(fmt.Sprintf("owner %d begins", i), func(n *orders) bool { n.start(i); return true })
		case prewritten:
			try(fmt.Sprintf("owner %d fetches", i), func(n *orders) bool { n.fetch(i); return true })
		case locking, prewriting, committing:
			if o.keep > 0 {
				try(fmt.Sprintf("owner %d keeps alive", i), func(n *orders) bool { n.keepAlive(i); return true })
			}
		}
	}
	for i := range o.sent {
		if o.sent[i].came > 0 && o.late == 0 {
			continue
		}
		try(fmt.Sprintf("message %d: %s", i, show(o.sent[i].body)), func(n *orders) bool { return n.deliver(i, false) })
		if o.late == 0 {
			continue
		}
		try(fmt.Sprintf("message %d, answer lost", i), func(n *orders) bool { return n.deliver(i, true) })
	}
	if o.toRead > 0 {
		try("a reader begins", func(n *orders) bool {
			n.toRead--
			n.readers = append(n.readers, reader{ts: n.issue()})
			return true
		})
	}
	for i := range o.readers {
		for k := range ordersKeys {
			try(fmt.Sprintf("reader %d reads %d", i, k), func(n *orders) bool { return n.read(i, k) })
		}
		try(fmt.Sprintf("reader %d asks", i), func(n *orders) bool { return n.asks(i) })
	}
	if o.recover > 0 {
		for k := range ordersKeys {
			try(fmt.Sprintf("the lock of %d is over", k), func(n *orders) bool { n.recover--; return n.recoverKey(k, true) })
		}
	}
}

func show(c mvcc.Command) string { return strings.TrimPrefix(fmt.Sprintf("%T", c), "*mvcc.") }

func (o *orders) start(i int) {
	w := &o.owners[i]
	w.start = o.issue()
	if w.limit != 0 {
		w.limit += w.start
	}
	if !w.pessimistic {
		o.prewrite(i)
		return
	}
	w.phase, w.waits = locking, len(w.keys)
	for _, k := range w.keys {
		o.send(i, k, mvcc.NewPessimisticLock(w.start, w.start, ordersKeys[w.keys[0]], 1, ordersKeys[k]))
	}
}

func (o *orders) prewrite(i int) {
	w := &o.owners[i]
	w.phase, w.waits = prewriting, len(w.keys)
	for n, k := range w.keys {
		c := &mvcc.Prewrite{Mode: w.mode, StartTS: w.start, MaxCommitTS: w.limit, TTLMillis: 1, Primary: ordersKeys[w.keys[0]],
			Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: ordersKeys[k], Value: fmt.Append(nil, w.start), Held: w.pessimistic}}}
		if w.pessimistic {
			c.ForUpdateTS = w.start
		}
		if w.mode == mvcc.Async && n == 0 && len(w.keys) > 1 {
			c.Secondaries = []shard.Key{ordersKeys[w.keys[1]]}
		}
		o.send(i, k, c)
	}
}

func (o *orders) fetch(i int) {
	w := &o.owners[i]
	w.phase, w.at = committing, o.issue()
	o.send(i, w.keys[0], mvcc.NewCommit(w.start, w.at, ordersKeys[w.keys[0]]))
}

func (o *orders) keepAlive(i int) {
	w := &o.owners[i]
	o.keep--
	o.send(-1, w.keys[0], &mvcc.Heartbeat{Primary: ordersKeys[w.keys[0]], StartTS: w.start, TTLMillis: 1})
}

// deliver delivers a message, once more if there is some of that left, and tells its owner what came of it.
func (o *orders) deliver(i int, lost bool) bool {
	p := &o.sent[i]
	if p.came > 0 || lost {
		if o.late == 0 || lost && (p.owner < 0 || p.told) {
			return false
		}
		o.late--
	}
	p.came++
	r := o.do(p.to, p.body)
	if p.owner >= 0 && !p.told && !lost {
		p.told = true
		o.tell(p.owner, p.body, &r)
	}
	return true
}

// tell is the owner's part of the protocol.
func (o *orders) tell(i int, c mvcc.Command, r *mvcc.Result) {
	w := &o.owners[i]
	switch {
	case w.phase == over:
	case w.phase == asking && show(c) != "CheckSecondaries":
	case len(r.Rejected) > 0 && w.phase == committing && r.Rejected[0].Reason == mvcc.TooEarly:
		w.phase = prewritten
	case len(r.Rejected) > 0 && w.phase == committing:
		w.phase = over
	case w.phase == asking:
		o.askedOne(i, r)
	case len(r.Rejected) > 0 && w.mode == mvcc.Async:
		// INVARIANT: an async commit is not rolled back before one of its keys was asked and is not locked, for good. A
		// prewrite that was refused and comes again may lock the last key, and whoever meets the locks then commits.
		w.phase, w.at, w.waits = asking, 0, len(w.keys)
		for _, k := range w.keys {
			o.send(i, k, mvcc.NewCheckSecondaries(w.start, ordersKeys[k]))
		}
	case len(r.Rejected) > 0:
		o.giveUp(i)
	case w.phase == locking:
		if w.waits--; w.waits == 0 {
			o.prewrite(i)
		}
	case w.phase == prewriting:
		o.prewrittenOne(i, r)
	case w.phase == committing:
		w.phase, w.acked = over, w.at
		o.commitRest(i, 1)
	}
}

func (o *orders) giveUp(i int) {
	w := &o.owners[i]
	w.phase = over
	for _, k := range w.keys {
		o.send(-1, k, mvcc.NewRollback(w.start, ordersKeys[k]))
	}
}

// askedOne takes what a key of an async commit answers.
func (o *orders) askedOne(i int, r *mvcc.Result) {
	w := &o.owners[i]
	switch {
	case r.Status == mvcc.StatusCommitted:
		w.phase, w.acked = over, r.CommitTS
		o.commitRest(i, 0)
	case len(r.Locks) == 0 || !r.Locks[0].Async:
		o.giveUp(i) // rolled back, or to be committed by its primary, which nobody does
	default:
		w.at = max(w.at, r.Locks[0].MinCommitTS)
		if w.waits--; w.waits == 0 {
			w.phase, w.acked = over, w.at
			o.commitRest(i, 0)
		}
	}
}

func (o *orders) prewrittenOne(i int, r *mvcc.Result) {
	w := &o.owners[i]
	if r.CommitTS != 0 {
		w.phase, w.acked = over, r.CommitTS
		o.commitRest(i, 0)
		return
	}
	w.twoPhase = w.twoPhase || !r.Async
	w.at = max(w.at, r.MinCommitTS)
	if w.waits--; w.waits > 0 {
		return
	}
	w.phase = prewritten
	if !w.twoPhase {
		w.phase, w.acked = over, w.at
		o.commitRest(i, 0)
	}
}

// commitRest commits the keys from one on of a transaction that is committed.
func (o *orders) commitRest(i, from int) {
	w := &o.owners[i]
	if w.mode == mvcc.OnePhase {
		return
	}
	for _, k := range w.keys[from:] {
		o.send(-1, k, mvcc.NewCommit(w.start, w.acked, ordersKeys[k]))
	}
}

// read reads one key, unless something stands in the way.
func (o *orders) read(i, k int) bool {
	r := &o.readers[i]
	if r.read[k] || r.stuck != nil {
		return false
	}
	p := &o.parts[k]
	p.maxRead = max(p.maxRead, r.ts)
	q := &mvcc.Query{Kind: mvcc.Get, TS: r.ts, Bypass: r.bypass, Keys: []shard.Key{ordersKeys[k]}}
	a, err := q.Run(p.m, shard.Range{}, p.st)
	if err != nil {
		panic(err)
	}
	if len(a.Locks) > 0 {
		r.stuck = &a.Locks[0]
		return true
	}
	r.read[k], r.rows[k] = true, a.Rows[0]
	return true
}

// asks has the lock that stops a reader, and that is alive, pushed or resolved.
func (o *orders) asks(i int) bool {
	r := &o.readers[i]
	if r.stuck == nil {
		return false
	}
	l := *r.stuck
	r.stuck = nil
	res := o.do(at(l.Primary), &mvcc.CheckStatus{Primary: l.Primary, StartTS: l.StartTS, CallerTS: r.ts})
	switch {
	case len(res.Rejected) > 0:
	case res.Status == mvcc.StatusLocked && !res.Locks[0].Async && res.Locks[0].MinCommitTS > r.ts:
		r.bypass = append(slices.Clone(r.bypass), l.StartTS)
		slices.Sort(r.bypass)
		r.bypass = slices.Compact(r.bypass)
	case res.Status == mvcc.StatusCommitted || res.Status == mvcc.StatusRolledBack:
		o.send(-1, at(l.Key), &mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: l.StartTS, CommitTS: res.CommitTS}}, List: []shard.Key{l.Key}})
	}
	return true
}

// at is the shard of a key.
func at(k shard.Key) int { return int(k[1] - 'a') }

// lockOf is the lock of a key, if there is one.
func (o *orders) lockOf(k int) *mvcc.LockInfo {
	q := &mvcc.Query{Kind: mvcc.ScanLocks, TS: forever, Range: shard.ModeRange(shard.ModeTxn)}
	a, err := q.Run(o.parts[k].m, shard.ModeRange(shard.ModeTxn), o.parts[k].st)
	if err != nil {
		panic(err)
	}
	if len(a.Locks) == 0 {
		return nil
	}
	return &a.Locks[0]
}

// recoverKey finds out what became of the transaction that holds a key, for somebody for whom its life is over. What is to
// be done about it is sent, and may come late, or is done at once.
func (o *orders) recoverKey(k int, sent bool) bool {
	l := o.lockOf(k)
	if l == nil {
		return false
	}
	status := &mvcc.CheckStatus{Primary: l.Primary, StartTS: l.StartTS, CurrentTS: forever, RollbackMissing: true}
	r := o.do(at(l.Primary), status)
	commit := r.CommitTS
	if r.Status == mvcc.StatusLocked && len(r.Locks) > 0 && r.Locks[0].Async {
		commit = o.decideAsync(status, &r, sent)
	}
	if r.Status == mvcc.StatusLocked {
		return true
	}
	for _, to := range []int{0, 1} {
		if to != k && (r.Status != mvcc.StatusCommitted || o.lockOf(to) == nil) {
			continue // others are resolved by whoever meets them
		}
		c := &mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: l.StartTS, CommitTS: commit}}, List: []shard.Key{ordersKeys[to]}}
		if sent {
			o.send(-1, to, c)
		} else {
			o.do(to, c)
		}
	}
	return true
}

// decideAsync decides an async commit from its locks, and sets r to what it came to.
func (o *orders) decideAsync(status *mvcc.CheckStatus, r *mvcc.Result, sent bool) mvcc.Timestamp {
	primary := r.Locks[0]
	commit := primary.MinCommitTS
	for _, s := range primary.Secondaries {
		x := o.do(at(s), mvcc.NewCheckSecondaries(primary.StartTS, s))
		switch {
		case len(x.Rejected) > 0:
			return 0
		case x.Status == mvcc.StatusCommitted:
			r.Status, commit = mvcc.StatusCommitted, x.CommitTS
			return commit
		case x.Status == mvcc.StatusRolledBack:
			r.Status = mvcc.StatusRolledBack
			o.do(at(primary.Key), mvcc.NewRollback(primary.StartTS, primary.Key))
			return 0
		case len(x.Locks) > 0 && !x.Locks[0].Async:
			two := *status
			two.AsTwoPhase = true
			*r = o.do(at(primary.Key), &two)
			return r.CommitTS
		case len(x.Locks) > 0:
			commit = max(commit, x.Locks[0].MinCommitTS)
		}
	}
	r.Status = mvcc.StatusCommitted
	for _, k := range append([]shard.Key{primary.Key}, primary.Secondaries...) {
		c := &mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: primary.StartTS, CommitTS: commit}}, List: []shard.Key{k}}
		if sent && k.Compare(primary.Key) != 0 {
			o.send(-1, at(k), c)
		} else {
			o.do(at(k), c)
		}
	}
	return commit
}

var ordersSeed = maphash.MakeSeed()

// hash is of all that decides what may come.
func (o *orders) hash() uint64 {
	var h maphash.Hash
	h.SetSeed(ordersSeed)
	for i := range o.parts {
		p := &o.parts[i]
		p.m.Each(func(k shard.Key, ts mvcc.Timestamp, v []byte) {
			_, _ = h.Write(k)
			word(&h, uint64(ts))
			_, _ = h.Write(v)
		})
		word(&h, uint64(p.maxRead), p.st.Locks)
	}
	word(&h, uint64(o.clock), uint64(o.toRead), uint64(o.late), uint64(o.recover), uint64(o.keep))
	for i := range o.owners {
		w := &o.owners[i]
		word(&h, uint64(w.phase), uint64(w.start), uint64(w.at), uint64(w.waits), uint64(w.acked))
		_ = h.WriteByte(byte(len(w.keys)))
	}
	var sums []uint64 // the order in which they were sent says nothing
	for i := range o.sent {
		if o.sent[i].came > 0 && o.late == 0 {
			continue // it comes no more
		}
		var one maphash.Hash
		one.SetSeed(ordersSeed)
		p := &o.sent[i]
		_, _ = one.Write(p.body.Append(nil))
		word(&one, uint64(p.to), uint64(p.owner+1), uint64(p.came))
		if p.told {
			_ = one.WriteByte(1)
		}
		sums = append(sums, one.Sum64())
	}
	slices.Sort(sums)
	word(&h, sums...)
	for i := range o.readers {
		r := &o.readers[i]
		word(&h, uint64(r.ts), uint64(len(r.bypass)))
		for k := range r.read {
			if r.read[k] {
				word(&h, uint64(k)+1, uint64(r.rows[k].CommitTS))
			}
		}
		for _, b := range r.bypass {
			word(&h, uint64(b))
		}
		if r.stuck != nil {
			word(&h, uint64(r.stuck.StartTS), uint64(at(r.stuck.Key)))
		}
	}
	return h.Sum64()
}

func word(h *maphash.Hash, ns ...uint64) {
	for _, n := range ns {
		maphash.WriteComparable(h, n)
	}
}

// search visits every state, depth first, and returns what is wrong in the first bad one. At limit it gives up.
func (s scenario) search(limit int) (states int, err error) {
	first := s.begin()
	seen := map[uint64]struct{}{first.hash(): {}}
	for stack := []*orders{first}; len(stack) > 0; {
		o := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if err := o.check(); err != nil {
			return len(seen), fmt.Errorf("%w\n  %s", err, strings.Join(o.path, "\n  "))
		}
		if len(seen) >= limit {
			return len(seen), nil
		}
		o.next(func(n *orders) {
			h := n.hash()
			if _, ok := seen[h]; !ok {
				seen[h] = struct{}{}
				stack = append(stack, n)
			}
		})
	}
	return len(seen), nil
}
