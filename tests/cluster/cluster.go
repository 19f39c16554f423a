// Package cluster runs several stores in one process over in-memory disks and an in-memory network: the protocols as
// they are, without sockets. Tests cut links, crash stores and start them again on what their disk kept.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/tests/memdisk"
)

// Options of a Cluster. Zero values make three stores with one shard of three replicas.
type Options struct {
	Stores   int
	Shards   []*shard.Descriptor
	Store    func(*raftstore.Options) // changes a store's options before it opens
	Engine   func(*engine.Options)    // changes an engine's
	Verbose  bool
	OnBroken func(id shard.StoreID, err error) // default: the test fails
}

// Cluster is a set of stores.
type Cluster struct {
	T       testing.TB
	Env     env.Env
	Net     *rpc.Network
	Stores  map[shard.StoreID]*Member
	opt     Options
	client  uint64
	seq     atomic.Uint64
	ids     atomic.Uint64 // of splits
	started time.Time
	mu      sync.RWMutex // of the Members' Store, Engine and life, which clients read while a nemesis changes them
}

// Member is one store of the cluster, up or down.
type Member struct {
	ID     shard.StoreID
	FS     *memdisk.FS
	Disk   *Disk // what the engine sees of FS
	Engine *engine.Engine
	Store  *raftstore.Store // nil while down
	life   *life
}

// life is one life of a store, between Start and Crash.
type life struct {
	raftstore.Transport
	// over: nothing that it says from now on is heard. A crashed store must fall silent before its disk is taken: what it
	// syncs afterwards is lost, so it may not promise it to anybody.
	over atomic.Bool
}

// Send implements raftstore.Transport.
func (l *life) Send(to shard.StoreID, urgent bool, frame []byte) {
	if !l.over.Load() {
		l.Transport.Send(to, urgent, frame)
	}
}

// store is what serves for a member now, nil while it is down.
func (c *Cluster) store(id shard.StoreID) (*raftstore.Store, *life) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m := c.Stores[id]
	return m.Store, m.life
}

func (c *Cluster) set(m *Member, e *engine.Engine, s *raftstore.Store, l *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Engine, m.Store, m.life = e, s, l
}

// Descriptor makes a shard descriptor over the first stores 1..n, one replica each, all voters.
func Descriptor(id shard.ID, start, end string, stores int) *shard.Descriptor {
	d := &shard.Descriptor{ID: id, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
	if start != "" {
		d.Range.Start = shard.RawKey([]byte(start))
	}
	if end != "" {
		d.Range.End = shard.RawKey([]byte(end))
	}
	for i := 1; i <= stores; i++ {
		d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(uint64(id)*10 + uint64(i)), Store: shard.StoreID(i), Role: shard.Voter})
	}
	return d
}

// New starts a cluster; it is closed when the test ends.
func New(t testing.TB, o Options) *Cluster {
	if o.Stores == 0 {
		o.Stores = 3
	}
	if o.Shards == nil {
		o.Shards = []*shard.Descriptor{Descriptor(2, "", "", o.Stores)}
	}
	c := &Cluster{T: t, Env: env.Real{}, opt: o, Stores: make(map[shard.StoreID]*Member), client: rand.Uint64(), started: time.Now()}
	c.Net = rpc.NewNetwork(c.Env)
	for i := 1; i <= o.Stores; i++ {
		id := shard.StoreID(i)
		c.Stores[id] = &Member{ID: id, FS: memdisk.New()}
		c.Start(id)
	}
	for _, d := range o.Shards {
		for _, r := range d.Replicas {
			if m := c.Stores[r.Store]; m != nil {
				if err := m.Store.CreateShards([]*shard.Descriptor{d}); err != nil {
					t.Fatalf("create %s on %s: %v", d.ID, r.Store, err)
				}
			}
		}
	}
	t.Cleanup(c.Close)
	return c
}

