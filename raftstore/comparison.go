package raftstore

import (
	"fmt"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// What stores say to each other about comparisons. All of it may be lost or come twice.
const (
	comparisonSum     byte = 1 // of replica from at index, to the replica that proposed
	comparisonNone    byte = 2 // there is no such sum and will be none
	comparisonAsk     byte = 3 // by the replica that proposed: what is your sum?
	comparisonVerdict byte = 4 // to a replica whose sum at index is not that of the majority
)

// comparison is one such message. Fields that a kind does not use are zero.
type comparison struct {
	kind     byte
	shard    shard.ID
	from, to shard.ReplicaID
	index    uint64
	sum      engine.Sum // that of the replica whose data it is about
	majority engine.Sum
}

const comparisonVersion = 1

func (c *comparison) append(b []byte) []byte {
	b = append(b, comparisonVersion, c.kind)
	for _, v := range [...]uint64{uint64(c.shard), uint64(c.from), uint64(c.to), c.index, c.sum.Hash, c.sum.Pairs, c.sum.Bytes,
		c.majority.Hash, c.majority.Pairs, c.majority.Bytes} {
		b = codec.AppendUvarint(b, v)
	}
	return b
}

func decodeComparison(b []byte) (comparison, error) {
	d := codec.Decoder{B: b}
	d.Version(comparisonVersion)
	c := comparison{kind: d.Byte(), shard: shard.ID(d.Uvarint()), from: shard.ReplicaID(d.Uvarint()), to: shard.ReplicaID(d.Uvarint()),
		index: d.Uvarint()}
	for _, s := range []*engine.Sum{&c.sum, &c.majority} {
		s.Hash, s.Pairs, s.Bytes = d.Uvarint(), d.Uvarint(), d.Uvarint()
	}
	if err := d.Done(); err != nil {
		return comparison{}, fmt.Errorf("comparison: %w", err)
	}
	return c, nil
}

func (s *Store) sendComparison(to shard.StoreID, c *comparison) {
	s.send(to, false, append(c.append(nil), frameCompare))
}

// sendSum tells another store what became of a replica's sum.
func (s *Store) sendSum(to shard.StoreID, id shard.ID, from, by shard.ReplicaID, h heardSum) {
	c := &comparison{kind: comparisonSum, shard: id, from: from, to: by, index: h.index, sum: h.sum}
	if h.none {
		c.kind = comparisonNone
	}
	s.sendComparison(to, c)
}

func (s *Store) receiveComparison(from shard.StoreID, b []byte) error {
	c, err := decodeComparison(b)
	if err != nil {
		return err
	}
	switch c.kind {
	case comparisonSum, comparisonNone:
		s.comparer.hear(c.shard, c.from, heardSum{index: c.index, sum: c.sum, none: c.kind == comparisonNone})
	case comparisonAsk:
		w := s.worker(c.shard)
		w.post(func(in *input) {
			if len(in.tasks) >= maxInboxControls {
				s.metrics.droppedMessages.Add(1)
				return
			}
			in.tasks = append(in.tasks, func() { w.onAskSum(from, &c) })
		})
	case comparisonVerdict:
		s.hearVerdict(from, &c)
	default:
		s.metrics.droppedMessages.Add(1)
	}
	return nil
}

// onAskSum says the sum again, or that there will be none. On the worker, so that an entry whose effects are visible has its
// view. The order of the two looks matters, see sumUp.
func (w *worker) onAskSum(from shard.StoreID, c *comparison) {
	s, r := w.store, w.replicas[c.shard]
	h := heardSum{index: c.index, none: true}
	if r != nil && r.self == c.to {
		if !r.born() || r.machine.Applied.Index < c.index || r.held || s.comparer.openView(c.shard, c.index) {
			return // it will say so by itself
		}
		if last := r.summed.Load(); last != nil && last.index == c.index && last.store == from {
			h = heardSum{index: c.index, sum: last.sum}
		}
	}
	s.sendSum(from, c.shard, c.to, c.from, h)
}
