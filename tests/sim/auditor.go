package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/tests/history"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// auditor is somebody on a machine of his own who asks the cluster questions: what the world needs to know for its
// nemeses, and for the checks at the end.
type auditor struct {
	c    *cluster
	m    *world.Machine
	env  env.Env
	host *simnet.Host
	conn client.Conn
	db   *client.DB
}

func (c *cluster) newAuditor() *auditor {
	m := c.w.NewMachine("audit")
	h := c.net.Host(m, "audit")
	return &auditor{c: c, m: m, env: m.Env(), host: h, conn: h.Conn()}
}

// do runs f as a task of the auditor and waits for its end, at most for a time.
func (a *auditor) do(what string, limit time.Duration, f func(ctx context.Context) error) error {
	done, err, over := false, error(nil), false
	ctx, cancel := a.env.WithTimeout(context.Background(), limit)
	defer cancel()
	a.env.Go("audit", func() {
		if err = a.open(ctx); err == nil {
			err = f(ctx)
		}
		done = true
	})
	for end := a.c.w.Now() + limit + 5*time.Second; !done && !over; {
		_ = a.c.env.Sleep(context.Background(), 20*time.Millisecond)
		over = a.c.w.Now() > end
	}
	if (over || err != nil) && what != "a description" {
		a.describe()
	}
	if over {
		return fmt.Errorf("liveness: %s did not end within %s", what, limit)
	}
	if err != nil {
		return fmt.Errorf("liveness: %s: %w", what, err)
	}
	return nil
}

// shards are all of the users' shards as placement knows them; they must cover the keyspace without gap or overlap.
func (a *auditor) shards(ctx context.Context) ([]client.ShardInfo, error) {
	var out []client.ShardInfo
	for s, err := range a.db.Admin().Shards(ctx) {
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y client.ShardInfo) int { return slices.Compare(x.Range.Start, y.Range.Start) })
	for i, s := range out {
		if i > 0 && !slices.Equal(out[i-1].Range.End, s.Range.Start) {
			return nil, fmt.Errorf("the routes have a gap or an overlap between %s %s and %s %s", out[i-1].ID, out[i-1].Range, s.ID, s.Range)
		}
	}
	if len(out) == 0 || len(out[len(out)-1].Range.End) != 0 && !slices.Equal(out[len(out)-1].Range.End, shard.ModeRange(shard.ModeRaw).End) {
		return nil, fmt.Errorf("the routes do not reach the end of the keyspace")
	}
	return out, nil
}

// addrOf finds where a store listens.
func (a *auditor) addrOf(ctx context.Context) (map[shard.StoreID]string, error) {
	stores, err := a.db.Admin().Stores(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[shard.StoreID]string)
	for _, s := range stores {
		if s.State != "removed" {
			out[s.ID] = s.Addr
		}
	}
	return out, nil
}

// settled waits until every shard has a leader, three voters on live stores and nothing half done.
func (a *auditor) settled(ctx context.Context) error {
	var last error
	for ctx.Err() == nil {
		if last = a.unsettled(ctx); last == nil {
			return nil
		}
		_ = a.env.Sleep(ctx, 200*time.Millisecond)
	}
	return last
}

func (a *auditor) unsettled(ctx context.Context) error {
	shards, err := a.shards(ctx)
	if err != nil {
		return err
	}
	addrs, err := a.addrOf(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if len(s.Replicas) != a.c.knobs.replicas() {
			return fmt.Errorf("%s has replicas %v", s.ID, s.Replicas)
		}
		if s.Leader.ID == 0 {
			return fmt.Errorf("%s has no leader", s.ID)
		}
		for _, r := range s.Replicas {
			if r.Role != shard.Voter {
				return fmt.Errorf("%s of %s is %s", r.ID, s.ID, r.Role)
			}
			if addrs[r.Store] == "" {
				return fmt.Errorf("%s of %s is on %s, which is gone", r.ID, s.ID, r.Store)
			}
		}
	}
	return nil
}

// sameReplicas compares the checksums of all replicas of every shard. Keys expire between one replica's answer and the
// next one's, so a difference counts only if it stays.
func (a *auditor) sameReplicas(ctx context.Context) error {
	begun := a.c.w.Now()
	for {
		differs, err := a.compare(ctx)
		if err != nil || differs == "" {
			return err
		}
		if a.c.w.Now() > begun+longestTTL+20*time.Second {
			a.c.monitors.violated("replicas", "%s", differs)
			return nil
		}
		_ = a.env.Sleep(ctx, time.Second)
	}
}

