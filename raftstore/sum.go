package raftstore

import (
	"errors"
	"fmt"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
)

// sumChunkBytes is what is read at a time of a view, between two looks at the pace.
const sumChunkBytes = 256 << 10

// dataView is a replica's data as they were at the index of an entry that compares, on their way to a sum.
type dataView struct {
	r     *replica
	id    shard.ID
	self  shard.ReplicaID
	ev    *apply.Compared
	sums  *engine.Summer
	since env.Time
}

// replicaSum is the last sum of a replica, for who asks again, and for the verdict over it.
type replicaSum struct {
	index uint64
	store shard.StoreID // that it was told to
	sum   engine.Sum
}

// onCompared opens a view of the replica's data. The state batch that ends with the entry is visible, and nothing behind the
// entry is applied, see applyFrom.
func (w *worker) onCompared(r *replica, ev *apply.Compared) {
	s := w.store
	s.comparer.take(&dataView{r: r, id: r.id, self: r.self, ev: ev, since: w.seen, sums: s.engine.NewSummer(r.id)})
}

// take queues a view to be read, by the one task of the store that does.
func (c *comparer) take(v *dataView) {
	c.mu.Lock()
	full := len(c.views) >= maxViews
	start := !full && !c.reading
	if !full {
		c.views = append(c.views, v)
	}
	if start {
		c.reading = true
	}
	c.mu.Unlock()
	switch {
	case full:
		c.giveUp(v, "too many others are being read")
	case start && !c.store.goTask("sum-up", c.sumUp):
		c.drop()
	}
}

// sumUp is the task: it ends when no view is left.
func (c *comparer) sumUp() {
	for {
		c.mu.Lock()
		if len(c.views) == 0 {
			c.reading = false
			c.mu.Unlock()
			return
		}
		v := c.views[0]
		c.mu.Unlock()
		if c.store.stopped() {
			c.drop()
			return
		}
		sum, err := c.read(v)
		if err != nil {
			c.giveUp(v, err.Error())
		} else {
			c.say(v, sum)
		}
		// Behind the word: who finds neither a view nor a sum may say that there will be none.
		c.mu.Lock()
		c.views = c.views[1:]
		c.mu.Unlock()
	}
}

// read sums up a view and closes it.
func (c *comparer) read(v *dataView) (engine.Sum, error) {
	s := c.store
	defer func() { _ = v.sums.Close() }()
	for read := uint64(0); ; {
		if age := s.env.Now().Sub(v.since); age > c.viewTime(read) {
			return engine.Sum{}, fmt.Errorf("%d bytes were read in %s", read, age)
		}
		var n int
		var done bool
		var err error
		s.env.Call("sum up", func() { n, done, err = v.sums.Next(sumChunkBytes) })
		if err == nil && v.sums.Meta().Applied.Index != v.ev.Index {
			// INVARIANT (rule 2): the applied index is in the batch of its effects.
			err = fmt.Errorf("a view that was opened at %d shows %d as applied", v.ev.Index, v.sums.Meta().Applied.Index)
		}
		if err != nil {
			if !errors.Is(err, shard.ErrClosed) {
				s.broken("sum up "+v.id.String(), err)
			}
			return engine.Sum{}, err
		}
		read += uint64(n)
		if err := s.pace.take(s.ctx, n); err != nil {
			return engine.Sum{}, err
		}
		if done {
			return v.sums.Sum(), nil
		}
	}
}

// say tells the sum to the one who proposed.
func (c *comparer) say(v *dataView, sum engine.Sum) {
	c.store.metrics.comparedBytes.Add(sum.Bytes)
	v.r.summed.Store(&replicaSum{index: v.ev.Index, store: v.ev.Store, sum: sum})
	c.answer(v, heardSum{index: v.ev.Index, sum: sum})
}

// giveUp closes a view without a sum, and says so.
func (c *comparer) giveUp(v *dataView, why string) {
	_ = v.sums.Close()
	c.store.logger.Info("replica not summed up", "shard", v.id, "replica", v.self, "index", v.ev.Index, "why", why)
	c.answer(v, heardSum{index: v.ev.Index, none: true})
}

func (c *comparer) answer(v *dataView, h heardSum) {
	if v.ev.Store == c.store.id {
		c.hear(v.id, v.self, h)
		return
	}
	c.store.sendSum(v.ev.Store, v.id, v.self, v.ev.By, h)
}

// drop closes all views: the store ends.
func (c *comparer) drop() {
	c.mu.Lock()
	views := c.views
	c.views, c.reading = nil, false
	c.mu.Unlock()
	for _, v := range views {
		_ = v.sums.Close()
	}
}

// openView reports whether a view of a shard at an index is on its way to a sum.
func (c *comparer) openView(id shard.ID, index uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.views {
		if v.id == id && v.ev.Index == index {
			return true
		}
	}
	return false
}
