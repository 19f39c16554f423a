package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/tests/history"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// worker is a client program: the real SDK on a machine of its own, one operation after the other on random groups of
// keys.
type worker struct {
	c       *cluster
	id      int
	machine *world.Machine
	host    *simnet.Host
	env     env.Env
	db      *client.DB
	seq     int
	was     string // what it last saw, to make conditions hold now and then
	stop    bool
	done    bool
	pending time.Duration // since when an operation is under way; 0: none is
}

func (c *cluster) newWorker(id int) *worker {
	name := fmt.Sprintf("c%d", id)
	m := c.w.NewMachine(name)
	w := &worker{c: c, id: id, machine: m, env: m.Env(), host: c.net.Host(m, name)}
	m.Env().Go("client", w.run)
	return w
}

func (w *worker) run() {
	defer func() { w.done = true }()
	ctx := context.Background()
	for w.db == nil {
		if w.stop {
			return
		}
		octx, cancel := w.env.WithTimeout(ctx, 5*time.Second)
		db, err := client.Open(octx, w.c.addrs(), client.WithWorld(w.env, w.host.Conn()), client.WithRetryBudget(w.c.knobs.Budget), client.WithCoverage(&w.c.rows))
		cancel()
		if err != nil {
			w.machine.Log("open: %v", err)
			continue
		}
		w.db = db
	}
	for !w.stop {
		switch x := w.c.w.IntN(20); {
		case x == 0:
			w.wideScan(ctx)
		case x < 4:
			w.ttlOp(ctx)
		default:
			w.one(ctx)
		}
		_ = w.env.Sleep(ctx, w.c.w.Between(0, w.c.think()))
	}
	_ = w.db.Close()
}

// think is how long clients wait between two operations, at most; while progress is waited for they hurry.
func (c *cluster) think() time.Duration {
	if c.hurry {
		return min(c.knobs.Think, 20*time.Millisecond)
	}
	return c.knobs.Think
}

var kindNames = [...]string{"get", "put", "delete", "cas", "batch", "scan"}

// kind draws what an operation does.
func (c *cluster) kind() history.Kind {
	k := history.Kind(c.w.IntN(len(kindNames)))
	read := k == history.Get || k == history.Scan
	switch {
	case c.knobs.Mix == "reads" && !c.hurry && !read && c.w.Chance(0.8):
		return history.Get
	case c.knobs.Mix == "writes" && read && c.w.Chance(0.8):
		return history.Put + history.Kind(c.w.IntN(4))
	}
	return k
}

// one executes one operation and notes what came of it.
func (w *worker) one(ctx context.Context) {
	c := w.c
	w.seq++
	in := history.Input{Group: c.group(c.w.IntN(c.knobs.Groups)), Kind: c.kind(), Key: c.w.IntN(history.GroupKeys), Want: w.was}
	in.Value = fmt.Sprintf("c%d.%d", w.id, w.seq)
	begun := c.tick()
	w.pending = c.w.Now()
	out, known := w.do(ctx, in)
	w.pending = 0
	w.machine.Log("%s g%d/%d want %q value %q -> %v", kindNames[in.Kind], in.Group, in.Key, in.Want, in.Value, describe(out, known))
	if !known && !out.Ambiguous {
		c.refused++
		return
	}
	end := c.tick()
	if out.Ambiguous {
		c.ambiguous++
		end = math.MaxInt64
	}
	c.count(in.Group, out.Ambiguous)
	if !out.Ambiguous && in.Kind != history.Get && in.Kind != history.Scan && out.OK {
		c.slots[in.Group%maxSlots].lastOK = end
	}
	c.ops = append(c.ops, porcupine.Operation{ClientId: w.id, Input: in, Output: out, Call: begun, Return: end})
}

// firstPageRows is how many rows the first page of a scan has at most.
const firstPageRows = 128