// compare says how two replicas differ, if any do.
func (a *auditor) compare(ctx context.Context) (differs string, err error) {
	shards, err := a.shards(ctx)
	if err != nil {
		return "", err
	}
	addrs, err := a.addrOf(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range shards {
		var first sums
		for i, r := range s.Replicas {
			sum, err := a.sums(ctx, addrs[r.Store], r.Store, &s)
			var stale *shard.StaleEpochError
			if errors.As(err, &stale) { // a split that nobody waited for any more
				return fmt.Sprintf("placement knows %s by epoch %s, %s has %v", s.ID, s.Epoch, r.Store, stale.Current), nil
			}
			var gone *shard.NotFoundError
			if errors.As(err, &gone) { // moved meanwhile
				return fmt.Sprintf("placement knows %s on %s, which has none", s.ID, r.Store), nil
			}
			if err != nil {
				return "", fmt.Errorf("checksum of %s on %s: %w", s.ID, r.Store, err)
			}
			if i == 0 {
				first = sum
			} else if sum != first {
				return fmt.Sprintf("%s differs: %+v on %s, %+v on %s", s.ID, first, s.Replicas[0].Store, sum, r.Store), nil
			}
		}
	}
	return "", nil
}

// sums are the checksums of a replica.
type sums struct {
	raw raw.Sum
	txn mvcc.Sum
}

func (a *auditor) sums(ctx context.Context, addr string, store shard.StoreID, s *client.ShardInfo) (sums, error) {
	r, err := a.checksum(ctx, addr, store, s)
	if err != nil {
		return sums{}, err
	}
	t, err := a.txnSum(ctx, addr, store, s)
	return sums{r, t}, err
}

// checksum asks one replica, as a follower read, so that it has applied what is committed.
func (a *auditor) checksum(ctx context.Context, addr string, store shard.StoreID, s *client.ShardInfo) (raw.Sum, error) {
	part := s.Range.Intersect(shard.ModeRange(shard.ModeRaw))
	if part.Empty() {
		return raw.Sum{}, nil // no users' keys
	}
	q := &raw.Query{Kind: raw.Checksum, Range: part}
	req := &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Follower: true, Timeout: 2 * time.Second, Body: q.Append(nil)}
	var last error
	for ctx.Err() == nil {
		one, cancel := a.env.WithTimeout(ctx, 3*time.Second)
		rep := a.conn.Call(one, addr, store, req)
		cancel()
		if last = rep.Err; last == nil {
			ans, err := raw.DecodeAnswer(rep.Body)
			if err != nil {
				return raw.Sum{}, err
			}
			return ans.Sum, nil
		}
		var stale *shard.StaleEpochError
		var gone *shard.NotFoundError
		if errors.As(last, &stale) || errors.As(last, &gone) {
			return raw.Sum{}, last
		}
		_ = a.env.Sleep(ctx, 50*time.Millisecond)
	}
	return raw.Sum{}, last
}

// asleep waits until every replica of users' shards sleeps: nobody asks anything any more.
func (a *auditor) asleep(ctx context.Context) error {
	var last error
	for ctx.Err() == nil {
		if last = a.awake(ctx); last == nil {
			return nil
		}
		_ = a.env.Sleep(ctx, time.Second)
	}
	return last
}

func (a *auditor) awake(ctx context.Context) error {
	for _, s := range a.c.servers {
		infos, err := a.conn.Replicas(ctx, s.addr, 0)
		if err != nil {
			return err
		}
		for _, i := range infos {
			if i.Desc != nil && i.Desc.ID != shard.MetaID && !i.Asleep {
				return fmt.Errorf("%s of %s is awake", i.Desc.ID, s)
			}
		}
	}
	return nil
}

// readAll reads every group that was ever written, into the history.
func (a *auditor) readAll(ctx context.Context) error {
	c := a.c
	for slot := range c.knobs.Groups {
		for g := 0; g <= c.slots[slot].generation; g++ {
			in := history.Input{Group: g*maxSlots + slot, Kind: history.Scan}
			begun := c.tick()
			var out history.Output
			for kv, err := range a.db.Scan(ctx, client.Prefix(groupPrefix(in.Group))) {
				if err != nil {
					return fmt.Errorf("read group %d at the end: %w", in.Group, err)
				}
				out.Values[kv.Key[len(kv.Key)-1]-'0'] = string(kv.Value)
			}
			c.ops = append(c.ops, porcupine.Operation{ClientId: 0, Input: in, Output: out, Call: begun, Return: c.tick()})
		}
	}
	return nil
}

// describe writes to the trace what every replica says of itself, for whoever reads a failure.
func (a *auditor) describe() {
	for _, s := range a.c.servers {
		if s.up() {
			a.m.Log("%s: %v", s, s.machine.Waiting())
		}
	}
	_ = a.do("a description", 20*time.Second, func(ctx context.Context) error {
		for _, s := range a.c.servers {
			one, cancel := a.env.WithTimeout(ctx, 2*time.Second)
			infos, err := a.conn.Replicas(one, s.addr, 0)
			cancel()
			if err != nil {
				a.m.Log("%s: %v", s, err)
				continue
			}
			for _, i := range infos {
				a.m.Log("%s %s %s: leader %s leading %v asleep %v term %d applied %d committed %d last %d truncated %d desc %s followers %+v",
					s, i.Store, i.Replica, i.Leader.ID, i.Leading, i.Asleep, i.Term, i.Applied, i.Committed, i.Last, i.Truncated, i.Desc, i.Followers)
			}
		}
		return nil
	})
}
