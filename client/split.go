package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// splitPatience bounds one question to a node for a split by size: it reads the keys of the whole shard first.
const splitPatience = 4 * attemptTimeout

// Split cuts a shard at users' keys, each of which becomes the first key of a new shard, and returns all parts in key
// order once the cut is applied where the shard is led. Keys at which a shard begins already are left out, so it may be
// asked for again without harm. It is refused with ErrInvalid for keys that are not inside the shard.
func (a *Admin) Split(ctx context.Context, id shard.ID, keys ...[]byte) ([]ShardInfo, error) {
	return a.splitKeys(ctx, id, shard.RawKey, keys)
}

// SplitTxn is Split at transactional keys.
func (a *Admin) SplitTxn(ctx context.Context, id shard.ID, keys ...[]byte) ([]ShardInfo, error) {
	return a.splitKeys(ctx, id, mvcc.Key, keys)
}

func (a *Admin) splitKeys(ctx context.Context, id shard.ID, key func([]byte) shard.Key, keys [][]byte) ([]ShardInfo, error) {
	op := fmt.Sprintf("split %s", id)
	if len(keys) == 0 {
		return nil, refuse(op, nil, ErrInvalid, "no key was given", "name the first keys of the new shards, or use SplitInto")
	}
	var at []shard.Key
	for _, k := range keys {
		if err := checkKey(op, k); err != nil {
			return nil, err
		}
		at = append(at, key(k))
	}
	slices.SortFunc(at, shard.Key.Compare)
	return a.split(ctx, op, id, slices.CompactFunc(at, func(x, y shard.Key) bool { return x.Compare(y) == 0 }), 0)
}

// SplitInto cuts a shard into so many parts of about equal size (fewer, if it holds too few keys), and returns them as
// Split does. If it returns ErrAmbiguous the shard may have been cut: look before asking again.
func (a *Admin) SplitInto(ctx context.Context, id shard.ID, parts int) ([]ShardInfo, error) {
	op := fmt.Sprintf("split %s into %d", id, parts)
	if parts < 2 {
		return nil, refuse(op, nil, ErrInvalid, fmt.Sprintf("%d parts are no split", parts), "give at least 2")
	}
	return a.split(ctx, op, id, nil, parts)
}

// split asks the leader. The request names the epoch: a shard that was cut meanwhile, by an earlier attempt of this call
// or by somebody else, refuses it, and the call goes on from what the shard is now.
func (a *Admin) split(ctx context.Context, op string, id shard.ID, at []shard.Key, into int) ([]ShardInfo, error) {
	whole, err := a.newShard(ctx, id)
	if err != nil {
		return nil, err
	}
	e := a.db.begin(ctx, op, nil)
	rt := route{desc: descOf(&whole), lead: lead{leader: whole.Leader}}
	silent := false // an attempt was not answered
	for {
		if stop := e.over(); stop != nil {
			if silent {
				return nil, e.fail(ErrAmbiguous, stop)
			}
			return nil, e.stopped(stop)
		}
		if into == 0 {
			if at, err = a.uncut(ctx, op, at, rt.desc); err != nil {
				return nil, err
			}
			if len(at) == 0 {
				return a.parts(ctx, whole.Range)
			}
			if !rt.desc.Range.Contains(at[0]) || !rt.desc.Range.Contains(at[len(at)-1]) {
				return nil, e.refuse(fmt.Sprintf("a key lies outside %s, which holds %s", id, rt.desc.Range), "`skerry ctl shard get KEY` shows the shard of a key")
			}
		}
		from := e.pick(&rt, false)
		addr, ok, stop := e.reach(from)
		if stop != nil {
			continue // the next look at the time says how it ends
		}
		if !ok {
			rt.leader = shard.Replica{}
			continue
		}
		var parts []*shard.Descriptor
		if parts, err = a.splitAt(&e, addr, &rt, from.Store, at, into); err == nil {
			a.db.routes.insert(parts, from.Store)
			return a.parts(ctx, whole.Range)
		}
		var stale *shard.StaleEpochError
		switch {
		case isRejected(err):
			return nil, e.rejected(err)
		case errors.As(err, &stale) && into > 0 && silent:
			return nil, e.fail(ErrAmbiguous, err)
		case classify(err) == unanswered:
			silent = true
		}
		_ = e.learn(&rt, from, err)
		if now, ok := a.db.routes.get(id); ok && now.desc.Epoch.Newer(rt.desc.Epoch) {
			rt.desc = now.desc
		}
	}
}

