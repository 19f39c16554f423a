package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/client"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// loadEnv holds the overloadLoad of a process that this binary starts.
const loadEnv = "SKERRY_E2E_LOAD"

// overloadLoad is what a process of clients does until its standard input ends. It has a process of its own, and yields to
// the nodes: on one machine they would not get to refuse anything otherwise, as if clients' machines slowed the servers down.
type overloadLoad struct {
	Addrs    string
	Shards   int
	Scanners int // clients that read everything, again and again
	Mute     int // clients of each leader that ask for pages and take none
	Pages    int // that each of those asks for
	Rate     int // puts a second, sent at their times whatever becomes of the others
	Clients  int // how many of those are under way at most; one that is due then is refused by the generator
	Writers  int // clients that put one after the other
	Value    int // bytes of what is put

	tally loadTally
	end   chan struct{}
	wg    sync.WaitGroup
}

// loadTally is what became of it.
type loadTally struct{ Sent, Done, Failed, Refused, Scanned, Unread int64 }

// loadNice is how much less the load gets of the processor.
const loadNice = 10

// startOverload starts a process of clients.
func startOverload(t *testing.T, l *overloadLoad) *loadProc {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	p := &loadProc{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), loadEnv+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = &p.out, os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// loadProc is one that was started.
type loadProc struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out bytes.Buffer
}

// stop ends it, and says what it did.
func (p *loadProc) stop(t *testing.T) (did loadTally) {
	t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the load ended with %v", err)
	}
	if err := json.Unmarshal(p.out.Bytes(), &did); err != nil {
		t.Fatalf("the load printed %q: %v", p.out.String(), err)
	}
	return did
}

func (l *overloadLoad) main() int {
	if err := yieldProcessor(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
	}
	l.end = make(chan struct{})
	db, err := client.Open(context.Background(), l.Addrs)
	if err == nil && l.Mute > 0 {
		err = l.askWithoutTaking(db)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 1
	}
	l.scan()
	if l.Rate > 0 {
		l.wg.Go(func() { l.generate(db) })
	}
	for w := range l.Writers {
		l.wg.Go(func() { l.write(db, w) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(l.end)
	l.wg.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(&l.tally)
	return 0
}

// yieldProcessor lowers the priority of all threads of this process; those that they start have it as well.
func yieldProcessor() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, th := range threads {
		id, _ := strconv.Atoi(th.Name())
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, loadNice); err != nil {
			return err
		}
	}
	return nil
}

func (l *overloadLoad) over() bool {
	select {
	case <-l.end:
		return true
	default:
		return false
	}
}

// overloadKey is one of the keys that are written and scanned; they lie evenly in the shards of splitKeys.
func overloadKey(i, shards int) []byte {
	return fmt.Appendf(nil, "k%03d/data/%06d", i%shards*1000/shards, i)
}

// due is a put and until when it is waited for.
type due struct {
	ctx context.Context
	i   int
}

// generate sends puts. If the process does not keep up with its times, it sends what is due as fast as it can.
//
// Its clients wait for work, and are many more than puts fit what the SDK has under way to the stores at once: a goroutine, a stack and
// a timer of its own for each put would take the processors from the stores.
func (l *overloadLoad) generate(db *client.DB) {
	value := noise(l.Value)
	work := make(chan due)
	var clients sync.WaitGroup
	for range l.Clients {
		clients.Go(func() {
			for d := range work {
				l.put(d.ctx, db, d.i, value)
			}
		})
	}
	begin := time.Now()
	for i := 0; !l.over(); time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), overloadPatience)
		defer cancel()
		for until := int(time.Since(begin).Seconds() * float64(l.Rate)); i < until && !l.over(); i++ {
			select {
			case work <- due{ctx, i}:
			default:
				atomic.AddInt64(&l.tally.Refused, 1)
			}
		}
	}
	close(work)
	clients.Wait()
}

// write is one client that puts one after the other.
func (l *overloadLoad) write(db *client.DB, i int) {
	value := noise(l.Value)
	for ; !l.over(); i += l.Writers {
		ctx, cancel := context.WithTimeout(context.Background(), overloadPatience)
		l.put(ctx, db, i, value)
		cancel()
	}
}

func (l *overloadLoad) put(ctx context.Context, db *client.DB, i int, value []byte) {
	atomic.AddInt64(&l.tally.Sent, 1)
	if db.Put(ctx, overloadKey(i%overloadKeys, l.Shards), value) == nil {
		atomic.AddInt64(&l.tally.Done, 1)
	} else {
		atomic.AddInt64(&l.tally.Failed, 1)
	}
}

// scan has clients read everything.
func (l *overloadLoad) scan() {
	for range l.Scanners {
		l.wg.Go(func() {
			db, err := client.Open(context.Background(), l.Addrs)
			if err != nil {
				return
			}
			defer db.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				<-l.end
				cancel()
			}()
			for !l.over() {
				for kv, err := range db.Scan(ctx, client.Prefix("k")) {
					if err != nil {
						break
					}
					atomic.AddInt64(&l.tally.Scanned, int64(len(kv.Value)))
				}
			}
		})
	}
}

// askWithoutTaking has clients ask each leader for pages, and take no answer.
func (l *overloadLoad) askWithoutTaking(db *client.DB) error {
	addrs := make(map[shard.StoreID]string)
	stores, err := db.Admin().Stores(context.Background())
	if err != nil {
		return err
	}
	for _, s := range stores {
		addrs[s.ID] = s.Addr
	}
	asked := make(map[shard.StoreID]bool)
	for s, err := range db.Admin().Shards(context.Background()) {
		if err != nil {
			return err
		}
		if asked[s.Leader.Store] || s.Leader.ID == 0 {
			continue
		}
		asked[s.Leader.Store] = true
		for range l.Mute {
			if err := l.mute(addrs[s.Leader.Store], &s); err != nil {
				return err
			}
		}
	}
	return nil
}

// mute is one client that takes nothing. It has a window of 64 KiB, as a program that is stuck has after a while.
func (l *overloadLoad) mute(addr string, s *client.ShardInfo) error {
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStaticStreamWindowSize(64<<10))
	if err != nil {
		return err
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "skerry-store", strconv.FormatUint(uint64(s.Leader.Store), 10))
	stream, err := kvv1.NewKVClient(cc).Stream(ctx)
	if err != nil {
		return err
	}
	q := &raw.Query{Kind: raw.Scan, Range: shard.ModeRange(shard.ModeRaw), MaxBytes: 4 << 20}
	if len(s.Range.Start) > 0 {
		q.Range.Start = s.Range.Start
	}
	var frame []byte
	for i := range l.Pages {
		frame = call.AppendRequest(frame, uint64(i+1), &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Timeout: time.Minute, Body: q.Append(nil)})
	}
	l.tally.Unread += int64(l.Pages)
	return stream.Send(&kvv1.Frame{Data: frame})
}

// noise is what no disk compresses.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint32(1)
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x)
	}
	return out
}

const (
	overloadValueBytes = 16 << 10
	overloadKeys       = 1 << 20
	overloadPatience   = 2 * time.Second // of one put of the generator
	overloadClients    = 20_000          // of the generator; the SDK has half as many small puts under way to a store
)
