package sim

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// maxHeard is how many commands an echo remembers.
const maxHeard = 256

// echo is on a machine of its own, and sends commands of transactions that took effect once more: at once, or long after, as
// a network does that held them back. (One that was refused may take effect when it comes again; but no network delivers again
// what was answered, and its client, which has gone on, does not send it.) It also asks about transactions, in the protocol's words, what nobody would ask at
// that moment. Nothing of that may change what became of a transaction (rule T7); whether it does is for the monitors to say.
type echo struct {
	c       *cluster
	machine *world.Machine
	host    *simnet.Host
	env     env.Env
	conn    client.Conn
	db      *client.DB
	shards  []client.ShardInfo // as placement knew them some time ago
	addrs   map[shard.StoreID]string
	heard   []mvcc.Command
	next    int            // the one that is forgotten next
	begun   *mvcc.Prewrite // that was just heard of, to be asked about at once; nil: none
	written shard.Key      // was just committed, and is to be read at once; nil: none
	wake    env.Event
}

// listen starts the echo of a world that has one.
func (c *cluster) listen(until time.Duration) {
	if c.knobs.Echo == 0 || c.knobs.Txns == 0 {
		return
	}
	x := &echo{c: c, machine: c.w.NewMachine("echo")}
	x.env, x.host = x.machine.Env(), c.net.Host(x.machine, "echo")
	x.conn, x.wake = x.host.Conn(), x.env.NewEvent("echo")
	c.echo = x
	over := func() bool { return c.calm || c.w.Now() >= until }
	x.env.Go("echo", func() {
		if x.db = c.openDB(x.machine, x.host, over); x.db == nil {
			return
		}
		for !over() {
			_ = x.wake.Wait(context.Background(), c.w.Between(c.knobs.Echo/4, c.knobs.Echo))
			ctx, cancel := x.env.WithTimeout(context.Background(), 2*time.Second)
			switch p := x.begun; {
			case p != nil:
				x.begun = nil
				x.askAtOnce(ctx, p)
			case x.written != nil:
				x.lookNow(ctx)
				x.written = nil
			default:
				x.act(ctx)
			}
			cancel()
		}
		_ = x.db.Close()
	})
}

// hear remembers a command that was executed. body is lent.
func (x *echo) hear(body []byte) {
	if x == nil || body[0] == mvcc.KindGC {
		return
	}
	c, err := mvcc.Decode(bytes.Clone(body))
	if err != nil {
		return
	}
	x.notice(c)
	if len(x.heard) < maxHeard {
		x.heard = append(x.heard, c)
		return
	}
	x.heard[x.next] = c
	x.next = (x.next + 1) % maxHeard
}

// notice has the echo act at once on some of the commands that take locks, and on most that commit without any: a replica
// that has not applied one of those has nothing that stops a reader.
func (x *echo) notice(c mvcc.Command) {
	p, ok := c.(*mvcc.Prewrite)
	_, adds := c.(*mvcc.Add)
	switch {
	case ok && len(p.Secondaries) > 0 && x.c.w.Chance(0.6), ok && p.Mode != mvcc.OnePhase && x.c.w.Chance(0.2):
		x.begun = p
	case (ok && p.Mode == mvcc.OnePhase || adds) && x.c.w.Chance(0.6):
		c.Keys(func(k shard.Key) { x.written = k })
	default:
		return
	}
	x.wake.Wake()
}

func (x *echo) act(ctx context.Context) {
	if len(x.heard) == 0 {
		return
	}
	c := x.heard[x.c.w.IntN(len(x.heard))]
	if x.c.w.Chance(0.3) { // one of the last
		c = x.heard[(x.next+len(x.heard)-1-x.c.w.IntN(min(8, len(x.heard))))%len(x.heard)]
	}
	p, isPrewrite := c.(*mvcc.Prewrite)
	switch n := x.c.w.IntN(10); {
	case n < 2:
		x.askChanges(ctx)
	case n < 5 || !isPrewrite:
		x.send(ctx, c)
	case n < 6:
		x.send(ctx, &mvcc.Heartbeat{Primary: p.Primary, StartTS: p.StartTS, TTLMillis: p.TTLMillis})
	case n < 8:
		x.askStatus(ctx, p)
	default:
		x.askSecondary(p)
	}
}

// askAtOnce asks about a transaction whose first locks were just taken.
func (x *echo) askAtOnce(ctx context.Context, p *mvcc.Prewrite) {
	if len(p.Secondaries) > 0 && x.c.w.Chance(0.8) {
		x.askSecondary(p) // whose prewrites may be under way
		return
	}
	x.askStatus(ctx, p)
}

// askStatus asks any of a transaction's keys what became of it, as if it were the primary.
func (x *echo) askStatus(ctx context.Context, p *mvcc.Prewrite) {
	k := p.Mutations[x.c.w.IntN(len(p.Mutations))].Key
	x.send(ctx, &mvcc.CheckStatus{Primary: k, StartTS: p.StartTS})
}

