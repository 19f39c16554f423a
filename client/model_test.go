package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// model is a cluster as rule 9 describes it: shards with one log each, a leader with a term, entries that are proposed
// and not yet applied, leaders that lose them, shards that split and merge, requests that are lost or come late, replies
// that are lost. It counts how often each write took effect.
type model struct {
	fakePlacement
	w      *world
	rng    *rand.Rand
	faults int // percent of requests that meet one
	shards map[shard.ID]*modelShard
	data   *rawtest.Map
	nextID uint64
	late   []lateRequest
	// effects counts, by the value that it wrote, how often a write was applied with effect.
	effects map[string]int
	seen    map[call.OpID]bool
	broken  string // the first law that was broken
}

type lateRequest struct {
	to  shard.StoreID
	req call.Request
}

type modelShard struct {
	desc      *shard.Descriptor
	leader    int // index into replicas
	term      uint64
	log       []modelEntry // from index first on
	first     uint64
	applied   uint64
	results   map[call.OpID]call.Reply
	cancelled map[call.OpID]bool
}

type modelEntry struct {
	term  uint64
	op    call.OpID
	epoch shard.Epoch
	body  []byte
}

func newModel(seed uint64, faults int) *model {
	m := &model{w: &world{seed: seed, now: env0}, rng: rand.New(rand.NewPCG(seed, 7)), faults: faults, data: new(rawtest.Map),
		shards: make(map[shard.ID]*modelShard), nextID: 10, effects: make(map[string]int), seen: make(map[call.OpID]bool)}
	m.routes.Stores = fakeStores(3)
	m.add(fakeDesc(2, "-", "m", shard.Epoch{ConfVer: 1, Version: 1}), 5)
	m.add(fakeDesc(3, "m", "-", shard.Epoch{ConfVer: 1, Version: 1}), 3)
	m.publish()
	return m
}

func (m *model) add(d *shard.Descriptor, term uint64) *modelShard {
	s := &modelShard{desc: d, term: term, first: 11, applied: 10, leader: m.rng.IntN(3), results: make(map[call.OpID]call.Reply), cancelled: make(map[call.OpID]bool)}
	m.shards[d.ID] = s
	return s
}

func (m *model) percent(p int) bool { return m.rng.IntN(100) < p }

func (s *modelShard) last() uint64 { return s.first + uint64(len(s.log)) - 1 }

func (m *model) ids() []shard.ID { return slices.Sorted(maps.Keys(m.shards)) }

// publish tells placement the present shards, sometimes with their leaders.
func (m *model) publish() {
	m.routes.Routes = nil
	for _, id := range m.ids() {
		s := m.shards[id]
		r := beat.Route{Desc: s.desc}
		if m.percent(50) {
			r.Leader, r.Term, r.Applied = s.desc.Replicas[s.leader].ID, s.term, s.applied
		}
		m.routes.Routes = append(m.routes.Routes, r)
	}
	slices.SortFunc(m.routes.Routes, func(a, b beat.Route) int { return a.Desc.Range.Start.Compare(b.Desc.Range.Start) })
}

// happen lets the cluster move on by itself.
func (m *model) happen() {
	for len(m.late) > 0 && m.percent(30) {
		l := m.late[0]
		m.late = m.late[1:]
		m.serve(l.to, &l.req)
	}
	if !m.percent(m.faults) {
		return
	}
	ids := m.ids()
	s := m.shards[ids[m.rng.IntN(len(ids))]]
	switch m.rng.IntN(6) {
	case 0, 1:
		m.elect(s)
	case 2:
		m.split(s)
	case 3:
		m.merge()
	case 4:
		m.apply(s)
	case 5:
		m.publish()
	}
}

// elect makes another leader: of what was not applied it keeps a part and loses the rest.
func (m *model) elect(s *modelShard) {
	unapplied := int(s.last() - s.applied)
	s.log = s.log[:len(s.log)-m.rng.IntN(unapplied+1)]
	s.term += 1 + uint64(m.rng.IntN(2))
	s.leader = m.rng.IntN(3)
	s.cancelled = make(map[call.OpID]bool)
	s.log = append(s.log, modelEntry{term: s.term})
	if m.percent(60) {
		m.apply(s)
	}
	if m.percent(10) {
		s.results = make(map[call.OpID]call.Reply) // the new leader's store had just been started
	}
}

