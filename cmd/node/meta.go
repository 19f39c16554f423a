package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// metaStore is shard 1 for placement, by way of this member's own store: only a leader needs it, so nothing is asked
// of other members.
type metaStore struct {
	env    env.Env
	store  *raftstore.Store
	client uint64
	seq    atomic.Uint64
}

// metaEpoch is what requests to shard 1 name: its range never changes, and no request depends on its members.
var metaEpoch = shard.Epoch{ConfVer: 1, Version: 1}

// metaTimeout bounds one request to shard 1, askTimeout how long its outcome is asked for.
const (
	metaTimeout = 5 * time.Second
	askAgain    = 20 * time.Millisecond
)

// Commit executes a command at most once: one attempt, which is asked about if it was not answered. It is not tried
// again here: placement loads again first.
func (m *metaStore) Commit(ctx context.Context, cmd *raw.Command) (raw.Result, error) {
	ref := m.store.Do(ctx, &call.Request{Kind: call.Refresh, Shard: shard.MetaID, Epoch: metaEpoch})
	if ref.Err != nil {
		return raw.Result{}, ref.Err
	}
	req := &call.Request{Kind: call.Write, Shard: shard.MetaID, Epoch: metaEpoch, Timeout: metaTimeout,
		Op: call.OpID{Client: m.client, Seq: m.seq.Add(1)}, Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}
	rep := m.store.Do(ctx, req)
	if errors.Is(rep.Err, shard.ErrUnavailable) {
		rep = m.outcome(ctx, req)
	}
	if rep.Err != nil {
		return raw.Result{}, rep.Err
	}
	return raw.DecodeResult(rep.Body)
}

// outcome asks this store what became of an attempt. If it does not lead any more, another leader's placement goes on
// from what is in the records, so ambiguity is the right answer here.
func (m *metaStore) outcome(ctx context.Context, req *call.Request) call.Reply {
	ask := &call.Request{Kind: call.Outcome, Shard: shard.MetaID, Op: req.Op, Term: req.Term, Since: req.Since, Timeout: metaTimeout}
	for {
		rep := m.store.Do(ctx, ask)
		var not *shard.NotReadyError
		if !errors.As(rep.Err, &not) && !errors.Is(rep.Err, shard.ErrUnavailable) {
			var nl *shard.NotLeaderError
			if errors.As(rep.Err, &nl) {
				rep.Err = &shard.AmbiguousError{Shard: shard.MetaID, Why: "leadership of placement was lost"}
			}
			return rep
		}
		if m.env.Sleep(ctx, askAgain) != nil {
			return call.Reply{Err: &shard.AmbiguousError{Shard: shard.MetaID, Why: ctx.Err().Error()}}
		}
	}
}

// Read is linearizable.
func (m *metaStore) Read(ctx context.Context, q *raw.Query) (raw.Answer, error) {
	rep := m.store.Do(ctx, &call.Request{Kind: call.Read, Shard: shard.MetaID, Epoch: metaEpoch, Timeout: metaTimeout, Body: q.Append(nil)})
	if rep.Err != nil {
		return raw.Answer{}, rep.Err
	}
	a, err := raw.DecodeAnswer(rep.Body)
	if err != nil {
		return raw.Answer{}, err
	}
	return *a, nil
}

// Leading returns the term that this member leads, 0 if it does not.
func (m *metaStore) Leading() uint64 { return m.store.Leading(shard.MetaID) }

// Confirm proves it: by the lease, or by a round.
func (m *metaStore) Confirm(ctx context.Context) (uint64, error) {
	if term := m.store.Lease(shard.MetaID); term != 0 {
		return term, nil
	}
	rep := m.store.Do(ctx, &call.Request{Kind: call.Barrier, Shard: shard.MetaID, Timeout: metaTimeout})
	return rep.Term, rep.Err
}

// Leader is the member that leads, as far as this one knows.
func (m *metaStore) Leader() shard.Replica { return m.store.Leader(shard.MetaID) }

// Active are the members that have acknowledged something to this leader, itself included.
func (m *metaStore) Active(ctx context.Context) []shard.StoreID {
	sts, err := m.store.Status(ctx, shard.MetaID)
	if err != nil || len(sts) == 0 || !sts[0].Leading {
		return nil
	}
	out := []shard.StoreID{m.store.ID()}
	for _, f := range sts[0].Followers {
		if r, ok := sts[0].Desc.Replica(f.Replica); ok && f.Match > 0 && r.Store != m.store.ID() {
			out = append(out, r.Store)
		}
	}
	return out
}

// Descriptor is shard 1 as this member has it.
func (m *metaStore) Descriptor() *shard.Descriptor {
	d, err := m.store.Descriptor(shard.MetaID)
	if err != nil {
		return &shard.Descriptor{ID: shard.MetaID}
	}
	return d
}

// Live reports whether another member is heard.
func (m *metaStore) Live(id shard.StoreID) bool { return m.store.Live(id) }

// Change does one step of membership.
func (m *metaStore) Change(ctx context.Context, epoch shard.Epoch, c shard.Change) error {
	ctx, cancel := m.env.WithTimeout(ctx, metaTimeout)
	defer cancel()
	return m.store.Change(ctx, shard.MetaID, epoch, c)
}

// TransferLeader begins to hand over.
func (m *metaStore) TransferLeader(ctx context.Context, to shard.StoreID) error {
	ctx, cancel := m.env.WithTimeout(ctx, metaTimeout)
	defer cancel()
	return m.store.TransferLeader(ctx, shard.MetaID, to)
}