// askSecondary asks one of the other keys of an async commit whether it is locked, until there is an answer, be its prewrite
// under way or not. Once the transaction is rolled back, the prewrite comes as well: of a client that died before its first
// one was sent, or that is slow.
func (x *echo) askSecondary(p *mvcc.Prewrite) {
	if len(p.Secondaries) == 0 {
		return
	}
	k := p.Secondaries[x.c.w.IntN(len(p.Secondaries))]
	x.env.Go("ask", func() {
		ctx, cancel := x.env.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		for !x.send(ctx, mvcc.NewCheckSecondaries(p.StartTS, k)) {
			if x.env.Sleep(ctx, x.c.w.Between(0, 40*time.Millisecond)) != nil {
				return
			}
		}
		if t := x.c.monitors.tx.txn(p.StartTS); !t.decided || t.commit != 0 {
			return
		}
		x.send(ctx, &mvcc.Prewrite{Mode: mvcc.Async, StartTS: p.StartTS, ForUpdateTS: p.ForUpdateTS, MaxCommitTS: p.MaxCommitTS, TTLMillis: p.TTLMillis,
			Primary: p.Primary, Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: k, Value: []byte("late")}}})
	})
}

// send has the leader execute a command, if all of its keys lie in one shard, and reports whether it did.
func (x *echo) send(ctx context.Context, c mvcc.Command) bool {
	var keys []shard.Key
	c.Keys(func(k shard.Key) { keys = append(keys, k) })
	span := c.Span()
	if len(keys) == 0 {
		keys = append(keys, span.Start)
	}
	s, to, ok := x.leader(ctx, keys[0])
	if !ok || !s.Range.ContainsRange(span) && !span.Empty() || slices.ContainsFunc(keys, func(k shard.Key) bool { return !s.Range.Contains(k) }) {
		return false
	}
	rep := x.conn.Call(ctx, to, s.Leader.Store, &call.Request{Kind: call.Write, Shard: s.ID, Epoch: s.Epoch, Timeout: time.Second, Body: c.Append(nil)})
	x.machine.Log("%T of %s once more: %v", c, keys[0], rep.Err)
	if rep.Err != nil {
		x.shards = nil
		return false
	}
	x.c.faults["echo"]++
	return true
}

// leader finds who leads the shard of a key.
func (x *echo) leader(ctx context.Context, k shard.Key) (s client.ShardInfo, addr string, ok bool) {
	if x.shards == nil {
		if err := x.learn(ctx); err != nil {
			x.machine.Log("routes: %v", err)
			return s, "", false
		}
	}
	i := slices.IndexFunc(x.shards, func(s client.ShardInfo) bool { return s.Range.Contains(k) })
	if i < 0 {
		return s, "", false
	}
	s = x.shards[i]
	if addr = x.addrs[s.Leader.Store]; addr == "" {
		x.shards = nil // the leader, or its store, was not known
	}
	return s, addr, addr != ""
}

func (x *echo) learn(ctx context.Context) error {
	stores, err := x.db.Admin().Stores(ctx)
	if err != nil {
		return err
	}
	x.addrs = make(map[shard.StoreID]string)
	for _, s := range stores {
		x.addrs[s.ID] = s.Addr
	}
	x.shards = nil
	for s, err := range x.db.Admin().Shards(ctx) {
		if err != nil {
			return err
		}
		x.shards = append(x.shards, s)
	}
	return nil
}

// askChanges asks a shard for a short page of the changes since some command that was heard, as a watcher does that has
// little room.
func (x *echo) askChanges(ctx context.Context) {
	p, ok := x.heard[x.c.w.IntN(len(x.heard))].(*mvcc.Prewrite)
	if !ok {
		return
	}
	now, err := x.db.Timestamp(ctx)
	if err != nil {
		return
	}
	s, to, ok := x.leader(ctx, p.Primary)
	if !ok {
		return
	}
	q := &mvcc.Query{Kind: mvcc.Changes, TS: now, Range: s.Range.Intersect(shard.ModeRange(shard.ModeTxn)), After: p.StartTS - 1, Limit: 1 + x.c.w.IntN(3)}
	rep := x.conn.Call(ctx, to, s.Leader.Store, &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Timeout: time.Second, Body: q.Append(nil)})
	x.machine.Log("at most %d changes of %s after %d: %v", q.Limit, s.ID, q.After, rep.Err)
	if rep.Err != nil {
		x.shards = nil
	}
}

// lookNow reads a key that was just written on a follower, as of this moment: several readers, one shortly after the other,
// so that what the first one is told by the leader is there for the others, and is not yet applied.
func (x *echo) lookNow(ctx context.Context) {
	k := x.written
	now, err := x.db.Timestamp(ctx)
	if err != nil {
		return
	}
	s, _, ok := x.leader(ctx, k)
	if !ok || len(s.Replicas) < 2 {
		return
	}
	followers := slices.DeleteFunc(slices.Clone(s.Replicas), func(r shard.Replica) bool { return r.ID == s.Leader.ID })
	r := followers[x.c.w.IntN(len(followers))]
	q := &mvcc.Query{Kind: mvcc.Get, TS: now, Keys: []shard.Key{k}}
	for range 5 {
		after := x.c.w.Between(0, 2*x.c.knobs.SyncTime+4*x.c.knobs.Net.Latency)
		x.env.Go("look", func() {
			ctx, cancel := x.env.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = x.env.Sleep(ctx, after)
			rep := x.conn.Call(ctx, x.addrs[r.Store], r.Store, &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Follower: true, Timeout: time.Second, Body: q.Append(nil)})
			x.machine.Log("reads %s at %d on %s: %v", k, now, r, rep.Err)
		})
	}
}
