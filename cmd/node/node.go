package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// Node is one process's part of a cluster.
type Node struct {
	cfg    Config
	env    env.Env
	log    *slog.Logger
	addr   string
	wire   Wire
	server Server
	guard  *rpc.Guard // nil without TLS
	dir    *directory

	ctx    context.Context
	cancel context.CancelFunc
	tasks  *env.Group
	done   chan struct{}

	// open is held for reading by whoever looks at an engine without being served (metrics, Ready), so that Close does
	// not close it under him. It is taken before everything else.
	open   sync.RWMutex
	closed bool // under open

	// leaving says that the process ends in a moment, see Leave; placement hears it with the next heartbeat.
	leaving atomic.Bool

	// Of the roles, nil without. Set before anybody is served.
	member *member
	store  *storeAgent

	settings nodeSettings
	// compareEvery is what SetCompareEvery said; nil: nothing.
	compareEvery atomic.Pointer[time.Duration]

	mu  sync.Mutex
	err error
}

// Start makes a node that listens; a store joins its cluster in the background, see Ready.
func Start(_ context.Context, c Config) (*Node, error) {
	if err := c.check(); err != nil {
		return nil, fault.With(fault.BadConfig, err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Env == nil {
		c.Env = env.Real{}
	}
	var guard *rpc.Guard
	if c.Wire == nil {
		w, err := newSecureWire(c.Env, c.TLS, c.Logger)
		if err != nil {
			return nil, err
		}
		c.Wire, guard = w, w.guard
	}
	server, err := c.Wire.Listen(c.Listen)
	if err != nil {
		hint := "name an address of this machine (--listen)"
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = "is another node running there?"
		}
		return nil, fault.Errorf(fault.PortInUse, "listen on %s: %w; %s", c.Listen, err, hint)
	}
	n := &Node{cfg: c, env: c.Env, log: c.Logger, addr: c.Advertise, done: make(chan struct{}), wire: c.Wire, server: server, guard: guard, tasks: env.NewGroup(c.Env, "node-tasks")}
	if n.addr == "" {
		n.addr = server.Addr()
	}
	n.settings.begin(&c)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.dir = newDirectory(c.Env, c.Wire, c.Join)
	n.server.ServeNode(n)
	if c.Began != nil {
		c.Began(n)
	}
	if err := n.startParts(); err != nil {
		_ = n.Close()
		return nil, err
	}
	n.goTask("serve", func() {
		if err := n.server.Serve(); err != nil {
			n.broken(err)
		}
	})
	return n, nil
}

// startParts opens both directories before anything is written to either, so that a wrong pair is refused whole. What
// it leaves half started, Close closes.
func (n *Node) startParts() error {
	var ident engine.Ident
	if n.cfg.Store != nil {
		a, err := newStoreAgent(n)
		if err != nil {
			return err
		}
		n.store, ident = a, a.ident
	}
	if n.cfg.Placement != nil {
		m, err := newMember(n)
		if err != nil {
			return err
		}
		n.member = m
		if err := m.start(ident); err != nil {
			return err
		}
		n.server.ServePlacement(placementPort{m})
	}
	if n.store != nil {
		return n.store.start()
	}
	return nil
}

// openEngine opens the engine of one part.
func (n *Node) openEngine(part string, o engine.Options) (*engine.Engine, error) {
	o.Logger = n.log
	o.OnBroken = n.broken
	o.FS = n.cfg.FS
	dir := filepath.Join(n.cfg.DataDir, part)
	if n.cfg.Memory {
		o.FS, dir = vfs.NewMem(), part
		o.CacheBytes, o.MemTableBytes = 16<<20, 16<<20
	}
	if n.cfg.Disk != nil {
		d := n.cfg.Disk(part)
		o.FS, o.Synced, o.Ingesting, o.BulkBytes = d.FS, d.Synced, d.Ingesting, d.BulkBytes
		o.SegmentBytes, o.LogInDatabase = d.SegmentBytes, d.LogInDatabase
	}
	e, err := engine.Open(dir, o)
	if err != nil {
		err = fmt.Errorf("open %s: %w", part, err)
		if pe := (*fs.PathError)(nil); errors.As(err, &pe) && fault.Of(err) == "" {
			return nil, fault.Errorf(fault.BadDir, "%w; name a directory that can be written (--data)", err)
		}
		return nil, err
	}
	return e, nil
}

func (n *Node) workers(configured int) int {
	if configured > 0 {
		return configured
	}
	return max(1, runtime.GOMAXPROCS(0)/4)
}

func (n *Node) goTask(name string, f func()) {
	n.tasks.Add()
	n.env.Go(name, func() {
		defer n.tasks.Done()
		f()
	})
}

// broken ends the node's usefulness; the first reason stays.
func (n *Node) broken(err error) {
	if errors.Is(err, shard.ErrClosed) || n.ctx.Err() != nil {
		return
	}
	n.env.Go("broken", func() {
		n.mu.Lock()
		first := n.err == nil
		if first {
			n.err = err
		}
		n.mu.Unlock()
		if !first {
			return
		}
		n.log.Error("node stopped", "err", err)
		close(n.done)
		if n.cfg.OnBroken != nil {
			n.cfg.OnBroken(err)
		}
	})
}

// Addr is the address that others dial.
func (n *Node) Addr() string { return n.addr }

// Guard lets callers in; it is nil without TLS. The node's other listeners share it.
func (n *Node) Guard() *rpc.Guard { return n.guard }

// Done is closed when the node stopped by itself; Err says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node stopped by itself, nil while it works.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Ready waits until placement has a leader and, with the store role, the store is registered and heard.
func (n *Node) Ready(ctx context.Context) error {
	for {
		if err := n.Err(); err != nil {
			return err
		}
		if n.ready() {
			return nil
		}
		if err := n.env.Sleep(ctx, agentPoll); err != nil {
			return fmt.Errorf("node at %s is not ready: %w", n.addr, err)
		}
	}
}

func (n *Node) ready() bool {
	n.open.RLock()
	defer n.open.RUnlock()
	if n.closed {
		return false
	}
	if a := n.store; a != nil {
		return a.joined()
	}
	return n.member.joined()
}

// Close stops the parts in order: first nobody is served any more, then the agents, who could still open a store, then
// stores, then disks. The second Close does nothing.
func (n *Node) Close() error {
	n.open.Lock()
	closed := n.closed
	n.closed = true
	n.open.Unlock()
	if closed {
		return nil
	}
	n.cancel()
	n.server.Stop()
	n.tasks.Wait()
	var err error
	if n.store != nil {
		err = errors.Join(err, n.store.close())
	}
	if n.member != nil {
		err = errors.Join(err, n.member.close())
	}
	return errors.Join(err, n.wire.Close())
}

// Abandon closes the engines and nothing else. It is for the simulator, which has ended all tasks of the node where they
// stood, as a crash does.
func (n *Node) Abandon() {
	n.cancel()
	if m := n.member; m != nil {
		defer func() { _ = m.engine.Close() }()
	}
	if a := n.store; a != nil {
		_ = a.engine.Close()
	}
}

// SyncWAL syncs the write-ahead log of one part. It is for the simulator, which breaks a disk and lets the part find that
// at once.
func (n *Node) SyncWAL(part string) error {
	if part == partPlacement && n.member != nil {
		return n.member.engine.SyncWAL()
	}
	if part == partStore && n.store != nil {
		return n.store.engine.SyncWAL()
	}
	return nil
}

// SetCompareEvery says how often what the parts of the node hold is compared with others from now on, those that are not open
// yet as well; zero: never. Without it that is as often as their configurations say that it is checked.
func (n *Node) SetCompareEvery(d time.Duration) {
	n.compareEvery.Store(&d)
	for _, s := range n.stores() {
		n.goByCompareEvery(s)
	}
	if m := n.member; m != nil {
		if s := m.opened(); s != nil {
			n.goByCompareEvery(s)
		}
	}
}

// goByCompareEvery tells a store what SetCompareEvery said last. Who opens one calls it behind the moment from which on
// SetCompareEvery finds the store.
func (n *Node) goByCompareEvery(s *raftstore.Store) {
	if d := n.compareEvery.Load(); d != nil {
		s.SetCompareEvery(*d)
	}
}

// stores are the raft stores of this node that serve users.
func (n *Node) stores() []*raftstore.Store {
	if a := n.store; a != nil {
		if s := a.open(); s != nil {
			return []*raftstore.Store{s}
		}
	}
	return nil
}

// Placement is this node's member, nil without one, or while it has no number yet.
func (n *Node) Placement() *placement.Server {
	if n.member == nil {
		return nil
	}
	_, p := n.member.parts()
	return p
}

func (n *Node) observer(part string) raftstore.Observer {
	if n.cfg.Observer == nil {
		return nil
	}
	return n.cfg.Observer(part)
}