// Start opens a store on what its disk holds.
func (c *Cluster) Start(id shard.StoreID) {
	c.T.Helper()
	m := c.Stores[id]
	level := slog.LevelWarn
	if c.opt.Verbose {
		level = slog.LevelDebug
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if !c.opt.Verbose {
		logger = slog.New(slog.DiscardHandler)
	}
	broken := func(err error) {
		if c.opt.OnBroken != nil {
			c.opt.OnBroken(id, err)
			return
		}
		c.T.Errorf("%s broke: %v", id, err)
	}
	m.Disk = NewDisk(m.FS)
	eo := engine.Options{FS: m.Disk, CacheBytes: 4 << 20, MemTableBytes: 4 << 20, OnBroken: broken}
	if c.opt.Engine != nil {
		c.opt.Engine(&eo)
	}
	e, err := engine.Open("store", eo)
	if err != nil {
		c.T.Fatalf("open engine of %s: %v", id, err)
	}
	if err := e.RaiseVersion(version.Newest()); err != nil { // what a store hears when it registers
		c.T.Fatalf("open engine of %s: %v", id, err)
	}
	l := &life{Transport: c.Net.Transport(id)}
	o := raftstore.Options{Env: c.Env, Engine: e, Store: id, Transport: l, Logger: logger, WallTime: true,
		Tick: 20 * time.Millisecond, OnBroken: broken}
	if c.opt.Store != nil {
		c.opt.Store(&o)
	}
	s, err := raftstore.Open(o)
	if err != nil {
		c.T.Fatalf("open %s: %v", id, err)
	}
	c.set(m, e, s, l)
	c.Net.Attach(id, s)
}

// Stop closes a store in order; its disk keeps everything.
func (c *Cluster) Stop(id shard.StoreID) {
	c.T.Helper()
	m := c.Stores[id]
	if m.Store == nil {
		return
	}
	m.Disk.Release()
	c.Net.Attach(id, nil)
	s, e := m.Store, m.Engine
	c.set(m, nil, nil, nil)
	_ = s.Close()
	c.checkMemory(s)
	if err := e.Close(); err != nil {
		c.T.Errorf("close engine of %s: %v", id, err)
	}
}

// checkMemory holds a closed store against what it took from its budget: everything is given back, once those have left who
// were at its door with a frame.
func (c *Cluster) checkMemory(s *raftstore.Store) {
	c.T.Helper()
	for _, k := range budget.Kinds() {
		for end := time.Now().Add(5 * time.Second); k != budget.Changes && s.Memory().Used(k) != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				c.T.Errorf("%s closed and holds %d bytes for %s", s.ID(), s.Memory().Used(k), k)
				break
			}
		}
	}
}

// Crash takes a store away as a power failure does: its disk keeps what was synced and, of the rest, unsyncedPercent.
func (c *Cluster) Crash(id shard.StoreID, unsyncedPercent int) {
	c.T.Helper()
	m := c.Stores[id]
	m.life.over.Store(true)
	c.Net.Attach(id, nil)
	clone := m.FS.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rand.New(rand.NewPCG(rand.Uint64(), uint64(id)))})
	s, e := m.Store, m.Engine
	c.set(m, nil, nil, nil)
	m.Disk.Release()
	_ = s.Close()
	c.checkMemory(s)
	_ = e.Close()
	m.FS = clone
}

// Wipe takes a store's disk away; Start then begins with an empty one.
func (c *Cluster) Wipe(id shard.StoreID) {
	c.Stop(id)
	c.Stores[id].FS = memdisk.New()
}

// Close stops all stores.
func (c *Cluster) Close() {
	for i := 1; i <= len(c.Stores); i++ {
		c.Stop(shard.StoreID(i))
	}
}

// WaitFor polls cond, which the cluster must reach by itself.
func (c *Cluster) WaitFor(what string, cond func() bool) {
	c.T.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	c.T.Fatalf("waited in vain for: %s", what)
}