// newShardPatience is how long a shard may be unknown to placement: it hears of the parts of a split by the next heartbeat
// of their store, which may come late.
const newShardPatience = 3 * time.Second

// newShard is ShardByID for a shard that may have been made just now.
func (a *Admin) newShard(ctx context.Context, id shard.ID) (ShardInfo, error) {
	for end := a.db.env.Now().Add(newShardPatience); ; {
		s, err := a.ShardByID(ctx, id)
		if err == nil || !errors.Is(err, ErrNoShard) || a.db.env.Now() > end {
			return s, err
		}
		c, sc := a.db.scopes.enter(ctx, 0)
		err = a.db.env.Sleep(c, newShardPatience/30)
		a.db.scopes.leave(sc)
		if err != nil {
			return s, err
		}
	}
}

// uncut are the keys at which no shard begins. Of a key outside d placement is asked if the client does not know.
func (a *Admin) uncut(ctx context.Context, op string, at []shard.Key, d *shard.Descriptor) ([]shard.Key, error) {
	var out []shard.Key
	for _, k := range at {
		t := keyTarget(k)
		rt, ok := a.db.routes.find(&t)
		if begins := ok && rt.desc.Range.Start.Compare(k) == 0; begins {
			continue
		}
		if !d.Range.Contains(k) {
			r, err := a.locate(ctx, op, k, 1)
			if err != nil {
				return nil, err
			}
			if len(r.Routes) > 0 && r.Routes[0].Desc.Range.Start.Compare(k) == 0 {
				continue
			}
		}
		out = append(out, k)
	}
	return out, nil
}

func (a *Admin) splitAt(e *effort, addr string, rt *route, from shard.StoreID, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	e.attempts++
	e.shard, e.store = rt.desc.ID, from
	patience := attemptTimeout
	if into > 0 {
		patience = splitPatience
	}
	c, sc := a.db.scopes.enter(e.ctx, min(e.now.Add(patience), e.end))
	defer a.db.scopes.leave(sc)
	return a.db.conn.Split(c, addr, rt.desc.ID, rt.desc.Epoch, at, into)
}

// parts are the shards that a range lies in now, by the client's own routes: placement may not have heard of them yet.
func (a *Admin) parts(ctx context.Context, whole shard.Range) ([]ShardInfo, error) {
	var out []ShardInfo
	for from := whole.Start; ; {
		e := a.db.begin(ctx, "look up the parts of a split", from)
		t := target{first: from}
		rt, stop := e.route(&t)
		if stop != nil {
			return nil, e.stopped(stop)
		}
		s := ShardInfo{ID: rt.desc.ID, Range: rt.desc.Range, Epoch: rt.desc.Epoch, Replicas: slices.Clone(rt.desc.Replicas), Term: rt.term,
			Applied: rt.applied, Leader: rt.leader}
		s.Users, s.HasUsers = userRange(rt.desc.Range)
		out = append(out, s)
		if rt.desc.Range.CompareEnd(whole.End) >= 0 {
			return out, nil
		}
		from = rt.desc.Range.End
	}
}

func descOf(s *ShardInfo) *shard.Descriptor {
	return &shard.Descriptor{ID: s.ID, Range: s.Range, Epoch: s.Epoch, Replicas: s.Replicas}
}
