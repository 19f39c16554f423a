package client

import (
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// shot is the first attempt to read one part of a call.
type shot struct {
	part  []item
	keys  []shard.Key // of part
	route route
	to    shard.Replica
	addr  string
	req   call.Request
	rep   call.Reply
}

// maxVolley is how many parts of one call are under way at once: what they answer with waits in the stores' memory.
const maxVolley = 256

// aimed reports whether there was somebody to send it to.
func (s *shot) aimed() bool { return s.addr != "" }

// About what a query takes beside its keys, and each of those beside its own bytes.
const (
	queryBytes    = 16
	queryKeyBytes = 2
)

// aim makes the request of a shot, with the room for its body, and returns what is left of that.
func (e *effort) aim(s *shot, follower bool, room []byte) []byte {
	to := e.pick(&s.route, follower)
	addr, ok := e.db.routes.address(to.Store)
	if !ok || to.ID == 0 {
		return room
	}
	q := raw.Query{Kind: raw.Get, Keys: s.keys}
	at := len(room)
	room = q.Append(room)
	s.to, s.addr = to, addr
	s.req = call.Request{Kind: call.Read, Shard: s.route.desc.ID, Epoch: s.route.desc.Epoch, Follower: follower, Body: room[at:len(room):len(room)]}
	return room
}

// salvo is the shots of a volley that go to one store.
type salvo struct {
	store shard.StoreID
	addr  string
	shots []*shot
}

// volley sends shots and waits for their replies: those to one store travel together, and one task waits for them, where an
// effort of their own for each of dozens of parts would cost more than what is asked for.
func (e *effort) volley(shots []shot) {
	if e.over() != nil {
		for i := range shots {
			shots[i].addr = "" // their efforts know how to say so
		}
		return
	}
	salvoes := salvoesOf(shots)
	e.limit = e.share(e.limit)
	parallel(e.db.env, len(salvoes), func(i int) { e.fire(&salvoes[i]) })
}

// salvoesOf puts shots together by where they go, in their order.
func salvoesOf(shots []shot) []salvo {
	var all []salvo
next:
	for i := range shots {
		s := &shots[i]
		if !s.aimed() {
			continue
		}
		for j := range all {
			if all[j].store == s.to.Store && all[j].addr == s.addr {
				all[j].shots = append(all[j].shots, s)
				continue next
			}
		}
		all = append(all, salvo{s.to.Store, s.addr, append(make([]*shot, 0, len(shots)-i), s)})
	}
	return all
}

// fire sends a salvo, and waits at most for e.limit. Several tasks do it at once with one e, which none of them changes.
func (e *effort) fire(v *salvo) {
	reqs, reps := make([]*call.Request, len(v.shots)), make([]call.Reply, len(v.shots))
	for i, s := range v.shots {
		s.req.Timeout, s.req.Trace = e.limit, e.trace != nil
		reqs[i] = &s.req
	}
	ctx, sc := e.db.scopes.enter(e.ctx, e.now.Add(e.limit))
	at := e.traceNow()
	e.db.conn.CallMany(ctx, v.addr, v.store, reqs, reps)
	e.db.scopes.leave(sc)
	for i, s := range v.shots {
		s.rep = reps[i]
		e.took(at, s.to, s.addr, &s.req, &s.rep)
	}
}
