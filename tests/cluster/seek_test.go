package cluster

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// questions are those that wait for a leader of a term after that of st.
func questions(c *Cluster, d *shard.Descriptor, lead shard.StoreID) []*call.Request {
	st := c.Status(lead, d.ID)
	return []*call.Request{
		{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch, Term: st.Term, Timeout: 10 * time.Second},
		{Kind: call.Outcome, Shard: d.ID, Op: call.OpID{Client: 9, Seq: 1}, Term: st.Term, Since: st.Applied.Index, Timeout: 10 * time.Second},
	}
}

// TestQuestionsWaitForTheNextLeader: who asks a follower because the leader of a term is silent hears of the next leader,
// and not of the silent one again; from the one that becomes it, the answer itself.
func TestQuestionsWaitForTheNextLeader(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "v")
	lead := c.Leader(d.ID)
	term := c.Status(lead, d.ID).Term
	type heard struct {
		from shard.StoreID
		kind call.Kind
		rep  call.Reply
	}
	all := make(chan heard)
	asked := questions(c, d, lead)
	c.Stop(lead)
	for _, from := range others(lead) {
		for _, req := range asked {
			go func() { all <- heard{from, req.Kind, c.Do(from, req)} }()
		}
	}
	itself := 0
	for range len(others(lead)) * len(asked) {
		h := <-all
		var nl *shard.NotLeaderError
		var never *call.NeverError
		switch {
		case h.rep.Err == nil && h.kind == call.Refresh && h.rep.Term > term, errors.As(h.rep.Err, &never):
			itself++
		case errors.As(h.rep.Err, &nl) && nl.Term > term && nl.Leader.Store != lead && nl.Leader.ID != 0:
		default:
			t.Errorf("%s answers %d, with nobody in term %d: %v, term %d", h.from, h.kind, term, h.rep.Err, h.rep.Term)
		}
	}
	if itself == 0 {
		t.Error("the next leader answered none itself")
	}
}

// TestQuestionsAboutALeaderThatLives: a leader that was silent to the asker alone is named again once its store is heard from, and
// questions that name no term, or an earlier one, are answered at once.
func TestQuestionsAboutALeaderThatLives(t *testing.T) {
	// Nobody gives up for seconds, while heartbeats come within 100 ms.
	c := New(t, Options{Store: func(o *raftstore.Options) { o.ElectionTicks = 200 }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "v")
	lead := c.Leader(d.ID)
	term := c.Status(lead, d.ID).Term
	for _, req := range questions(c, d, lead) {
		for _, of := range []uint64{term, term - 1, 0} {
			req.Term = of
			begun := time.Now()
			rep := c.Do(others(lead)[0], req)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("kind %d of term %d: answered after %s", req.Kind, of, took)
			}
			var nl *shard.NotLeaderError
			if !errors.As(rep.Err, &nl) || nl.Leader.Store != lead || nl.Term != term {
				t.Errorf("kind %d of term %d: %v, want that %s leads term %d", req.Kind, of, rep.Err, lead, term)
			}
		}
	}
}

