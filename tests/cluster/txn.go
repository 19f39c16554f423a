package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Oracle hands out timestamps as placement does: even, increasing, of the machine's clock.
type Oracle struct {
	mu   sync.Mutex
	last mvcc.Timestamp
}

// Next is a fresh timestamp.
func (o *Oracle) Next() mvcc.Timestamp { return o.Reserve(1) }

// Reserve is the first of n fresh timestamps in a row.
func (o *Oracle) Reserve(n int) mvcc.Timestamp {
	now := mvcc.AtMillis(shard.Millis(time.Now().UnixMilli()) - 1)
	o.mu.Lock()
	defer o.mu.Unlock()
	first := max(o.last+2, (now+1)&^1)
	o.last = first + 2*mvcc.Timestamp(n-1)
	return first
}

// Timestamp implements raftstore.Timestamps.
func (o *Oracle) Timestamp(context.Context) (uint64, error) { return uint64(o.Next()), nil }

// Into is an Options.Store.
func (o *Oracle) Into(so *raftstore.Options) { so.Timestamps = o }

// Txns sends commands and queries of transactions to whoever they belong to, again and again, as rule T7 allows.
type Txns struct {
	C *Cluster
	*Oracle

	mu     sync.Mutex
	shards *shard.Map
	leads  map[shard.ID]shard.StoreID
}

// NewTxns makes a sender that knows some shards.
func NewTxns(c *Cluster, o *Oracle, ds ...*shard.Descriptor) *Txns {
	x := &Txns{C: c, Oracle: o, shards: shard.NewMap(), leads: map[shard.ID]shard.StoreID{}}
	for _, d := range ds {
		x.shards.Insert(d)
	}
	return x
}

// Of is the shard that holds a key, as far as is known.
func (x *Txns) Of(k shard.Key) *shard.Descriptor {
	x.mu.Lock()
	defer x.mu.Unlock()
	d, ok := x.shards.Lookup(k)
	if ok {
		return d
	}
	// A split told of one side only: look at what is there.
	for i := 1; i <= len(x.C.Stores); i++ {
		if all, err := x.C.StatusOf(context.Background(), shard.StoreID(i)); err == nil {
			for _, st := range all {
				if st.Desc != nil {
					x.shards.Insert(st.Desc)
				}
			}
		}
	}
	d, _ = x.shards.Lookup(k)
	return d
}

func (x *Txns) learn(id shard.ID, from shard.StoreID, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var stale *shard.StaleEpochError
	var nl *shard.NotLeaderError
	switch {
	case err == nil:
		x.leads[id] = from
		return
	case errors.As(err, &stale):
		for _, d := range stale.Current {
			x.shards.Insert(d)
		}
	case errors.As(err, &nl):
		if nl.Leader.Store != 0 {
			x.leads[id] = nl.Leader.Store
			return
		}
	}
	x.leads[id] = from%shard.StoreID(len(x.C.Stores)) + 1
}

// Patience is how long a request is sent again.
const Patience = 20 * time.Second