func (m *model) apply(s *modelShard) {
	for s.applied < s.last() {
		s.applied++
		e := &s.log[s.applied-s.first]
		if e.op == (call.OpID{}) {
			continue
		}
		rep := call.Reply{Term: s.term, Applied: s.applied}
		if e.epoch.Version != s.desc.Epoch.Version {
			rep.Err = &shard.StaleEpochError{Shard: s.desc.ID, Current: m.current(s)}
			s.results[e.op] = rep
			continue
		}
		cmd, err := raw.DecodeCommand(e.body)
		if err == nil {
			err = cmd.CheckIn(s.desc)
		}
		if err != nil {
			m.fail("entry that cannot be applied: %v", err)
			return
		}
		res, _, _ := raw.Evaluate(cmd, m.data, 0)
		rep.Body = res.Append(nil)
		s.results[e.op] = rep
		if res.Failed < 0 {
			for i := range cmd.Ops {
				m.effects[string(cmd.Ops[i].Value)]++
			}
		}
	}
}

func (m *model) fail(format string, args ...any) {
	if m.broken == "" {
		m.broken = fmt.Sprintf(format, args...)
	}
}

// current are the descriptors that a refusal carries: that of the shard and of those that it was split into.
func (m *model) current(s *modelShard) []*shard.Descriptor {
	out := []*shard.Descriptor{s.desc}
	if m.percent(80) {
		for _, id := range m.ids() {
			if id != s.desc.ID {
				out = append(out, m.shards[id].desc)
			}
		}
	}
	return out
}

// split cuts a shard at a random letter. What was proposed and not yet applied is behind the split in the log.
func (m *model) split(s *modelShard) {
	at := shard.RawKey([]byte{byte('b' + m.rng.IntN(24))})
	if !s.desc.Range.Contains(at) || s.desc.Range.Start.Compare(at) == 0 || len(m.shards) > 5 {
		return
	}
	if m.percent(50) {
		m.apply(s)
	}
	left, right := *s.desc, fakeDesc(m.nextID, "-", "-", s.desc.Epoch)
	m.nextID++
	right.Range = shard.Range{Start: at, End: s.desc.Range.End}
	left.Range.End = at
	left.Epoch.Version++
	right.Epoch.Version++
	s.desc = &left
	m.add(right, 5)
	m.apply(s)
}

// merge joins two neighbours; the right one is gone with its log.
func (m *model) merge() {
	for _, id := range m.ids() {
		for _, other := range m.ids() {
			l, r := m.shards[id], m.shards[other]
			if len(l.desc.Range.End) == 0 || l.desc.Range.End.Compare(r.desc.Range.Start) != 0 {
				continue
			}
			m.apply(l)
			m.apply(r)
			d := *l.desc
			d.Range.End = r.desc.Range.End
			d.Epoch.Version = max(l.desc.Epoch.Version, r.desc.Epoch.Version) + 1
			l.desc = &d
			delete(m.shards, other)
			return
		}
	}
}

// Call implements Conn.
func (m *model) CallMany(ctx context.Context, addr string, to shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	oneByOne(ctx, m, addr, to, reqs, reps)
}

func (m *model) Call(_ context.Context, _ string, to shard.StoreID, req *call.Request) call.Reply {
	if req.Kind == call.Write {
		if m.seen[req.Op] {
			m.fail("the attempt %v was sent twice", req.Op)
		}
		m.seen[req.Op] = true
	}
	m.happen()
	if m.percent(m.faults) {
		switch m.rng.IntN(4) {
		case 0: // lost
			return m.silence(req)
		case 1: // late
			m.late = append(m.late, lateRequest{to, *req})
			return m.silence(req)
		case 2: // the reply is lost
			m.serve(to, req)
			return m.silence(req)
		case 3:
			return call.Reply{Err: &shard.ServerBusyError{Store: to, Why: "busy"}}
		}
	}
	rep, ok := m.serve(to, req)
	if !ok {
		return m.silence(req)
	}
	return rep
}

func (m *model) silence(req *call.Request) call.Reply {
	if m.percent(50) {
		return call.Reply{Err: fmt.Errorf("stream ended: %w", shard.ErrUnavailable)}
	}
	m.w.now = m.w.now.Add(req.Timeout)
	return call.Reply{Err: context.Canceled}
}

// serve answers a request as the store does; false: it is waiting.
func (m *model) serve(to shard.StoreID, req *call.Request) (call.Reply, bool) {
	s := m.shards[req.Shard]
	if s == nil {
		return call.Reply{Err: &shard.NotFoundError{Shard: req.Shard, Store: to}}, true
	}
	lead := s.desc.Replicas[s.leader]
	if lead.Store != to {
		e := &shard.NotLeaderError{Shard: req.Shard, Term: s.term}
		if m.percent(70) {
			e.Leader = lead
		}
		return call.Reply{Err: e}, true
	}
	if req.Kind == call.Outcome {
		return m.outcome(s, req)
	}
	if err := s.desc.CheckEpoch(req.Epoch, false); err != nil {
		if stale, ok := err.(*shard.StaleEpochError); ok {
			stale.Current = m.current(s)
		}
		return call.Reply{Err: err}, true
	}
	switch req.Kind {
	case call.Refresh:
		m.apply(s)
		return call.Reply{Term: s.term, Applied: s.applied}, true
	case call.Read:
		m.apply(s)
		q, err := raw.DecodeQuery(req.Body)
		if err != nil {
			return call.Reply{Err: &shard.InvalidError{Why: err.Error()}}, true
		}
		a, _, err := q.Run(m.data.Reader(), s.desc.Range, 0, 0)
		if err != nil {
			return call.Reply{Err: err}, true
		}
		return call.Reply{Term: s.term, Applied: s.applied, Body: a.Append(nil)}, true
	}
	return m.write(s, req)
}

