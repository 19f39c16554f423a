package simnet

import (
	"context"
	"hash/fnv"
	"io"
	"slices"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// transport is the way of one store to the others.
type transport struct {
	h       *Host
	from    shard.StoreID
	cluster shard.ClusterID
	addrs   map[shard.StoreID]string
	closed  bool
}

func (t *transport) SetAddr(id shard.StoreID, addr string) { t.addrs[id] = addr }
func (t *transport) SetCluster(id shard.ClusterID)         { t.cluster = id }
func (t *transport) SetMemory(*budget.Budget)              {}
func (t *transport) Close()                                { t.closed = true }

// Send sends a frame.
func (t *transport) Send(to shard.StoreID, isUrgent bool, frame []byte) {
	addr := t.addrs[to]
	if addr == "" || t.closed {
		return
	}
	n := t.h.net
	if n.Watch != nil {
		n.Watch(t.h, t.from, to, frame)
	}
	c := bulk
	if isUrgent {
		c = urgent
	}
	t.h.machine.Note("frame", uint64(len(frame)), sum(frame))
	data := slices.Clone(frame) // as a wire would: the receiver owns its bytes
	n.send(t.h, addr, c, len(frame), func(h *Host) {
		if h.server == nil || h.server.check(t.cluster) != nil {
			return
		}
		if s, err := h.server.store(to); err == nil {
			s.Receive(t.from, slices.Clone(data))
		}
	}, nil)
}

func sum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

// Call asks another store.
func (t *transport) Call(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply {
	addr := t.addrs[to]
	if addr == "" || t.closed {
		return call.Reply{Err: unavailable("call "+to.String(), "no address")}
	}
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = t.h.env.WithTimeout(ctx, req.Timeout)
		defer cancel()
	}
	sent := call.AppendRequest(nil, 1, req)
	got, err := ask(ctx, t.h, addr, "call", len(sent), func(ctx context.Context, s *server) ([]byte, error) {
		if err := s.check(t.cluster); err != nil {
			return nil, err
		}
		st, err := s.store(to)
		if err != nil {
			return nil, err
		}
		var rep call.Reply
		err = call.DecodeRequests(sent, func(_ uint64, q *call.Request) error {
			one := *q
			rep = st.Do(ctx, &one)
			return nil
		})
		return call.AppendReply(nil, 1, &rep), err
	})
	if err != nil {
		return call.Reply{Err: err}
	}
	var out call.Reply
	if err := call.DecodeReplies(got, func(_ uint64, rep *call.Reply) error { out = *rep; return nil }); err != nil {
		return call.Reply{Err: err}
	}
	return out
}

// snapshotStream carries the parts of one snapshot. Its sender reads ahead by its window at most.
type snapshotStream struct {
	n      *Net
	queue  [][]byte
	end    bool // all parts are in the queue
	broken bool
	part   env.Event // at the receiver
	room   env.Event // at the sender
	taken  int
}

// snapshotWindow is how many parts may be under way.
const snapshotWindow = 4

// Reached does nothing: what is lost here is lost, and nothing waits to be tried again.
func (t *transport) Reached(shard.StoreID) {}

// SendSnapshot streams a snapshot and returns what the receiver made of it.
func (t *transport) SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error {
	addr := t.addrs[to]
	if addr == "" || t.closed {
		return unavailable("send snapshot to "+to.String(), "no address")
	}
	n := t.h.net
	st := &snapshotStream{n: n, room: t.h.env.NewEvent("snapshot-room")}
	p := &pending[struct{}]{done: st.room}
	fail := func() {
		st.broken = true
		if st.part != nil {
			st.part.Wake()
		}
		n.w.After(n.wait(), func() { p.finish(struct{}{}, unavailable("snapshot", addr)) })
	}
	header = slices.Clone(header)
	n.send(t.h, addr, parts, len(header), func(h *Host) {
		if h.server == nil {
			fail()
			return
		}
		st.part = h.env.NewEvent("snapshot-part")
		h.callSeq++
		seq := h.callSeq
		h.owed[seq] = fail
		s := h.server
		h.env.Go("serve snapshot", func() {
			err := st.serve(s, t.cluster, to, header, t.h)
			if h.down || h.owed[seq] == nil {
				return
			}
			delete(h.owed, seq)
			n.send(h, t.h.addr, calls, 64, func(back *Host) {
				if back == t.h {
					p.finish(struct{}{}, err)
				}
			}, fail)
		})
	}, fail)
	if err := st.feed(ctx, t.h, addr, p, next, fail); err != nil {
		st.broken = true
		if st.part != nil {
			n.send(t.h, addr, parts, 16, func(*Host) { st.part.Wake() }, nil)
		}
		return err
	}
	return p.err
}

// feed sends the parts and waits for the end.
func (st *snapshotStream) feed(ctx context.Context, h *Host, addr string, p *pending[struct{}], next func() ([]byte, error), fail func()) error {
	sent := 0
	for ended := false; !p.over; {
		if !ended && sent-st.taken < snapshotWindow {
			chunk, err := next()
			if err != nil && err != io.EOF {
				p.over = true
				return err
			}
			ended = err == io.EOF
			chunk = slices.Clone(chunk)
			sent++
			last := ended
			st.n.send(h, addr, parts, len(chunk)+16, func(*Host) {
				if last {
					st.end = true
				} else {
					st.queue = append(st.queue, chunk)
				}
				if st.part != nil {
					st.part.Wake()
				}
			}, fail)
			continue
		}
		if err := st.room.Wait(ctx, 0); err != nil {
			p.over = true
			return err
		}
	}
	return nil
}

// serve is the receiver's side.
func (st *snapshotStream) serve(s *server, cluster shard.ClusterID, to shard.StoreID, header []byte, sender *Host) error {
	if err := s.check(cluster); err != nil {
		return err
	}
	store, err := s.store(to)
	if err != nil {
		return err
	}
	ctx := context.Background()
	return store.ReceiveSnapshot(ctx, header, func() ([]byte, error) {
		for {
			switch {
			case len(st.queue) > 0:
				chunk := st.queue[0]
				st.queue = st.queue[1:]
				st.n.send(s.host, sender.addr, calls, 16, func(*Host) {
					st.taken++
					st.room.Wake()
				}, func() { st.taken++; st.room.Wake() })
				return chunk, nil
			case st.broken || sender.down:
				return nil, io.ErrUnexpectedEOF
			case st.end:
				return nil, io.EOF
			}
			if err := st.part.Wait(ctx, 0); err != nil {
				return nil, err
			}
		}
	})
}
