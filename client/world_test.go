package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
)

// world is env for one task: time passes only in sleeps and in calls that hang, tasks run where they are started, and
// background tasks only when the DB closes. One seed reproduces everything.
type world struct {
	now        env.Time
	seed       uint64
	background []func()
	slept      func(d time.Duration)
}

var _ env.Env = (*world)(nil)

var epochOfWorld = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) Now() env.Time   { return w.now }
func (w *world) Wall() time.Time { return epochOfWorld.Add(time.Duration(w.now)) }

// Rand is splitmix64.
func (w *world) Rand() uint64 {
	w.seed += 0x9e3779b97f4a7c15
	z := w.seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (w *world) Go(name string, f func()) {
	if name == "client-part" || name == "client-ahead" { // somebody waits for them
		f()
		return
	}
	w.background = append(w.background, f)
}

func (w *world) Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.now = w.now.Add(d)
	if w.slept != nil {
		w.slept(d)
	}
	return nil
}

func (w *world) Yield() {}

func (w *world) Call(_ string, f func()) { f() }

func (w *world) WithTimeout(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func (w *world) NewEvent(string) env.Event { return &worldEvent{w: w} }

type worldEvent struct {
	w     *world
	token bool
}

func (e *worldEvent) Wake() { e.token = true }

func (e *worldEvent) Wait(ctx context.Context, d time.Duration) error {
	for !e.token && len(e.w.background) > 0 {
		f := e.w.background[0]
		e.w.background = e.w.background[1:]
		f()
	}
	switch {
	case e.token:
		e.token = false
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case d > 0:
		e.w.now = e.w.now.Add(d)
		return env.ErrTimeout
	}
	panic("deadlock: the only task waits for a wake that nobody can give")
}

// deadlineCtx has a deadline by the clock of a world.
type deadlineCtx struct {
	context.Context
	w  *world
	at env.Time
}

func (c deadlineCtx) Deadline() (time.Time, bool) { return epochOfWorld.Add(time.Duration(c.at)), true }

// fakePlacement is what every member of placement knows in these tests.
type fakePlacement struct {
	routes  beat.Routes
	located func(key shard.Key)
	down    bool
}

func (p *fakePlacement) Node(context.Context, string) (rpc.NodeInfo, error) {
	return rpc.NodeInfo{Members: []string{"p1"}}, nil
}

func (p *fakePlacement) Locate(_ context.Context, addr string, key shard.Key, limit int) (*beat.Routes, error) {
	if p.located != nil {
		p.located(key)
	}
	if p.down {
		return nil, fmt.Errorf("locate at placement %s: %w", addr, shard.ErrUnavailable)
	}
	out := &beat.Routes{Stores: p.routes.Stores, Members: p.routes.Members}
	for _, r := range p.routes.Routes {
		if len(out.Routes) < limit && (len(r.Desc.Range.End) == 0 || key.Compare(r.Desc.Range.End) < 0) {
			out.Routes = append(out.Routes, r)
		}
	}
	return out, nil
}

func (p *fakePlacement) Watch(ctx context.Context, _ string, f func(*beat.Routes) error) error {
	return errors.New("no stream here")
}

func (p *fakePlacement) Replicas(context.Context, string, shard.ID) ([]rpc.ReplicaInfo, error) {
	return nil, shard.ErrUnavailable
}

func (p *fakePlacement) RemoveStore(context.Context, string, shard.StoreID) error {
	return shard.ErrUnavailable
}

func (p *fakePlacement) Administer(context.Context, string, *beat.Order) (*beat.Outcome, error) {
	return nil, shard.ErrUnavailable
}

func (p *fakePlacement) TransferLeader(context.Context, string, shard.ID, shard.StoreID) error {
	return shard.ErrUnavailable
}

func (p *fakePlacement) Split(context.Context, string, shard.ID, shard.Epoch, []shard.Key, int) ([]*shard.Descriptor, error) {
	return nil, shard.ErrUnavailable
}

func (p *fakePlacement) Timestamps(context.Context, string, int) (uint64, error) {
	return 0, shard.ErrUnavailable
}

func (p *fakePlacement) Close() error { return nil }

// fakeStores are stores 1 to n at addresses "st1" to "stn".
func fakeStores(n int) []beat.Store {
	var out []beat.Store
	for i := 1; i <= n; i++ {
		out = append(out, beat.Store{ID: shard.StoreID(i), Addr: fmt.Sprintf("st%d", i), State: beat.Up})
	}
	return out
}

// fakeDesc makes a descriptor with replicas <id>1 to <id>3 on stores 1 to 3. "-" is infinity.
func fakeDesc(id uint64, start, end string, e shard.Epoch) *shard.Descriptor {
	d := &shard.Descriptor{ID: shard.ID(id), Epoch: e}
	if start != "-" {
		d.Range.Start = shard.RawKey([]byte(start))
	}
	if end != "-" {
		d.Range.End = shard.RawKey([]byte(end))
	}
	for i := uint64(1); i <= 3; i++ {
		d.Replicas = append(d.Replicas, fakeReplica(id, i))
	}
	return d
}

func fakeReplica(id, store uint64) shard.Replica {
	return shard.Replica{ID: shard.ReplicaID(id*10 + store), Store: shard.StoreID(store), Role: shard.Voter}
}

// parseRoute reads "s2 a m 1.1 leader=1 term=5 applied=100"; what follows the epoch may be missing.
func parseRoute(line string) beat.Route {
	f := strings.Fields(line)
	id, _ := strconv.ParseUint(strings.TrimPrefix(f[0], "s"), 10, 64)
	var e shard.Epoch
	fmt.Sscanf(f[3], "%d.%d", &e.ConfVer, &e.Version)
	r := beat.Route{Desc: fakeDesc(id, f[1], f[2], e)}
	for _, arg := range f[4:] {
		name, v, _ := strings.Cut(arg, "=")
		n, _ := strconv.ParseUint(v, 10, 64)
		switch name {
		case "leader":
			r.Leader = fakeReplica(id, n).ID
		case "term":
			r.Term = n
		case "applied":
			r.Applied = n
		default:
			panic("unknown word in a route: " + arg)
		}
	}
	return r
}

// describe prints a request as transcripts show it.
func describe(req *call.Request) string {
	kind := map[call.Kind]string{call.Write: "write", call.Read: "read", call.Refresh: "refresh", call.Outcome: "outcome"}[req.Kind]
	s := fmt.Sprintf("%s %s", kind, req.Shard)
	if req.Kind != call.Outcome {
		s += " e" + req.Epoch.String()
	}
	if req.Follower {
		s += " follower"
	}
	if req.Kind == call.Refresh && req.Term != 0 {
		s += fmt.Sprintf(" after term %d", req.Term)
	}
	if req.Op.Seq != 0 {
		s += fmt.Sprintf(" #%d term %d since %d", req.Op.Seq, req.Term, req.Since)
	}
	return s + " within " + req.Timeout.Round(time.Millisecond).String()
}
