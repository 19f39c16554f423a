// Package e2e runs clusters of real processes over real sockets and files, and hurts them: kill, pause, cut off, wipe.
// The processes are this test binary started again (see Main), so that a test can give them another filesystem.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/tests/lossyfs"
)

// childEnv names the file with the Child of a process that this binary starts.
const childEnv = "SKERRY_E2E_CHILD"

// Child says what a process is.
type Child struct {
	Listen, Advertise, Data string
	Member                  uint64 // placement member's id, 0 for none
	Members                 map[uint64]string
	Bootstrap               bool
	Join                    []string
	SplitKeys               []string
	Stores                  int
	NoStore                 bool   // a placement member alone
	Lossy                   bool   // the filesystem that loses what was not synced
	SkipSync                string // with Lossy: a pattern of paths whose syncs do nothing
	MemTableBytes           int64
	Verbose                 bool
}

// Main is for TestMain: in a child process it runs the node and does not return.
func Main(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
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
	os.Exit(m.Run())
}

func (c *Child) run() int {
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelInfo
	}
	cfg := node.Config{Listen: c.Listen, Advertise: c.Advertise, DataDir: c.Data, Join: c.Join, Version: "e2e",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Store:  &node.StoreConfig{MemTableBytes: c.MemTableBytes}}
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
	if c.Member != 0 {
		cfg.Placement = &node.PlacementConfig{ID: c.Member, Members: c.Members, Bootstrap: c.Bootstrap, SplitKeys: c.SplitKeys, Stores: c.Stores}
	}
	n, err := node.Start(context.Background(), cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	// A child must not outlive a test that was killed: its standard input ends with the parent.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	measure := make(chan os.Signal, 1)
	signal.Notify(measure, syscall.SIGUSR1)
	go func() {
		for range measure {
			c.writeHeap()
		}
	}()
	select {
	case <-stop:
		_ = n.Close()
		return 0
	case <-n.Done():
		fmt.Fprintln(os.Stderr, "broken:", n.Err())
		return 1
	}
}

// writeHeap says how much heap is live.
func (c *Child) writeHeap() {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	tmp := c.Data + ".heap.tmp"
	_ = os.WriteFile(tmp, []byte(fmt.Sprint(m.HeapAlloc)), 0o644)
	_ = os.Rename(tmp, c.Data+".heap")
}

// Options of a Cluster.
type Options struct {
	Nodes     int  // default 3; each holds a store and, the first three, a placement member
	Apart     bool // the nodes hold stores only, and one more process the only placement member
	SplitKeys []string
	Lossy     bool
	SkipSync  string
	// MemTableBytes is the size of the stores' memtables; 0 is the default.
	MemTableBytes int64
	Verbose       bool
}

// Cluster is a set of processes on this machine.
type Cluster struct {
	T     testing.TB
	Dir   string
	Nodes []*Proc // those with a store
	Apart *Proc   // the placement member with Options.Apart, else nil
	DB    *client.DB
}

// Proc is one node's process, and the proxy through which everyone else reaches it.
type Proc struct {
	c     *Cluster
	Index int
	child Child
	proxy *proxy

	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
}

// New starts a cluster and waits until it serves. It is ended with the test.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &Cluster{T: t, Dir: t.TempDir()}
	members := make(map[uint64]string)
	for i := range o.Nodes {
		p := c.newProc(i, o)
		if i < 3 && !o.Apart {
			p.child.Member = uint64(i + 1)
			members[p.child.Member] = p.child.Advertise
		}
		c.Nodes = append(c.Nodes, p)
	}
	if o.Apart {
		c.Apart = c.newProc(o.Nodes, o)
		c.Apart.child.Member, c.Apart.child.NoStore = 1, true
		members[1] = c.Apart.child.Advertise
	}
	for _, p := range c.procs() {
		p.child.Members = members
		for _, addr := range members {
			p.child.Join = append(p.child.Join, addr)
		}
		p.Start()
	}
	t.Cleanup(c.close)
	c.Open()
	return c
}

func (c *Cluster) newProc(i int, o Options) *Proc {
	p := &Proc{c: c, Index: i}
	p.child = Child{Listen: freeAddr(c.T), Data: filepath.Join(c.Dir, fmt.Sprintf("node%d", i+1)), SplitKeys: o.SplitKeys,
		Stores: o.Nodes, Lossy: o.Lossy, SkipSync: o.SkipSync, Bootstrap: true, Verbose: o.Verbose, MemTableBytes: o.MemTableBytes}
	p.proxy = newProxy(c.T, p.child.Listen)
	p.child.Advertise = p.proxy.addr()
	return p
}

// procs are all processes.
func (c *Cluster) procs() []*Proc {
	if c.Apart == nil {
		return c.Nodes
	}
	return append(slices.Clone(c.Nodes), c.Apart)
}