// TestQuestionsWaitBehindASplit: whoever led a shard that was split is asked about the right side before that has a leader. Nobody is sent away:
// a Refresh is answered once it leads, before its first entry is applied, and a read after that.
func TestQuestionsWaitBehindASplit(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.ElectionTicks = 200 }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "v")
	lead := c.Leader(d.ID)
	var kept keptFrames
	kept.keep(raftpb.MsgVoteResp)
	c.Net.SetFilter(func(from, _ shard.StoreID, frame []byte) bool { return from == lead || !kept.takes(from, frame) })
	right := c.Split(d.ID, "k")[1]
	answers := map[call.Kind]chan call.Reply{call.Refresh: make(chan call.Reply, 1), call.Read: make(chan call.Reply, 1)}
	c.Stores[lead].Store.Handle([]call.Ask{
		{Req: &call.Request{Kind: call.Refresh, Shard: right.ID, Epoch: right.Epoch, Timeout: 10 * time.Second}, To: replyTo(answers[call.Refresh])},
		{Req: &call.Request{Kind: call.Read, Shard: right.ID, Epoch: right.Epoch, Body: getBody("k"), Timeout: 10 * time.Second}, To: replyTo(answers[call.Read])},
	})
	// What comes after them is answered: so they were looked at, while nobody leads.
	var stale *shard.StaleEpochError
	older := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 9, Seq: 1}, "k", "x")
	if rep := c.Do(lead, older); !errors.As(rep.Err, &stale) {
		t.Errorf("a write by the old range: %v", rep.Err)
	}
	kept.keep(raftpb.MsgAppResp)
	kept.release(c.Stores[lead].Store)
	rep := <-answers[call.Refresh] // its first entry is not acknowledged
	if rep.Err != nil || rep.Term == 0 || rep.Applied == 0 {
		t.Errorf("refresh: %v, term %d, applied %d", rep.Err, rep.Term, rep.Applied)
	}
	put := make(chan call.Reply, 1)
	w := attempt(right, raftstore.ReplicaStatus{Term: rep.Term, Applied: shard.Applied{Index: rep.Applied}}, call.OpID{Client: 9, Seq: 2}, "k1", "x")
	c.Stores[lead].Store.Handle([]call.Ask{{Req: w, To: replyTo(put)}})
	kept.keep(-1)
	kept.release(c.Stores[lead].Store)
	if rep := <-put; rep.Err != nil {
		t.Errorf("the write that names what was told: %v", rep.Err)
	}
	rep = <-answers[call.Read]
	a, err := raw.DecodeAnswer(rep.Body)
	if rep.Err != nil || err != nil || len(a.Rows) != 1 || string(a.Rows[0].Value) != "v" {
		t.Errorf("read: %v, %v", rep.Err, err)
	}
}

// keptFrames are frames on their way to a store that wait for its test.
type keptFrames struct {
	mu     sync.Mutex
	typ    raftpb.MessageType // what those carry that are kept
	frames []keptFrame
}

type keptFrame struct {
	from  shard.StoreID
	frame []byte
}

func (k *keptFrames) keep(typ raftpb.MessageType) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.typ = typ
}

func (k *keptFrames) takes(from shard.StoreID, frame []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !carries(frame, k.typ) {
		return false
	}
	k.frames = append(k.frames, keptFrame{from, slices.Clone(frame)})
	return true
}

// release lets go what was kept so far.
func (k *keptFrames) release(to *raftstore.Store) {
	k.mu.Lock()
	frames := k.frames
	k.frames = nil
	k.mu.Unlock()
	for _, f := range frames {
		to.Receive(f.from, f.frame)
	}
}

// replyTo is a Completer that passes a reply on; there must be room.
type replyTo chan call.Reply

func (to replyTo) Complete(_ uint64, rep *call.Reply) { to <- *rep }

// TestReplicaThatStartsAgainFindsASleepingLeader: without an election of its own, of which nothing leaves its store here.
func TestReplicaThatStartsAgainFindsASleepingLeader(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "v")
	lead := c.Leader(d.ID)
	c.WaitFor("sleep", func() bool { return c.Status(lead, d.ID).Asleep })
	term, again := c.Status(lead, d.ID).Term, others(lead)[0]
	c.Net.SetFilter(func(from, _ shard.StoreID, frame []byte) bool {
		return from != again || !carries(frame, raftpb.MsgPreVote) && !carries(frame, raftpb.MsgVote)
	})
	c.Stop(again)
	c.Start(again)
	if got, found, err := c.GetFrom(d, "k", again); err != nil || got != "v" {
		t.Errorf("read %q, %v: %v", got, found, err)
	}
	if now := c.Status(lead, d.ID).Term; now != term {
		t.Errorf("the leader of term %d leads term %d", term, now)
	}
}