// wideScan reads the present groups of all slots in one scan over all shards. Each group's part of it is a read of its
// own: a scan is no point-in-time view, but a group lies in one shard and comes in one page, if all fits into the first page.
func (w *worker) wideScan(ctx context.Context) {
	c := w.c
	var groups []int
	for slot := range c.knobs.Groups {
		groups = append(groups, c.group(slot))
	}
	begun := c.tick()
	w.pending = c.w.Now()
	outs := make(map[string]*history.Output)
	for _, g := range groups {
		outs[groupPrefix(g)] = &history.Output{}
	}
	opts := []client.ScanOption{client.ReuseRows()}
	if c.w.Chance(0.3) {
		opts = append(opts, client.ReadFromFollower())
	}
	rows := 0
	for kv, err := range w.db.Scan(ctx, client.Prefix("g"), opts...) {
		if err != nil {
			w.pending = 0
			w.machine.Log("wide scan: %v", err)
			return
		}
		rows++
		cut := len(kv.Key) - 1
		if out := outs[string(kv.Key[:cut])]; out != nil {
			out.Values[kv.Key[cut]-'0'] = string(kv.Value)
		}
	}
	w.pending = 0
	end := c.tick()
	w.machine.Log("wide scan of %d groups, %d rows", len(groups), rows)
	if rows > firstPageRows {
		return // a page may end within a group
	}
	for i, g := range groups {
		c.ops = append(c.ops, porcupine.Operation{ClientId: 100*(i+1) + w.id, Input: history.Input{Group: g, Kind: history.Scan}, Output: *outs[groupPrefix(g)], Call: begun, Return: end})
	}
}

func describe(out history.Output, known bool) string {
	switch {
	case out.Ambiguous:
		return "ambiguous"
	case !known:
		return "refused"
	}
	return fmt.Sprintf("%v %q", out.OK, out.Values)
}

// A group of keys is one generation of a slot. Slots are spread over the shards; a group lies inside one. What is open
// makes the checker's work grow exponentially, so a group that has seen enough gives way to the next generation.
const (
	maxSlots    = 64
	maxOpen     = 5
	maxGroupOps = 500
)

// slot is how far a slot is.
type slot struct {
	generation, ops, open int
	lastOK                int64 // time of the history at which a write last succeeded
}

// group is the present group of a slot.
func (c *cluster) group(slot int) int { return c.slots[slot].generation*maxSlots + slot }

// count notes an operation of a group.
func (c *cluster) count(group int, open bool) {
	s := &c.slots[group%maxSlots]
	if s.generation != group/maxSlots {
		return
	}
	s.ops++
	if open {
		s.open++
	}
	if s.ops >= maxGroupOps || s.open >= maxOpen {
		*s = slot{generation: s.generation + 1, lastOK: s.lastOK}
	}
}

func groupPrefix(group int) string { return fmt.Sprintf("g%02d/%04d/", group%maxSlots, group/maxSlots) }

func groupKey(group, key int) []byte { return fmt.Appendf(nil, "%s%d", groupPrefix(group), key) }

// do executes an operation. known is false if nothing happened and nothing was learnt.
func (w *worker) do(ctx context.Context, in history.Input) (out history.Output, known bool) {
	db, key := w.db, groupKey(in.Group, in.Key)
	var err error
	switch in.Kind {
	case history.Get:
		var opts []client.ReadOption
		if w.c.w.Chance(0.3) {
			opts = append(opts, client.ReadFromFollower())
		}
		var v []byte
		if v, err = db.Get(ctx, key, opts...); errors.Is(err, client.ErrNotFound) {
			err = nil
		}
		out.Values[in.Key] = string(v)
		if err == nil {
			w.was = string(v)
		}
		return out, err == nil
	case history.Scan:
		for kv, e := range db.Scan(ctx, client.Prefix(groupPrefix(in.Group)), client.ReuseRows()) {
			if e != nil {
				return out, false
			}
			out.Values[kv.Key[len(kv.Key)-1]-'0'] = string(kv.Value)
		}
		return out, true
	case history.Put:
		err = db.Put(ctx, key, []byte(in.Value))
	case history.Delete:
		err = db.Delete(ctx, key)
	case history.CAS:
		err = w.atomic(ctx, in, func(b *client.Batch) { b.Put(key, []byte(in.Value)) })
	case history.Batch:
		err = w.atomic(ctx, in, func(b *client.Batch) {
			for k := range history.GroupKeys {
				b.Put(groupKey(in.Group, k), []byte(in.Value))
			}
		})
	}
	var conflict *client.ConflictError
	switch {
	case err == nil:
		out.OK = true
		return out, true
	case errors.As(err, &conflict):
		out.Values[in.Key] = string(conflict.Current)
		return out, true
	case errors.Is(err, client.ErrAmbiguous):
		out.Ambiguous = true
	}
	return out, false
}

// atomic is a guarded batch: key must hold Want, or be absent if that is empty.
func (w *worker) atomic(ctx context.Context, in history.Input, ops func(b *client.Batch)) error {
	key := groupKey(in.Group, in.Key)
	return w.db.Atomic(ctx, func(b *client.Batch) {
		if in.Want == "" {
			b.IfAbsent(key)
		} else {
			b.IfEquals(key, []byte(in.Want))
		}
		ops(b)
	})
}