// Addrs are the addresses of all nodes with a store.
func (c *Cluster) Addrs() string {
	var out []string
	for _, p := range c.Nodes {
		out = append(out, p.child.Advertise)
	}
	return strings.Join(out, ",")
}

// Open connects the cluster's client, waiting until every shard answers.
func (c *Cluster) Open() {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	if c.DB, err = client.Open(ctx, c.Addrs(), client.WithRetryBudget(60*time.Second)); err != nil {
		c.T.Fatalf("open: %v", err)
	}
	for {
		led, all := 0, 0
		var last error
		for s, err := range c.DB.Admin().Shards(ctx) {
			if err != nil {
				last = err
				break
			}
			all++
			if s.Leader.ID != 0 {
				led++
			}
		}
		if all > 0 && led == all {
			return
		}
		if ctx.Err() != nil {
			c.T.Fatalf("the cluster does not serve: %d of %d shards have a leader: %v", led, all, last)
		}
		time.Sleep(50*time.Millisecond + time.Duration(all)*200*time.Microsecond) // a list of many shards is work for placement
	}
}

func (c *Cluster) close() {
	if c.DB != nil {
		_ = c.DB.Close()
	}
	for _, p := range c.procs() {
		p.Resume()
		p.Kill()
		p.proxy.close()
		if log := p.Log(); c.T.Failed() && log != "" {
			c.T.Logf("node %d printed:\n%s", p.Index+1, log[max(0, len(log)-4000):])
		}
	}
}

// Start runs the process on whatever its directory holds.
func (p *Proc) Start() {
	p.c.T.Helper()
	text, err := json.Marshal(p.child)
	if err != nil {
		p.c.T.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(os.Args[0])
	config := p.child.Data + ".json"
	if err := os.WriteFile(config, text, 0o644); err != nil {
		p.c.T.Fatal(err)
	}
	cmd.Env = append(os.Environ(), childEnv+"="+config)
	log, err := os.OpenFile(p.child.Data+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.c.T.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if p.in, err = cmd.StdinPipe(); err != nil {
		p.c.T.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.c.T.Fatalf("start node %d: %v", p.Index+1, err)
	}
	_ = log.Close()
	p.cmd = cmd
}

// Kill ends the process as kill -9 does. What a lossy filesystem held in memory is gone.
func (p *Proc) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// Restart is Kill and Start.
func (p *Proc) Restart() { p.Kill(); p.Start() }

// Pause stops the process without its knowledge (SIGSTOP); Resume lets it go on.
func (p *Proc) Pause()  { p.signal(syscall.SIGSTOP) }
func (p *Proc) Resume() { p.signal(syscall.SIGCONT) }

func (p *Proc) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(s)
	}
}

// CutOff lets nothing reach the process any more: what it sends still leaves, which is a one-way partition. Heal ends it.
func (p *Proc) CutOff() { p.proxy.cut(true) }
func (p *Proc) Heal()   { p.proxy.cut(false) }

// Wipe takes the store's directory away, so that the node comes back as a new store. The placement member keeps its.
func (p *Proc) Wipe() {
	p.Kill()
	if err := os.RemoveAll(filepath.Join(p.child.Data, "store")); err != nil {
		p.c.T.Fatal(err)
	}
}

// Heap is how many bytes of heap are live in the process, after a collection.
func (p *Proc) Heap() int64 {
	path := p.child.Data + ".heap"
	_ = os.Remove(path)
	p.signal(syscall.SIGUSR1)
	for range 200 {
		if b, err := os.ReadFile(path); err == nil {
			n, _ := strconv.ParseInt(string(b), 10, 64)
			return n
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.c.T.Fatal("the process does not measure its heap")
	return 0
}

// CPU is the time that the process has spent, in user and system mode.
func (p *Proc) CPU() time.Duration {
	p.mu.Lock()
	pid := p.cmd.Process.Pid
	p.mu.Unlock()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		p.c.T.Fatal(err)
	}
	// The name of the program is in brackets and may hold anything; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100
}

// Addr is where the node is reached.
func (p *Proc) Addr() string { return p.child.Advertise }

// Log is what the process has printed.
func (p *Proc) Log() string {
	b, _ := os.ReadFile(p.child.Data + ".log")
	return string(b)
}

// freeAddr finds a loopback port below the range from which the system takes outgoing ones.
func freeAddr(t testing.TB) string {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// replicasAt asks one node for its replicas.
func replicasAt(ctx context.Context, addr string) ([]rpc.ReplicaInfo, error) {
	conns := rpc.NewConns(nil)
	defer conns.Close()
	return conns.Node(addr).Replicas(ctx, 0)
}
