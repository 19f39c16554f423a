package linear

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/tests/cluster"
)

// client does one operation at a time. Reads go to whoever answers: the leader, or any replica as a follower read.
// Writes are sent once, and asked about when they were not answered.
type client struct {
	c      *cluster.Cluster
	routes *routes
	id     uint64
	seq    uint64
	stores int
	rnd    *rand.Rand
	hint   map[shard.ID]shard.StoreID // who led, when last heard
}

// patience is how long a client tries; then what it does not know is ambiguous.
const patience = 5 * time.Second

func (cl *client) read(key shard.Key, q *raw.Query) (raw.Answer, bool) {
	body, follower := q.Append(nil), cl.rnd.IntN(3) == 0
	for end := time.Now().Add(patience); time.Now().Before(end); {
		d := cl.routes.of(key)
		if d == nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		// A request of its own for each attempt: one that was not waited for is still the store's.
		req := &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Follower: follower, Body: body, Timeout: 300 * time.Millisecond}
		rep := cl.c.DoFor(cl.pick(d.ID, req.Follower), req, 300*time.Millisecond)
		if rep.Err == nil {
			a, err := raw.DecodeAnswer(rep.Body)
			if err != nil {
				return raw.Answer{}, false
			}
			return *a, true
		}
		cl.learn(d.ID, rep.Err)
		time.Sleep(time.Duration(1+cl.rnd.IntN(5)) * time.Millisecond)
	}
	return raw.Answer{}, false
}

// pick chooses whom to ask.
func (cl *client) pick(id shard.ID, anybody bool) shard.StoreID {
	if s := cl.hint[id]; s != 0 && !anybody {
		return s
	}
	return shard.StoreID(1 + cl.rnd.IntN(cl.stores))
}

func (cl *client) learn(id shard.ID, err error) {
	cl.routes.learn(err)
	var nl *shard.NotLeaderError
	if errors.As(err, &nl) && nl.Leader.Store != 0 && cl.rnd.IntN(4) != 0 {
		cl.hint[id] = nl.Leader.Store
		return
	}
	delete(cl.hint, id)
}

// verdict is what a client knows of its write.
type verdict uint8

const (
	executed  verdict = iota // once, with the result
	nothing                  // definitely not
	ambiguous                // perhaps
)

func (cl *client) write(key shard.Key, cmd *raw.Command) (raw.Result, verdict) {
	body := cmd.Append(nil)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		d := cl.routes.of(key)
		if d == nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		to := cl.pick(d.ID, false)
		ref := cl.c.DoFor(to, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch}, 200*time.Millisecond)
		if ref.Err != nil {
			cl.learn(d.ID, ref.Err)
			time.Sleep(time.Duration(1+cl.rnd.IntN(5)) * time.Millisecond)
			continue
		}
		cl.hint[d.ID] = to
		cl.seq++
		req := &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second, Body: body,
			Op: call.OpID{Client: cl.id, Seq: cl.seq}, Term: ref.Term, Since: ref.Applied}
		rep := cl.send(to, req)
		if rep.Err != nil && !definite(rep.Err) {
			rep = cl.outcome(d, req)
		}
		switch {
		case rep.Err == nil:
			res, err := raw.DecodeResult(rep.Body)
			if err != nil {
				return raw.Result{}, ambiguous
			}
			return res, executed
		case !definite(rep.Err):
			return raw.Result{}, ambiguous
		}
		cl.learn(d.ID, rep.Err)
		if cl.rnd.IntN(2) == 0 {
			return raw.Result{}, nothing // and so its value must never be seen
		}
	}
	return raw.Result{}, nothing
}

// definite says that nothing happened: the shard may have been split meanwhile.
func definite(err error) bool {
	var stale *shard.StaleEpochError
	return cluster.Definite(err) || errors.As(err, &stale)
}

// send makes an attempt. Sometimes the client is impatient, and asks while the attempt is under way, or even before the
// network has delivered it.
func (cl *client) send(to shard.StoreID, req *call.Request) call.Reply {
	if cl.rnd.IntN(10) == 0 {
		late := time.Duration(cl.rnd.IntN(20)) * time.Millisecond
		time.AfterFunc(late, func() { cl.c.DoFor(to, req, 100*time.Millisecond) })
		return call.Reply{Err: shard.ErrUnavailable}
	}
	return cl.c.DoFor(to, req, time.Duration(1+cl.rnd.IntN(600))*time.Millisecond)
}

// outcome asks around what became of an attempt.
func (cl *client) outcome(d *shard.Descriptor, req *call.Request) call.Reply {
	ask := &call.Request{Kind: call.Outcome, Shard: d.ID, Op: req.Op, Term: req.Term, Since: req.Since, Timeout: 300 * time.Millisecond}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		rep := cl.c.DoFor(cl.pick(d.ID, false), ask, 300*time.Millisecond)
		var never *call.NeverError
		var amb *shard.AmbiguousError
		var stale *shard.StaleEpochError // the attempt's own result: the question itself names no epoch
		if rep.Err == nil || errors.As(rep.Err, &never) || errors.As(rep.Err, &amb) || errors.As(rep.Err, &stale) {
			return rep
		}
		cl.learn(d.ID, rep.Err)
	}
	return call.Reply{Err: &shard.AmbiguousError{Shard: d.ID, Why: "nobody knows"}}
}