// send sends a request to the shard of a key until it is answered by something that another attempt would not change. With
// a store, it is a read there.
func (x *Txns) send(kind call.Kind, k shard.Key, body []byte, at shard.StoreID) (*call.Reply, error) {
	var last error
	for end := time.Now().Add(Patience); time.Now().Before(end); {
		d := x.Of(k)
		if d == nil {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		x.mu.Lock()
		to := max(1, x.leads[d.ID])
		x.mu.Unlock()
		if at != 0 {
			to = at
		}
		rep := x.C.DoFor(to, &call.Request{Kind: kind, Shard: d.ID, Epoch: d.Epoch, Follower: at != 0, Timeout: 2 * time.Second, Body: body}, 2*time.Second)
		if at == 0 || rep.Err != nil {
			x.learn(d.ID, to, rep.Err)
		}
		if last = rep.Err; last == nil {
			return &rep, nil
		}
		var outside *shard.KeyNotInShardError
		var invalid *shard.InvalidError
		var two *shard.UseTwoPhaseError
		var future *shard.TooNewError
		if errors.As(last, &outside) || errors.As(last, &invalid) || errors.As(last, &two) || errors.As(last, &future) {
			return nil, last
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil, fmt.Errorf("given up: %w", last)
}

// Do executes a command in the shard of a key.
func (x *Txns) Do(k shard.Key, cmd mvcc.Command) (*mvcc.Result, error) {
	rep, err := x.send(call.Write, k, cmd.Append(nil), 0)
	if err != nil {
		return nil, err
	}
	return mvcc.DecodeResult(rep.Body)
}

// Ask executes a query in the shard of a key: at its leader, or, with a store, there.
func (x *Txns) Ask(k shard.Key, q *mvcc.Query, at shard.StoreID) (*mvcc.Answer, error) {
	rep, err := x.send(call.Read, k, q.Append(nil), at)
	if err != nil {
		return nil, err
	}
	return mvcc.DecodeAnswer(rep.Body)
}

// Get reads one key at a timestamp and waits for locks in its way to go. A row that is not found has its removal's
// timestamp, or none.
func (x *Txns) Get(k shard.Key, ts mvcc.Timestamp, at shard.StoreID) (mvcc.Row, error) {
	for end := time.Now().Add(Patience); ; {
		a, err := x.Ask(k, &mvcc.Query{Kind: mvcc.Get, TS: ts, Keys: []shard.Key{k}}, at)
		switch {
		case err != nil:
			return mvcc.Row{}, err
		case a.Rejected != nil:
			return mvcc.Row{}, a.Rejected
		case len(a.Locks) == 0:
			return a.Rows[0], nil
		case time.Now().After(end):
			return mvcc.Row{}, fmt.Errorf("%s at %d: %s", k, ts, a.Locks[0])
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// TxnSum is the checksum of a shard's versions and locks on one store, from the engine itself, what its applied state says
// of their number, and the index of the view. d is what is applied there, or what will be: then the numbers may differ.
func (c *Cluster) TxnSum(id shard.StoreID, d *shard.Descriptor) (mvcc.Sum, shard.Applied) {
	c.T.Helper()
	st := c.Status(id, d.ID)
	settled := st.Desc != nil && st.Desc.Epoch == d.Epoch // looked at first: a split does not go back
	rd := c.Stores[id].Engine.NewReader()
	defer func() { _ = rd.Close() }()
	a, _, err := rd.Applied(d.ID)
	if err != nil {
		c.T.Fatalf("checksum of %s on %s: %v", d.ID, id, err)
	}
	part := d.Range.Intersect(shard.ModeRange(shard.ModeTxn))
	ans, err := (&mvcc.Query{Kind: mvcc.Checksum, TS: 2, Range: part}).Run(rd.Txn(), part, mvcc.State{})
	if err != nil {
		c.T.Fatalf("checksum of %s on %s: %v", d.ID, id, err)
	}
	if settled && ans.Sum.Locks != a.Locks {
		c.T.Fatalf("%s on %s: %d locks stand, the applied state says %d", d.ID, id, ans.Sum.Locks, a.Locks)
	}
	return ans.Sum, a
}

// SameTxns waits until every replica of a shard holds the same versions and locks at the same index.
func SameTxns(c *Cluster, d *shard.Descriptor) mvcc.Sum {
	c.T.Helper()
	var sum mvcc.Sum
	c.WaitFor("equal checksums of transactional data", func() bool {
		var first shard.Applied
		for i, r := range d.Replicas {
			s, a := c.TxnSum(r.Store, d)
			switch {
			case i == 0:
				sum, first = s, a
			case a.Index != first.Index:
				return false
			case s != sum || a.Locks != first.Locks || a.SafePoint != first.SafePoint || a.Collected != first.Collected:
				c.T.Fatalf("%s: %s has %+v, %+v; the first replica %+v, %+v", d.ID, r.Store, s, a, sum, first)
			}
		}
		return true
	})
	return sum
}
