package raftstore

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// What replicas say to each other beside raft. All of it may be lost or come twice.
const (
	controlOffer     byte = 1 // leader: sleep in exactly this state
	controlAccept    byte = 2 // follower: asleep in it
	controlNudge     byte = 3 // woken follower: leader, are you there?
	controlDestroy   byte = 4 // leader: you were removed
	controlDestroyed byte = 5 // that replica id is gone from this store and will not come back
	controlAsk       byte = 6 // replica that hears nobody: am I still a member? last holds the ConfVer that it knows, 0 without data, term its term
)

// control is one such message. Fields that a kind does not use are zero.
type control struct {
	kind        byte
	shard       shard.ID
	from, to    shard.ReplicaID
	term, last  uint64
	incarnation uint64
}

const controlVersion = 1

func (c *control) append(b []byte) []byte {
	b = append(b, controlVersion, c.kind)
	for _, v := range [...]uint64{uint64(c.shard), uint64(c.from), uint64(c.to), c.term, c.last, c.incarnation} {
		b = codec.AppendUvarint(b, v)
	}
	return b
}

func decodeControl(b []byte) (control, error) {
	d := codec.Decoder{B: b}
	d.Version(controlVersion)
	c := control{kind: d.Byte(), shard: shard.ID(d.Uvarint()), from: shard.ReplicaID(d.Uvarint()),
		to: shard.ReplicaID(d.Uvarint()), term: d.Uvarint(), last: d.Uvarint(), incarnation: d.Uvarint()}
	if err := d.Done(); err != nil {
		return control{}, fmt.Errorf("control message: %w", err)
	}
	return c, nil
}

// sendControl sends a message of this replica to another one of its shard.
func (r *replica) sendControl(to shard.Replica, c control) {
	c.shard, c.from, c.to = r.id, r.self, to.ID
	r.w.store.send(to.Store, true, append(c.append(nil), frameControl))
}

// sendDestroyed tells another store that a replica id is not here any more and will not come back.
func (s *Store) sendDestroyed(to shard.StoreID, id shard.ID, rep shard.ReplicaID) {
	c := control{kind: controlDestroyed, shard: id, from: rep}
	s.send(to, true, append(c.append(nil), frameControl))
}

func (s *Store) receiveControl(from shard.StoreID, b []byte) error {
	c, err := decodeControl(b)
	if err != nil {
		return err
	}
	if !plausible(uint64(c.shard)) {
		return fmt.Errorf("control message of %s", c.shard)
	}
	w := s.worker(c.shard)
	w.post(func(in *input) {
		if len(in.tasks) >= maxInboxControls {
			s.metrics.droppedMessages.Add(1)
			return
		}
		in.tasks = append(in.tasks, func() { w.onControl(from, &c) })
	})
	return nil
}

func (w *worker) onControl(from shard.StoreID, c *control) {
	r := w.replicas[c.shard]
	if c.kind == controlDestroy {
		w.onDestroy(from, r, c)
		return
	}
	if r == nil {
		return
	}
	switch c.kind {
	case controlOffer:
		if c.to == r.self {
			r.onOffer(from, c)
		}
	case controlAccept:
		if c.to == r.self {
			r.onAccept(c)
		}
	case controlNudge:
		if c.to == r.self {
			r.wakeUp(wakeMessage)
		}
	case controlDestroyed:
		r.onDestroyed(c.from)
	case controlAsk:
		r.onAsk(from, c)
	}
}
