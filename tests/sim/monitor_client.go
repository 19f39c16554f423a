package sim

import (
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// ReadBegan implements raftstore.Observer.
func (o *observer) ReadBegan(id shard.ID) uint64 { return o.m.furthest[id] }

// ReadServed implements raftstore.Observer.
//
// That is a little more than linearizability demands: not only what somebody has seen must show, but also what a replica
// has applied and nobody has asked for yet. Every replica of ours keeps it, so a read that does not is a defect, and is
// found whether or not a client looks at the right key at the right moment.
func (o *observer) ReadServed(id shard.ID, rep shard.ReplicaID, began, applied uint64) {
	o.m.seen["read"]++
	if applied < began {
		o.m.violated("read", "%s of %s answers a read at %d, and %d was applied somewhere before it began", rep, id, applied, began)
	}
}

// place is where a command was executed.
type place struct {
	shard shard.ID
	index uint64
}

// Executed implements raftstore.Observer.
func (o *observer) Executed(x *raftstore.Execution) {
	m := o.m
	m.once(x)
	m.inRange(x)
}

// once demands that an attempt is executed at one place, and nowhere after its client was told "never" (rule 9).
func (m *monitors) once(x *raftstore.Execution) {
	if x.Op == (call.OpID{}) {
		return
	}
	at := place{x.Shard, x.Index}
	m.seen["once"]++
	if was, ok := m.executed[x.Op]; ok && was != at {
		m.violated("once", "attempt %v is executed at %d of %s, and was at %d of %s", x.Op, at.index, at.shard, was.index, was.shard)
	}
	m.executed[x.Op] = at
	if m.never[x.Op] {
		m.violated("once", "attempt %v is executed at %d of %s, and its client was told that it never would be", x.Op, at.index, at.shard)
	}
}

// Never implements raftstore.Observer.
func (o *observer) Never(id shard.ID, op call.OpID) {
	o.m.seen["never"]++
	o.m.c.ambush.met(hasAsked, o)
	o.m.never[op] = true
	if at, ok := o.m.executed[op]; ok {
		o.m.violated("once", "the client of attempt %v is told by %s that it never was executed, and it was, at %d of %s", op, id, at.index, at.shard)
	}
}

// inRange demands that a command is executed under the version that it was cut for, and on keys of the range (rule 8).
func (m *monitors) inRange(x *raftstore.Execution) {
	m.seen["range"]++
	if x.Version != x.Desc.Epoch.Version {
		m.violated("range", "a command for version %d of %s is executed at %d under version %d", x.Version, x.Shard, x.Index, x.Desc.Epoch.Version)
	}
	if len(x.Body) == 0 {
		return
	}
	if x.Body[0] != raw.KindRaw {
		m.txnInRange(x)
		return
	}
	cmd, err := raw.DecodeCommand(x.Body)
	if err != nil {
		m.violated("range", "a command of %s at %d is executed and cannot be decoded: %v", x.Shard, x.Index, err)
		return
	}
	for i := range cmd.Ops {
		if k := cmd.Ops[i].Key; !x.Desc.Range.Contains(k) {
			m.violated("range", "a command of %s at %d is executed on %q, outside of %s", x.Shard, x.Index, k, x.Desc.Range)
		}
	}
}

// txnInRange is inRange of a transaction's command.
func (m *monitors) txnInRange(x *raftstore.Execution) {
	c, err := mvcc.Decode(x.Body)
	if err != nil {
		return // of another kind
	}
	if err := mvcc.CheckIn(c, x.Desc); err != nil {
		m.violated("range", "a command of %s at %d is executed outside of %s: %v", x.Shard, x.Index, x.Desc.Range, err)
	}
	m.executedTxn(c, x)
}

// Described implements raftstore.Observer.
//
// It demands that the replicas of one store have no key in common.
func (o *observer) Described(id shard.ID, rep shard.ReplicaID, d *shard.Descriptor) {
	o.m.seen["overlap"]++
	if old, ok := o.epochs[id]; ok && old.Version != d.Epoch.Version {
		o.m.c.ambush.met(hasSplit, o)
	} else if ok && old.ConfVer != d.Epoch.ConfVer {
		o.m.c.ambush.met(hasChanged, o)
	}
	o.epochs[id] = d.Epoch
	o.ranges[id] = d.Range
	// in any order: an overlap ends the world, whichever is met first
	for other, r := range o.ranges {
		if other != id && r.Overlaps(d.Range) {
			o.m.violated("overlap", "%s takes up %s of %s, and holds %s of %s", o.machine.Name(), d.Range, id, r, other)
		}
	}
}