func (m *model) write(s *modelShard, req *call.Request) (call.Reply, bool) {
	if s.cancelled[req.Op] {
		return call.Reply{Err: &shard.OverwrittenError{Shard: req.Shard}}, true
	}
	if req.Term != s.term || req.Since > s.last() || s.last()-req.Since > 40 {
		return call.Reply{Err: &shard.RefreshError{Shard: req.Shard, Term: s.term, Applied: s.applied}}, true
	}
	s.log = append(s.log, modelEntry{term: s.term, op: req.Op, epoch: req.Epoch, body: req.Body})
	if m.percent(m.faults) {
		return call.Reply{}, false // proposed, and stuck
	}
	m.apply(s)
	return s.results[req.Op], true
}

// outcome is acceptOutcome of raftstore, as rule 9 has it.
func (m *model) outcome(s *modelShard, req *call.Request) (call.Reply, bool) {
	if req.Term > s.term {
		return call.Reply{Err: &shard.NotLeaderError{Shard: req.Shard, Term: s.term}}, true
	}
	if rep, ok := s.results[req.Op]; ok {
		rep.Term, rep.Applied = s.term, s.applied
		return rep, true
	}
	ownTerm := s.applied >= s.first && s.log[s.applied-s.first].term == s.term || s.term <= 5
	if req.Term < s.term && !ownTerm {
		return call.Reply{Err: &shard.NotReadyError{Shard: req.Shard}}, true
	}
	for i := range s.log {
		if s.log[i].op != req.Op {
			continue
		}
		if at := s.first + uint64(i); at > s.applied {
			return call.Reply{}, false // it is on its way
		}
		return call.Reply{Err: &shard.AmbiguousError{Shard: req.Shard, Why: "the result is not kept"}}, true
	}
	if req.Term == s.term {
		s.cancelled[req.Op] = true
	}
	return call.Reply{Err: &call.NeverError{Op: req.Op}}, true
}

// settle lets everything that is under way end.
func (m *model) settle() {
	for _, l := range m.late {
		m.serve(l.to, &l.req)
	}
	m.late = nil
	for _, id := range m.ids() {
		m.apply(m.shards[id])
	}
}

// TestAtMostOnce runs calls against a cluster that elects, splits, merges and loses messages. Laws: a write that
// succeeded took effect exactly once, one that ended with ErrAmbiguous at most once, any other not at all; no attempt is
// sent twice; what is read is what the data holds.
func TestAtMostOnce(t *testing.T) {
	kinds := make(map[string]int)
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.Uint64().Draw(t, "seed"), rapid.SampledFrom([]int{0, 10, 30, 60}).Draw(t, "faults"))
		db, err := Open(context.Background(), "seed", WithWorld(m.w, m))
		if err != nil {
			t.Fatal(err)
		}
		r := &modelRun{t: t, m: m, db: db, wrote: make(map[string]error), kinds: kinds}
		for range 40 {
			r.step()
			if m.broken != "" {
				t.Fatal(m.broken)
			}
		}
		m.settle()
		for value, err := range r.wrote {
			n := m.effects[value]
			switch {
			case err == nil && n != 1, errors.Is(err, ErrAmbiguous) && n > 1, err != nil && !errors.Is(err, ErrAmbiguous) && n != 0:
				t.Fatalf("the write of %s took effect %d times and ended with: %v", value, n, err)
			}
		}
		if m.broken != "" {
			t.Fatal(m.broken)
		}
	})
	t.Log(kinds)
	if !t.Failed() && (kinds["ok"] == 0 || kinds["ambiguous"] == 0 || kinds["conflict"] == 0 || kinds["cross"] == 0) {
		t.Errorf("not every kind of end was met: %v", kinds)
	}
}

// modelRun is one client's calls.
type modelRun struct {
	t     *rapid.T
	m     *model
	db    *DB
	n     int
	wrote map[string]error
	kinds map[string]int
}

func (r *modelRun) key() []byte { return []byte{byte('a' + r.m.rng.IntN(26))} }