// Leader waits for a shard to have a leader, awake or asleep: of several that believe it, the one of the newest term.
func (c *Cluster) Leader(id shard.ID) shard.StoreID {
	c.T.Helper()
	var lead shard.StoreID
	c.WaitFor(fmt.Sprintf("a leader of %s", id), func() bool {
		var term uint64
		for i := 1; i <= len(c.Stores); i++ {
			if st := c.Status(shard.StoreID(i), id); st.Leading && st.Term > term {
				lead, term = shard.StoreID(i), st.Term
			}
		}
		return term != 0
	})
	return lead
}

// Status is a store's picture of its replica of a shard; zero if it holds none.
func (c *Cluster) Status(id shard.StoreID, sid shard.ID) raftstore.ReplicaStatus {
	s, _ := c.store(id)
	if s == nil {
		return raftstore.ReplicaStatus{}
	}
	st, err := s.Status(context.Background(), sid)
	if err != nil || len(st) == 0 {
		return raftstore.ReplicaStatus{}
	}
	return st[0]
}

// StatusOf is a store's picture of all its replicas; an error if it is down.
func (c *Cluster) StatusOf(ctx context.Context, id shard.StoreID) ([]raftstore.ReplicaStatus, error) {
	s, _ := c.store(id)
	if s == nil {
		return nil, shard.ErrUnavailable
	}
	return s.Status(ctx, 0)
}

// Do sends a request to one store.
func (c *Cluster) Do(to shard.StoreID, req *call.Request) call.Reply {
	return c.DoFor(to, req, 10*time.Second)
}

// DoFor is Do with its own patience.
func (c *Cluster) DoFor(to shard.StoreID, req *call.Request, patience time.Duration) call.Reply {
	s, l := c.store(to)
	if s == nil {
		return call.Reply{Err: shard.ErrUnavailable}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rep := s.Do(ctx, req)
	if l.over.Load() {
		return call.Reply{Err: shard.ErrUnavailable} // it crashed before anybody heard the reply
	}
	return rep
}

// Write executes a command on a shard, at most once: it finds the leader and asks about attempts that were not
// answered, as the SDK does.
func (c *Cluster) Write(d *shard.Descriptor, cmd *raw.Command) (raw.Result, error) {
	body := cmd.Append(nil)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		lead, ref := c.refresh(d)
		var stale *shard.StaleEpochError
		if errors.As(ref.Err, &stale) {
			return raw.Result{}, ref.Err
		}
		if ref.Err != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		op := call.OpID{Client: c.client, Seq: c.seq.Add(1)}
		req := &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: 2 * time.Second, Op: op, Term: ref.Term, Since: ref.Applied, Body: body}
		rep := c.Do(lead, req)
		for errors.Is(rep.Err, shard.ErrUnavailable) || errors.Is(rep.Err, shard.ErrClosed) || errors.Is(rep.Err, context.DeadlineExceeded) {
			rep = c.outcome(d, req)
		}
		if rep.Err == nil {
			return raw.DecodeResult(rep.Body)
		}
		if !Definite(rep.Err) {
			return raw.Result{}, rep.Err
		}
	}
	return raw.Result{}, errors.New("no leader in time")
}

// Definite reports whether an error says that nothing happened.
func Definite(err error) bool {
	var (
		never *call.NeverError
		nl    *shard.NotLeaderError
		busy  *shard.ServerBusyError
		full  *shard.DiskFullError
		ref   *shard.RefreshError
		over  *shard.OverwrittenError
		ready *shard.NotReadyError
		none  *shard.NotFoundError
	)
	return errors.As(err, &never) || errors.As(err, &nl) || errors.As(err, &busy) || errors.As(err, &full) || errors.As(err, &ref) ||
		errors.As(err, &over) || errors.As(err, &ready) || errors.As(err, &none)
}

