package raftstore

import (
	"errors"
	"sync"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// readJob is a read that runs on a reader goroutine: a scan, or a read that had to wait for a round, an index or the
// clock.
type readJob struct {
	r    *replica
	desc *shard.Descriptor
	call Call
	// lease is the view under which the read may be answered; nil if its index was confirmed instead.
	lease  *readView
	leader bool
	closed bool // the replica is closed up to its timestamp, see closed.go
}

// readers evaluates reads off the workers and off the stream handlers. A goroutine exists only while there is work,
// at most maxReaders of them.
type readers struct {
	store *Store
	mu    sync.Mutex
	queue []readJob
	live  int
}

// maxQueuedReads bounds the reads that wait for a reader; more than that is minutes of work.
const maxQueuedReads = 64 << 10

// submit queues a job. Its callers stand between enter and leave, or on a goroutine of the store's own.
func (p *readers) submit(j readJob) {
	p.mu.Lock()
	full := len(p.queue) >= maxQueuedReads
	start := !full && p.live < maxReaders
	if start {
		p.live++
	}
	if !full {
		p.queue = append(p.queue, j)
	}
	p.mu.Unlock()
	if full {
		j.call.fail(&shard.ServerBusyError{Store: p.store.id, Why: "too many reads wait", Wait: busyWait})
	}
	if start {
		// Not goTask: a job that was taken is answered, also while the store is closing.
		p.store.tasks.Add()
		p.store.env.Go("reader", func() {
			defer p.store.tasks.Done()
			p.run()
		})
	}
}

// run evaluates until the queue is empty.
func (p *readers) run() {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.live--
			p.queue = nil
			p.mu.Unlock()
			return
		}
		j := p.queue[0]
		p.queue = p.queue[1:]
		p.mu.Unlock()
		p.store.runRead(&j)
	}
}

// runRead evaluates one read and checks afterwards that the replica still was what the read took it for.
func (s *Store) runRead(j *readJob) {
	c := &j.call
	now := s.env.Now()
	c.spent.enter(call.StageRead, now)
	if c.expire != 0 && now > env.Time(c.expire) {
		c.fail(shard.ErrUnavailable)
		return
	}
	if err := s.checkEpoch(j.desc, c.Req.Epoch, false); err != nil {
		c.fail(err)
		return
	}
	if !s.hasRoom(c) {
		c.fail(s.noMemory(budget.Replies))
		return
	}
	applied := j.r.applied.Load()
	got, needsClock, err := s.evaluate(j.r, c, j.desc)
	body := got.Body
	c.holdAnswer(body)
	switch {
	case err != nil:
		c.fail(s.readError(err))
	case needsClock && !j.leader:
		c.fail(&shard.NotLeaderError{Shard: j.r.id}) // rule 10: a follower that meets a due key passes the read on
	case needsClock:
		c.clock = true
		j.r.w.again(*c)
	case j.lease != nil && !j.r.holds(j.lease, s.env.Now()), j.r.desc.Load() != j.desc:
		// What was read may be old or gone. Ask again by the worker, which leads, waits, or knows who does.
		j.r.w.again(*c)
	case j.closed:
		s.metrics.closedReads.Add(1)
		j.r.observeAnswered(c, body)
		replyOrPark(c, &call.Reply{Body: body, Room: got.Room})
	case !j.leader:
		j.r.observeServed(c, applied, body)
		replyOrPark(c, &call.Reply{Body: body, Room: got.Room})
	default:
		rep := &call.Reply{Applied: j.r.applied.Load(), Body: body, Room: got.Room}
		if v := j.r.view.Load(); v != nil {
			rep.Term = v.term
		}
		j.r.observeServed(c, applied, body)
		replyOrPark(c, rep)
	}
}

// readError tells a refusal, which is the caller's, from a failing disk, which is ours.
func (s *Store) readError(err error) error {
	if isRefusal(err) {
		return err
	}
	s.broken("read", err)
	return &shard.BrokenError{Store: s.id, Why: err.Error()}
}

// evaluateView runs a query against one consistent view. The shard's time is that of the same view, so that keys which
// expire together are seen together.
func (s *Store) evaluateView(r *replica, q *raw.Query, desc *shard.Descriptor, due shard.Millis) (got raw.Encoded, needsClock bool, err error) {
	at, now := r.moment.now(), r.readTime(due)
	rd := s.engine.NewReader()
	defer rd.Close()
	if !r.moment.still(at) {
		a, _, err := rd.Applied(r.id)
		if err != nil {
			return raw.Encoded{}, false, err
		}
		if now = a.Time; bug.ExpiryByLocalClock.On() {
			now = max(now, due)
		}
	}
	rng := desc.Range
	if bug.ScanNotClamped.On() && q.Kind == raw.Scan {
		rng = shard.ModeRange(shard.ModeRaw)
	}
	return q.RunEncoded(rd, rng, now, due, &buffer.Frames)
}

// isRefusal tells an answer to a query from a failure of the engine.
func isRefusal(err error) bool {
	var invalid *shard.InvalidError
	var outside *shard.KeyNotInShardError
	return errors.As(err, &invalid) || errors.As(err, &outside)
}
