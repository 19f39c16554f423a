package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/tests/bench/still"
	"github.com/skerrydb/skerry/tests/faultfs"
	"github.com/skerrydb/skerry/tests/lossyfs"
)

// childEnv names the file with the Child of a process that this binary starts.
const childEnv = "SKERRY_E2E_CHILD"

// Child says what a process is.
type Child struct {
	Listen, Advertise, Data string
	Via                     map[linkKind]map[string]string // by kind of link: address to that of its proxy
	Member                  uint64                         // placement member's id, 0 for none
	Members                 map[uint64]string
	Bootstrap               bool
	Join                    []string
	SplitKeys               []string
	Stores                  int
	NoStore                 bool   // a placement member alone
	Lossy                   bool   // the filesystem that loses what was not synced
	SkipSync                string // with Lossy: a pattern of paths whose syncs do nothing
	Hurtful                 bool   // disks and clocks do what orders say
	Bug                     string // planted, in a build with the tag bugs
	MemTableBytes           int64
	SegmentBytes            int64
	LogEntries              uint64
	MemoryBudget            int64
	CacheBytes              int64
	SplitBytes              int64
	SnapshotBytesPerSecond  int64
	DownAfter               time.Duration
	CheckEvery              time.Duration
	Uncompared              bool
	Verbose                 bool
}

// capacity is how much of the machine's disk each store takes for its own: how full that disk is decides what a store takes
// and what placement sends it, and must not decide a test.
const capacity = 16 << 30

// checkRate is far above what people choose: tests wait for it.
const checkRate = 64 << 20

// order changes what is wrong with a child that is Hurtful. The parent writes orders to its standard input, one a line.
type order struct {
	Disk  *faultfs.Faults `json:",omitempty"`
	Clock *skew           `json:",omitempty"`
}

// Main is for TestMain: in a child process it runs the node and does not return.
func Main(m *testing.M) {
	still.Main()
	if path := os.Getenv(childEnv); path != "" {
		if err := node.CoarseTimers(); err != nil {
			fmt.Fprintln(os.Stderr, "timers stay fine:", err)
		}
		var c Child
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(c.run())
	}
	if text := os.Getenv(loadEnv); text != "" {
		var l overloadLoad
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(l.main())
	}
	os.Exit(m.Run())
}

func (c *Child) run() int {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelInfo
	}
	cfg := node.Config{Listen: c.Listen, Advertise: c.Advertise, DataDir: c.Data, Join: c.Join, Version: "e2e", Env: env.Real{},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Store: &node.StoreConfig{CapacityBytes: capacity, MemTableBytes: c.MemTableBytes, LogEntries: c.LogEntries, MemoryBudget: c.MemoryBudget, CacheBytes: c.CacheBytes, SplitBytes: c.SplitBytes, SplitWork: int(min(c.SplitBytes, 0)),
			SnapshotBytesPerSecond: c.SnapshotBytesPerSecond, CheckEvery: c.CheckEvery, CheckBytesPerSecond: checkRate}}
	if b, ok := bug.Find(c.Bug); ok {
		bug.Plant(b)
	}
	if c.NoStore {
		cfg.Store = nil
	}
	if c.Lossy {
		fs := lossyfs.New()
		if c.SkipSync != "" {
			fs.Skip = regexp.MustCompile(c.SkipSync).MatchString
		}
		cfg.FS = fs
	}
	obey := func(order) error { return fmt.Errorf("this process takes no orders") }
	if c.Hurtful {
		obey = c.hurtful(&cfg)
	}
	if c.SegmentBytes != 0 {
		cfg.Disk = func(string) node.Disk { return node.Disk{FS: cfg.FS, SegmentBytes: c.SegmentBytes} }
	}
	if c.Member != 0 {
		cfg.Placement = &node.PlacementConfig{ID: c.Member, Members: c.Members, Bootstrap: c.Bootstrap, SplitKeys: c.SplitKeys, Stores: c.Stores,
			DownAfter: c.DownAfter, CollectGarbage: c.Hurtful, CheckEvery: c.CheckEvery, CheckBytesPerSecond: checkRate}
	}
	cfg.TuneRuntime()
	cfg.Wire = newLinkWire(cfg.Env, c.Via)
	n, err := node.Start(context.Background(), cfg)
	if err != nil {
		fmt.Fprintf(os.Stderr, "start: %v [%s]\n", err, fault.Of(err))
		return 1
	}
	go node.PaceCollector(context.Background())
	if c.Uncompared {
		n.SetCompareEvery(0)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go takeOrders(obey)
	measure := make(chan os.Signal, 1)
	signal.Notify(measure, syscall.SIGUSR1)
	go func() {
		for range measure {
			c.writeHeap()
		}
	}()
	select {
	case <-stop:
		return leave(n)
	case <-n.Done():
		fmt.Fprintf(os.Stderr, "broken: %v [%s]\n", n.Err(), fault.Of(n.Err()))
		return 1
	}
}

// leaveLimit is how long a child that is told to stop may take to give its leaderships away.
const leaveLimit = 20 * time.Second

// leave stops as `skerry server` does.
func leave(n *node.Node) int {
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	err := errors.Join(n.Leave(ctx), n.Close())
	if err != nil {
		fmt.Fprintln(os.Stderr, "stop:", err)
		return 1
	}
	return 0
}

// hurtful puts a disk and clocks that can be wrong under the node, and returns who makes them so.
func (c *Child) hurtful(cfg *node.Config) func(order) error {
	below := cfg.FS
	if below == nil {
		below = vfs.Default
	}
	disk, clock := faultfs.New(below), newSkewedEnv(skew{})
	cfg.FS, cfg.Env = disk, clock
	go c.tellStat()
	return func(o order) error {
		if o.Clock != nil {
			clock.set(*o.Clock)
		}
		if o.Disk != nil {
			return disk.Set(*o.Disk)
		}
		return nil
	}
}

// takeOrders does what the parent says. A child must not outlive a test that was killed: its standard input ends with
// the parent.
func takeOrders(obey func(order) error) {
	d := json.NewDecoder(os.Stdin)
	for {
		var o order
		err := d.Decode(&o)
		if err == nil {
			err = obey(o)
		}
		if err != nil {
			if err != io.EOF {
				fmt.Fprintln(os.Stderr, "order:", err)
			}
			os.Exit(3)
		}
	}
}

// writeHeap says how much heap is live, and writes a profile of it for people beside.
func (c *Child) writeHeap() {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var profile bytes.Buffer
	if pprof.WriteHeapProfile(&profile) == nil {
		replace(c.Data+".pprof", profile.Bytes())
	}
	replace(c.Data+".heap", []byte(fmt.Sprint(m.HeapAlloc)))
}

// statInterval is how often a hurtful child says how it is.
const statInterval = time.Second

// tellStat writes what only the process itself can tell, again and again: goroutines, and bytes of heap in use.
func (c *Child) tellStat() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	for ; ; time.Sleep(statInterval) {
		metrics.Read(heap)
		replace(c.Data+".stat", fmt.Append(nil, runtime.NumGoroutine(), " ", heap[0].Value.Uint64()))
	}
}

// replace writes a file whole, or not at all.
func replace(name string, text []byte) {
	_ = os.WriteFile(name+".tmp", text, 0o644)
	_ = os.Rename(name+".tmp", name)
}
