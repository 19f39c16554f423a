package cluster

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
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