func (c *Cluster) refresh(d *shard.Descriptor) (shard.StoreID, call.Reply) {
	var rep call.Reply
	for _, r := range d.Replicas {
		rep = c.Do(r.Store, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch})
		var stale *shard.StaleEpochError
		if rep.Err == nil || errors.As(rep.Err, &stale) {
			return r.Store, rep
		}
	}
	return 0, rep
}

// outcome asks what became of an attempt until somebody knows.
func (c *Cluster) outcome(d *shard.Descriptor, req *call.Request) call.Reply {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, r := range d.Replicas {
			rep := c.Do(r.Store, &call.Request{Kind: call.Outcome, Shard: d.ID, Op: req.Op, Term: req.Term, Since: req.Since, Timeout: time.Second})
			var never *call.NeverError
			var amb *shard.AmbiguousError
			if rep.Err == nil || errors.As(rep.Err, &never) || errors.As(rep.Err, &amb) {
				return rep
			}
		}
	}
	return call.Reply{Err: &shard.AmbiguousError{Shard: d.ID, Why: "nobody knows"}}
}

// Put writes one key.
func (c *Cluster) Put(d *shard.Descriptor, k, v string) error {
	_, err := c.Write(d, &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte(k)), Value: []byte(v)}}})
	return err
}

// Get reads one key from whoever leads.
func (c *Cluster) Get(d *shard.Descriptor, k string) (string, bool, error) {
	return c.get(d, k, false, 0)
}

// GetFrom reads one key from one replica, as a follower read.
func (c *Cluster) GetFrom(d *shard.Descriptor, k string, from shard.StoreID) (string, bool, error) {
	return c.get(d, k, true, from)
}

func (c *Cluster) get(d *shard.Descriptor, k string, follower bool, from shard.StoreID) (string, bool, error) {
	q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte(k))}}
	req := &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Follower: follower, Timeout: 2 * time.Second, Body: q.Append(nil)}
	var last error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		for _, r := range d.Replicas {
			if from != 0 && r.Store != from {
				continue
			}
			rep := c.Do(r.Store, req)
			if last = rep.Err; last != nil {
				continue
			}
			a, err := raw.DecodeAnswer(rep.Body)
			if err != nil {
				return "", false, err
			}
			return string(a.Rows[0].Value), a.Rows[0].Found, nil
		}
	}
	return "", false, last
}

// Checksum is the checksum of a shard's data on one store, from the engine itself, and the applied index of the view.
func (c *Cluster) Checksum(id shard.StoreID, d *shard.Descriptor) (raw.Sum, uint64) {
	c.T.Helper()
	rd := c.Stores[id].Engine.NewReader()
	defer func() { _ = rd.Close() }()
	a, _, err := rd.Applied(d.ID)
	if err != nil {
		c.T.Fatalf("checksum of %s on %s: %v", d.ID, id, err)
	}
	q := &raw.Query{Kind: raw.Checksum, Range: d.Range.Intersect(shard.ModeRange(shard.ModeRaw))}
	ans, _, err := q.Run(rd, d.Range, a.Time, 0)
	if err != nil {
		c.T.Fatalf("checksum of %s on %s: %v", d.ID, id, err)
	}
	return ans.Sum, a.Index
}

// Same waits until every replica of a shard holds the same data at the same index.
func Same(c *Cluster, d *shard.Descriptor) {
	c.T.Helper()
	var what string
	c.WaitFor("equal checksums", func() bool {
		var first raw.Sum
		var at uint64
		what = ""
		for i, r := range d.Replicas {
			if c.Stores[r.Store].Store == nil {
				continue
			}
			sum, index := c.Checksum(r.Store, d)
			what += fmt.Sprintf(" %s:%x@%d", r.Store, sum.Hash, index)
			if i == 0 {
				first, at = sum, index
			} else if index == at && sum != first {
				c.T.Fatalf("replicas differ at index %d:%s", at, what)
			} else if index != at || sum != first {
				return false
			}
		}
		return true
	})
}
