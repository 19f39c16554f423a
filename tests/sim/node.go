package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// server is one place of the cluster: a disk, an address, and, one after the other, the processes that run there.
type server struct {
	c       *cluster
	index   int
	first   uint64 // number of the first placement member that was here; 0 without one
	member  uint64 // the same while the server is started with it
	joins   bool   // it is started with a placement member that joins
	replace uint64 // in whose place
	alone   bool   // without its store, beside which an empty directory is refused at once
	addr    string
	disk    *disk
	lives   int
	removed bool // its store was removed from the cluster: the directory is wiped before the next life

	// Of the present life; nil while the process is down.
	machine  *world.Machine
	host     *simnet.Host
	node     *node.Node
	begun    *node.Node // also while it starts
	broken   error      // why the process wants to end
	refusals int        // lives that ended because the store was removed
}

func (s *server) String() string { return fmt.Sprintf("n%d", s.index) }

// seated reports whether the server is started with a placement member.
func (s *server) seated() bool { return s.member != 0 || s.joins }

// number is the placement member that runs there, 0 if none does.
func (s *server) number() shard.StoreID {
	if !s.up() || s.node == nil {
		return 0
	}
	return s.node.Info().Member
}

func (s *server) up() bool { return s.machine != nil }

// start begins a life: a process on what the disk holds. Nobody starts it on a disk that is hopeless.
func (s *server) start() {
	c := s.c
	if s.disk.hopeless() {
		return
	}
	s.lives++
	m := c.w.NewMachine(s.String())
	s.machine, s.broken = m, nil
	m.SetClock(c.w.Between(time.Minute, 100*time.Hour), c.rate(), c.w.Between(-c.knobs.WallSkew, c.knobs.WallSkew))
	m.Delay = s.disk.delay
	m.Panicked = func(reason string) bool { return s.panicked(m, reason) }
	s.host = c.net.Host(m, s.addr)
	cfg := node.Config{Listen: s.addr, Advertise: s.addr, DataDir: "data", Disk: s.disk.part, Version: "sim", Env: m.Env(), Wire: s.host.Wire(),
		Logger: slog.New(&logHandler{m: m, d: s.disk}), Join: c.joinAddrs(),
		Store:    &node.StoreConfig{CacheBytes: 8 << 20, MemTableBytes: memTableBytes, Workers: c.knobs.Workers, Tick: c.knobs.Tick, LogEntries: c.knobs.LogEntries, SplitBytes: -1, SplitWork: -1, CheckEvery: c.knobs.Check},
		OnBroken: func(err error) { s.broken = s.disk.reason(err) }, Observer: c.monitors.observer(m, fmt.Sprintf("%s, directory %d", s, s.disk.seats)), Coverage: &c.rows}
	if s.member != 0 && !s.joins {
		cfg.Placement = &node.PlacementConfig{ID: s.member, Members: c.memberAddrs(), Bootstrap: true, Replicas: c.knobs.replicas(), SplitKeys: c.splitKeys(), Stores: c.knobs.Stores - c.knobs.Late, Tick: c.knobs.Tick, LogEntries: c.knobs.LogEntries,
			Patience: c.knobs.Patience, CheckEvery: c.knobs.Check}
		cfg.Join = nil
	}
	if s.alone {
		cfg.Store = nil
	}
	if s.joins {
		cfg.Placement = &node.PlacementConfig{Join: true, Replace: s.replace, Tick: c.knobs.Tick, LogEntries: c.knobs.LogEntries,
			Patience: c.knobs.Patience, CheckEvery: c.knobs.Check}
		cfg.Join = strings.Split(c.addrs(), ",")
	}
	cfg.Began = func(n *node.Node) { s.begun = n }
	life := s.lives
	m.Log("start, life %d", life)
	m.Env().Go("start", func() {
		n, err := node.Start(context.Background(), cfg)
		s.disk.started(s, err)
		if err != nil {
			s.broken = s.disk.reason(err)
			m.Log("not started: %v", s.broken)
			return
		}
		s.node = n
	})
}

// crash ends the process where it stands. What its disk had not synced is lost, or not.
func (s *server) crash() {
	if s.machine == nil {
		return
	}
	s.machine.Log("crash")
	s.disk.freeze()
	s.machine.Kill()
	s.host.Down()
	if s.begun != nil {
		abandon(s.begun)
	}
	s.machine, s.host, s.node, s.begun = nil, nil, nil, nil
	s.disk.crash()
}

// abandon closes a node's engines. A task that was ended in the middle of a read leaves an iterator open, at which Pebble
// panics at the very end of Close, when all files are written.
func abandon(n *node.Node) {
	defer func() { _ = recover() }()
	n.Abandon()
}

// logHandler writes what a node logs to the trace.
type logHandler struct {
	m     *world.Machine
	d     *disk
	attrs string
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	if h.d.quiet(r.Message) {
		return nil
	}
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	h.m.Log("%s%s", h.d.line(r.Message, line), h.attrs)
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := *h
	for _, a := range attrs {
		out.attrs += " " + a.String()
	}
	return &out
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }
