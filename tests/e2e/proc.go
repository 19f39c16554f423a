// Package e2e runs clusters of real processes over real sockets and files, and hurts them: kill, pause, cut off, wipe.
// The processes are this test binary started again (see Main), so that a test can give them another filesystem.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/tests/ports"
)

// Options of a Cluster.
type Options struct {
	Nodes     int // default 3; each holds a store and, the first three, a placement member
	Apart     int // the nodes hold stores only, and so many more processes a placement member each
	Late      int // so many of the nodes are left for the test to start
	SplitKeys []string
	// SplitBytes is the size from which on shards are split; 0 is the default. With less they are split by load neither.
	SplitBytes int64
	// DownAfter is how long a store may be silent before it is replaced; 0 is the default.
	DownAfter time.Duration
	// SnapshotBytesPerSecond limits the snapshots that a store receives; 0 is no limit.
	SnapshotBytesPerSecond int64
	Lossy                  bool
	SkipSync               string
	// Hurtful gives every node disks and clocks that can be made wrong (Proc.Order), and lets it say how it is
	// (Proc.Stat).
	Hurtful bool
	// Bug is planted in every node, in a build with the tag bugs.
	Bug string
	// MemTableBytes is the size of the stores' memtables; 0 is the default.
	MemTableBytes int64
	// SegmentBytes is the size of a segment of the raft log; 0 is the default.
	SegmentBytes int64
	// LogEntries is how long a shard's log grows before it is cut; 0 is the default.
	LogEntries uint64
	// MemoryBudget and CacheBytes are the stores'; 0 is the default. With a budget the runtime of each node is told how much
	// memory it may take, as the command does.
	MemoryBudget, CacheBytes int64
	// CheckEvery is how often every part of a node checks what lies on its disk; 0 is never.
	CheckEvery time.Duration
	// Uncompared leaves out that replicas are compared with each other, so that nobody but the check of the disk finds damage.
	Uncompared bool
	// Direct has everybody reach the nodes without proxies: nothing can be cut, and whatever keeps the test busy does not
	// keep the nodes from hearing each other.
	Direct  bool
	Verbose bool
}

// Cluster is a set of processes on this machine.
type Cluster struct {
	T     testing.TB
	Dir   string
	Nodes []*Proc // those with a store
	Apart []*Proc // the placement members with Options.Apart
	DB    *client.DB
	net   *network
}

// Proc is one node's process. Everyone else reaches it through a proxy for each link.
type Proc struct {
	c     *Cluster
	Index int
	child Child
	// program is the file of the program that Start runs; empty: this one.
	program string

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil if none was started, or it was killed
	exited chan struct{} // closed when cmd has ended
	in     io.WriteCloser
}

// New starts a cluster and waits until it serves. It is ended with the test.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	c := &Cluster{T: t, Dir: t.TempDir()}
	listen := ports.Free(t, o.processes())
	c.net = newNetwork(t, listen)
	members := make(map[uint64]string)
	for i := range o.Nodes {
		p := c.newProc(i, listen, o)
		if i < 3 && o.Apart == 0 {
			p.child.Member = uint64(i + 1)
			members[p.child.Member] = p.child.Advertise
		}
		c.Nodes = append(c.Nodes, p)
	}
	for i := range o.Apart {
		p := c.newProc(o.Nodes+i, listen, o)
		p.child.Member, p.child.NoStore = uint64(i+1), true
		members[p.child.Member] = p.child.Advertise
		c.Apart = append(c.Apart, p)
	}
	for _, p := range c.procs() {
		p.child.Members = members
		for _, id := range slices.Sorted(maps.Keys(members)) {
			p.child.Join = append(p.child.Join, members[id])
		}
		if late := o.Nodes - o.Late; p.Index < late || p.Index >= o.Nodes {
			p.Start()
		}
	}
	t.Cleanup(c.close)
	c.Open()
	return c
}

// processes is how many a cluster has.
func (o *Options) processes() int { return o.Nodes + o.Apart }

func (c *Cluster) newProc(i int, listen []string, o Options) *Proc {
	p := &Proc{c: c, Index: i}
	p.child = Child{Listen: listen[i], Advertise: c.net.addr(i), Via: c.net.via(i, listen),
		Data: filepath.Join(c.Dir, fmt.Sprintf("node%d", i+1)), SplitKeys: o.SplitKeys, Stores: o.Nodes - o.Late, Lossy: o.Lossy,
		SkipSync: o.SkipSync, Hurtful: o.Hurtful, Bug: o.Bug, Bootstrap: true, Verbose: o.Verbose, MemTableBytes: o.MemTableBytes, SegmentBytes: o.SegmentBytes, LogEntries: o.LogEntries, MemoryBudget: o.MemoryBudget, CacheBytes: o.CacheBytes,
		SplitBytes: o.SplitBytes, DownAfter: o.DownAfter, SnapshotBytesPerSecond: o.SnapshotBytesPerSecond, CheckEvery: o.CheckEvery, Uncompared: o.Uncompared}
	if o.Direct {
		p.child.Advertise, p.child.Via = listen[i], nil
	}
	return p
}

// procs are all processes.
func (c *Cluster) procs() []*Proc { return slices.Concat(c.Nodes, c.Apart) }

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
		if log := p.Log(); c.T.Failed() && log != "" {
			c.T.Logf("node %d printed:\n%s", p.Index+1, log[max(0, len(log)-4000):])
		}
	}
	c.net.close()
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
	program := p.program
	if program == "" {
		program = os.Args[0]
	}
	cmd := exec.Command(program)
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
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p.cmd, p.exited = cmd, exited
}

// Kill ends the process as kill -9 does. What a lossy filesystem held in memory is gone.
func (p *Proc) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.cmd = nil
}

// Exited says that the process ended by itself.
func (p *Proc) Exited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ExitCode is that of a process that ended by itself.
func (p *Proc) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Stop ends the process in order (SIGTERM), and returns how long that took.
func (p *Proc) Stop() time.Duration {
	p.c.T.Helper()
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
	case <-time.After(leaveLimit + 10*time.Second):
		p.c.T.Fatalf("node %d does not end after SIGTERM", p.Index+1)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.c.T.Fatalf("node %d ended with exit code %d after SIGTERM", p.Index+1, code)
	}
	p.cmd = nil
	return time.Since(begun)
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

// CutOff lets nothing reach the process any more over connections that others dialled, neither requests nor the answers
// to them. What it dials itself still works.
func (p *Proc) CutOff() {
	p.c.net.each(func(l link) bool { return l.to == p.Index }, func(p *proxy) { p.cut(true, true) })
}

// Heal ends every cut of the cluster.
func (p *Proc) Heal() { p.c.net.cut(nil) }

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

// replicasAt asks one node for its replicas.
func replicasAt(ctx context.Context, addr string) ([]rpc.ReplicaInfo, error) {
	conns := rpc.NewConns(nil)
	defer conns.Close()
	return conns.Node(addr).Replicas(ctx, 0)
}
