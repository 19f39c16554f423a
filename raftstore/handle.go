package raftstore

import (
	"context"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// Handle takes a frame's worth of calls. It answers reads under a lease on the caller's goroutine, hands everything
// else to the workers, and never blocks on a disk or on another store.
func (s *Store) Handle(asks []call.Ask) {
	if !s.enter() {
		for i := range asks {
			asks[i].To.Complete(asks[i].ID, &call.Reply{Err: s.stoppedErr()})
		}
		return
	}
	defer s.leave()
	now := s.env.Now()
	due := s.stamp(now)
	t := s.takeTray()
	defer s.keepTray(t)
	leasedBytes := 0
	for i := range asks {
		c := Call{Ask: asks[i], due: due, spent: s.startStopwatch(now)}
		if c.Req.Timeout > 0 {
			c.expire = int64(now.Add(c.Req.Timeout))
		}
		if err := s.check(&c); err != nil {
			c.refuse(now, err)
			continue
		}
		r := s.replica(c.Req.Shard)
		if r == nil {
			c.refuse(now, &shard.NotFoundError{Shard: c.Req.Shard, Store: s.id})
			continue
		}
		if c.Req.Kind == call.Read {
			s.observeRead(&c)
			r.lastRead.Store(int64(now))
			if !c.inline() {
				if err := s.hold(&c); err != nil {
					c.refuse(now, err)
					continue
				}
			}
			if v := r.leaseView(); v != nil && now < v.lease && r.caughtUp() && s.readLeased(r, v, &c, t) {
				if n := len(t.leased); n > 0 {
					leasedBytes += len(t.leased[n-1].got.Body)
				}
				if leasedBytes > maxLeasedBytes {
					s.finishLeased(t)
					leasedBytes = 0
				}
				continue
			}
			if s.readClosed(r, &c) {
				continue
			}
		}
		if err := s.hold(&c); err != nil {
			c.refuse(now, err)
			continue
		}
		t.add(r, &c)
	}
	s.finishLeased(t)
	for i, lot := range t.lots {
		if len(lot) == 0 {
			continue
		}
		if err := s.workers[i].postCalls(lot); err != nil {
			for j := range lot {
				lot[j].refuse(now, err)
			}
		}
	}
}

// check refuses what no replica could ever do, before it costs anything.
func (s *Store) check(c *Call) error {
	if s.stopped() {
		return s.stoppedErr()
	}
	switch c.Req.Kind {
	case call.Write:
		if len(c.Req.Body) > 0 && c.Req.Body[0] >= mvcc.KindPrewrite {
			return s.checkTxnWrite(c)
		}
		cmd, err := raw.DecodeCommand(c.Req.Body)
		if err != nil {
			return &shard.InvalidError{Why: "the command cannot be decoded: " + err.Error()}
		}
		if err := cmd.Check(); err != nil {
			return err
		}
		if cmd.HasTTL() && c.due == 0 {
			return shard.ErrNoFreshTime
		}
		c.grows = rawGrows(cmd)
		if c.Req.Op == (call.OpID{}) {
			return &shard.InvalidError{Why: "a write needs an op id"}
		}
	case call.Read:
		if len(c.Req.Body) > 0 && c.Req.Body[0] == mvcc.KindQuery {
			return s.checkTxnRead(c)
		}
		q, err := raw.DecodeQuery(c.Req.Body)
		if err != nil {
			return &shard.InvalidError{Why: "the query cannot be decoded: " + err.Error()}
		}
		c.query = q
		if err := q.Check(); err != nil {
			return err
		}
		q.MaxBytes = s.pageBytes(q.MaxBytes, raw.MaxPageBytes)
	case call.Barrier:
		return s.checkBarrier(c)
	case call.Outcome:
		if c.Req.Op == (call.OpID{}) {
			return &shard.InvalidError{Why: "only an attempt with an op id has an outcome; send a command of a transaction again"}
		}
	case call.Refresh:
	default:
		return &shard.InvalidError{Why: "unknown kind of request; this store may be older than the client"}
	}
	return nil
}

func (s *Store) stoppedErr() error {
	if err := s.Err(); err != nil {
		return err
	}
	return shard.ErrClosed
}

// leasedRead is a read whose value was taken under a lease; it is answered only if the lease still holds after that.
type leasedRead struct {
	call Call
	r    *replica
	v    *readView
	got  raw.Encoded
	// applied is an index that it shows everything up to.
	applied uint64
}

// readLeased takes the value of a point read, or gives a longer read to the readers. It reports false if the read
// must go to the worker after all.
func (s *Store) readLeased(r *replica, v *readView, c *Call, t *tray) bool {
	if c.Req.Epoch != v.desc.Epoch && v.desc.CheckEpoch(c.Req.Epoch, false) != nil {
		return false // the worker knows how to say so
	}
	if !r.guardNow(c) {
		return false
	}
	if !c.inline() {
		s.readers.submit(readJob{r: r, desc: v.desc, call: *c, lease: v, leader: true})
		return true
	}
	applied := r.applied.Load()
	got, needsClock, err := s.evaluate(r, c, v.desc)
	if err != nil {
		c.fail(s.readError(err))
		return true
	}
	if needsClock {
		c.clock = true
		return false
	}
	t.leased = append(t.leased, leasedRead{call: *c, r: r, v: v, got: got, applied: applied})
	return true
}

// inline reports whether a read is short enough to be evaluated on the stream handler.
func (c *Call) inline() bool {
	if c.txn != nil {
		return c.txn.query.Kind == mvcc.Get && len(c.txn.query.Keys) <= maxInlineKeys
	}
	return c.query.Kind == raw.Get && len(c.query.Keys) <= maxInlineKeys
}

// maxLeasedBytes is how many bytes of values wait for the clock to be read once for all of them.
const maxLeasedBytes = 1 << 20

// maxInlineKeys is how many keys a point read may ask for before it leaves the stream handler.
const maxInlineKeys = 16

// tray holds what a frame's calls become. Trays are used again: workers copy what they take.
type tray struct {
	leased []leasedRead
	lots   [][]Call // by worker
}

// maxTray is for how many calls of a frame room is kept.
const maxTray = 256

func (t *tray) add(r *replica, c *Call) {
	w := r.w.index
	t.lots[w] = append(t.lots[w], *c)
}

func (s *Store) takeTray() *tray {
	if t, ok := s.trays.Get().(*tray); ok {
		return t
	}
	return &tray{lots: make([][]Call, len(s.workers))}
}

func (s *Store) keepTray(t *tray) {
	if cap(t.leased) > maxTray {
		return
	}
	for i, lot := range t.lots {
		if cap(lot) > maxTray {
			return
		}
		clear(lot)
		t.lots[i] = lot[:0]
	}
	s.trays.Put(t)
}

// finishLeased reads the clock once, after the last value, and answers the reads whose lease holds: the others go to the workers.
func (s *Store) finishLeased(t *tray) {
	if len(t.leased) == 0 {
		return
	}
	now := s.env.Now()
	var rep call.Reply
	for i := range t.leased {
		l := &t.leased[i]
		if !l.r.holds(l.v, now) {
			if err := s.hold(&l.call); err != nil {
				l.call.fail(err)
				continue
			}
			t.add(l.r, &l.call)
			continue
		}
		l.r.observeServed(&l.call, l.applied, l.got.Body)
		l.call.spent.onlyRead()
		l.call.spent.stop(now)
		rep = call.Reply{Term: l.v.term, Applied: l.r.applied.Load(), Body: l.got.Body, Room: l.got.Room}
		l.call.answer(&rep)
	}
	s.metrics.leasedReads.Add(uint64(len(t.leased)))
	clear(t.leased)
	t.leased = t.leased[:0]
}

// accept takes one call on its shard's worker.
func (w *worker) accept(c *Call) {
	r := w.replica(c.Req.Shard)
	if r == nil {
		c.refuse(w.seen, &shard.NotFoundError{Shard: c.Req.Shard, Store: w.store.id})
		return
	}
	if !r.born() || r.held && !r.freezing {
		c.refuse(w.seen, &shard.NotReadyError{Shard: r.id, Why: "this replica waits for its data"})
		return
	}
	r.wakeUp(wakeRequest)
	r.findLeader()
	switch c.Req.Kind {
	case call.Write:
		if r.between() {
			r.awaitLeader(c)
			return
		}
		if err := r.admitWrite(c); err != nil {
			c.refuse(w.seen, err)
			return
		}
		if c.txn != nil && c.txn.floor && r.park(c) {
			return
		}
		r.load.write(c.Req.Body)
		if r.queueLock(c) {
			return
		}
		r.waiting = append(r.waiting, *c)
		r.mark()
	case call.Read:
		if c.clock {
			r.awaitClock(c)
			return
		}
		if !r.guardRead(c) {
			return
		}
		w.acceptLeasedOrQueued(r, c)
	case call.Barrier:
		if r.guardRead(c) {
			r.acceptRead(c)
		}
	case call.Refresh:
		r.acceptRefresh(c)
	case call.Outcome:
		r.acceptOutcome(c)
	}
}

// acceptLeasedOrQueued takes a read that comes to the worker. If a lease began meanwhile the readers take it, at once or
// when what is committed now is visible here: a lease is a confirmed round.
func (w *worker) acceptLeasedOrQueued(r *replica, c *Call) {
	if v := r.leaseView(); v != nil && w.now < v.lease && v.desc.CheckEpoch(c.Req.Epoch, false) == nil {
		if r.caughtUp() {
			w.store.readers.submit(readJob{r: r, desc: v.desc, call: *c, lease: v, leader: true})
			return
		}
		if len(r.confirmed) < maxWaitingReads {
			r.enter(c, call.StageCatchUp)
			r.confirmed = append(r.confirmed, confirmedReads{index: r.committed.Load(), calls: []Call{*c}})
			return
		}
	}
	r.acceptRead(c)
}

// acceptRefresh tells a client the term and index that its next write must name. The index is an applied one: the last
// of a leader whose tail is overwritten would be no lower bound. So is that of a leader that has not applied its first entry, behind
// which the write will stand. While there is no leader who could say so, it waits; see seek.go.
func (r *replica) acceptRefresh(c *Call) {
	if !r.seek(c) {
		r.answerRefresh(c)
	}
}

func (r *replica) answerRefresh(c *Call) {
	if !r.group.Leading() || r.group.Muted() {
		c.refuse(r.w.seen, r.notLeader())
		return
	}
	if err := r.checkEpoch(c.Req.Epoch, false); err != nil {
		c.refuse(r.w.seen, err)
		return
	}
	c.spent.stop(r.w.seen)
	c.reply(&call.Reply{Term: r.group.Term(), Applied: r.machine.Applied.Index})
}

// Do handles one request and waits for its reply. The engine of it is the same as that of a client's stream.
func (s *Store) Do(ctx context.Context, req *call.Request) call.Reply {
	d := &doing{done: s.env.NewEvent("do")}
	s.Handle([]call.Ask{{Req: req, To: d}})
	if err := d.done.Wait(ctx, 0); err != nil {
		return call.Reply{Err: shard.ErrUnavailable}
	}
	return d.rep
}

type doing struct {
	done env.Event
	rep  call.Reply
}

// Complete implements call.Completer.
func (d *doing) Complete(_ uint64, rep *call.Reply) {
	d.rep = *rep
	d.done.Wake()
}