// value is never the same twice, and names its write.
func (r *modelRun) value() []byte {
	r.n++
	return fmt.Appendf(nil, "v%d", r.n)
}

func (r *modelRun) note(err error, values ...[]byte) {
	for _, v := range values {
		r.wrote[string(v)] = err
	}
	switch {
	case err == nil:
		r.kinds["ok"]++
	case errors.Is(err, ErrAmbiguous):
		r.kinds["ambiguous"]++
	case errors.Is(err, ErrConflict):
		r.kinds["conflict"]++
	case errors.Is(err, ErrCrossShard):
		r.kinds["cross"]++
	case errors.Is(err, ErrUnavailable):
		r.kinds["unavailable"]++
	default:
		r.t.Fatalf("unexpected end: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "a bug of this client") {
		r.t.Fatal(err)
	}
}

func (r *modelRun) step() {
	ctx := context.Background()
	v, k := r.value(), r.key()
	switch r.m.rng.IntN(8) {
	case 0:
		r.note(r.db.Put(ctx, k, v), v)
	case 1:
		r.note(r.db.PutIfAbsent(ctx, k, v), v)
	case 2:
		w, l := r.value(), r.key()
		r.note(r.db.Atomic(ctx, func(b *Batch) { b.Put(k, v); b.Put(l, w) }), v, w)
	case 3:
		r.putMany(ctx)
	case 4:
		r.get(ctx, k)
	case 5:
		r.scan(ctx)
	case 6:
		_ = r.db.DeleteRange(ctx, Range{Start: []byte("c"), End: []byte("t")})
		r.m.effects[""] = 0
	case 7:
		r.getMany(ctx)
	}
}

func (r *modelRun) getMany(ctx context.Context) {
	r.m.settle()
	var keys [][]byte
	for range 10 {
		keys = append(keys, r.key())
	}
	found, err := r.db.GetMany(ctx, keys)
	var b *BatchError
	if err != nil && !errors.As(err, &b) {
		r.t.Fatalf("get many: %v", err)
	}
	for i, k := range keys {
		if b != nil && errors.Is(b.Errs[i], ErrUnavailable) && r.m.faults > 0 {
			continue
		}
		want, exists := r.stored(k)
		if b != nil && b.Errs[i] != nil || found[i].Found != exists || string(found[i].Value) != want {
			r.t.Fatalf("get many: key %s: %+v %v, stored %q %v", k, found[i], err, want, exists)
		}
	}
}

func (r *modelRun) putMany(ctx context.Context) {
	var kvs []KV
	for c := byte('a'); c <= 'z'; c += byte(1 + r.m.rng.IntN(5)) {
		kvs = append(kvs, KV{Key: []byte{c}, Value: r.value()})
	}
	err := r.db.PutMany(ctx, kvs)
	var b *BatchError
	if err != nil && !errors.As(err, &b) {
		r.t.Fatalf("put many: %v", err)
	}
	for i := range kvs {
		if b != nil {
			r.note(b.Errs[i], kvs[i].Value)
		} else {
			r.note(nil, kvs[i].Value)
		}
	}
}

// get reads a key that nothing can change meanwhile, because all that was under way is settled first.
func (r *modelRun) get(ctx context.Context, k []byte) {
	r.m.settle()
	want, exists := r.stored(k)
	got, err := r.db.Get(ctx, k)
	switch {
	case errors.Is(err, ErrUnavailable) && r.m.faults > 0:
	case errors.Is(err, ErrNotFound) && !exists:
	case err == nil && exists && string(got) == want:
	default:
		r.t.Fatalf("get %s: %q %v, stored %q %v", k, got, err, want, exists)
	}
}

func (r *modelRun) stored(k []byte) (string, bool) {
	b, ok, _ := r.m.data.Get(shard.RawKey(k))
	if !ok {
		return "", false
	}
	v, _ := raw.DecodeValue(b)
	return string(v.User), true
}

// scan reads all keys, forward or in reverse, over shards that split and merge meanwhile.
func (r *modelRun) scan(ctx context.Context) {
	r.m.settle()
	var want, got []string
	for c := byte('a'); c <= 'z'; c++ {
		if v, ok := r.stored([]byte{c}); ok {
			want = append(want, string(c)+"="+v)
		}
	}
	scan := r.db.Scan
	if r.m.percent(50) {
		scan = r.db.ReverseScan
		slices.Reverse(want)
	}
	for kv, err := range scan(ctx, Range{}, PageBytes(1+r.m.rng.IntN(30))) {
		if errors.Is(err, ErrUnavailable) && r.m.faults > 0 {
			return
		}
		if err != nil {
			r.t.Fatal(err)
		}
		got = append(got, string(kv.Key)+"="+string(kv.Value))
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("scan: %v\nstored: %v", got, want)
	}
}
