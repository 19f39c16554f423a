package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

const (
	rotKeys       = 1600
	rotValueBytes = 1 << 10 // more than a memtable of them, and as much of the log
	// rotBatch are put at once. Pebble looks for the bit that flipped, if it is one, by trying each: that takes a processor
	// 7 s for a block with a log entry of 200 KiB, and 0.3 s for one of 40.
	rotBatch = 40
)

// TestScrubEndsRottenStore flips one byte in a table of a follower that runs. Nobody reads there, but the store finds it,
// says in which file, and ends. Started again it ends again. Whoever reads meanwhile, from whichever replica, gets what was
// written.
func TestScrubEndsRottenStore(t *testing.T) {
	t.Parallel()
	// The cache is so small that no table is read into it because it was written.
	c := New(t, Options{Direct: true, MemTableBytes: 1 << 20, CacheBytes: 256 << 10, CheckEvery: 2 * time.Second, Uncompared: true})
	r := &rot{Cluster: c}
	r.fill()
	p := r.follower()
	file := r.hurt(p)
	r.mustEnd(p, file)
	if !strings.Contains(p.Log(), "check table ") {
		t.Errorf("somebody else found it:\n%s", p.Log())
	}

	stop, reads := make(chan struct{}), sync.WaitGroup{}
	reads.Go(func() {
		for more := true; more; {
			select {
			case <-stop:
				more = false
			default:
			}
			r.check(client.ReadFromFollower())
		}
	})
	r.check()
	lived := len(p.Log())
	p.Restart()
	r.mustEnd(p, file)
	close(stop)
	reads.Wait()
	if again := p.Log()[lived:]; !strings.Contains(again, "SK4004") {
		t.Errorf("the second life ended otherwise:\n%s", again)
	}
	r.check()
}

// rot is a cluster with a known content.
type rot struct {
	*Cluster
	keys   [][]byte
	values [][]byte
}

func (r *rot) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

// fill writes values that do not compress.
func (r *rot) fill() {
	r.T.Helper()
	ctx, cancel := r.context()
	defer cancel()
	rnd := rand.New(rand.NewPCG(1, 2))
	var batch []client.KV
	for i := range rotKeys {
		v := make([]byte, rotValueBytes)
		for j := range v {
			v[j] = byte(rnd.Uint32())
		}
		r.keys, r.values = append(r.keys, fmt.Appendf(nil, "rot/%06d", i)), append(r.values, v)
		batch = append(batch, client.KV{Key: r.keys[i], Value: v})
		if len(batch) == rotBatch || i == rotKeys-1 {
			if err := r.DB.PutMany(ctx, batch); err != nil {
				r.T.Fatal(err)
			}
			batch = nil
		}
	}
}

// check reads everything.
func (r *rot) check(opts ...client.ReadOption) {
	r.T.Helper()
	ctx, cancel := r.context()
	defer cancel()
	got, err := r.DB.GetMany(ctx, r.keys, opts...)
	if err != nil {
		r.T.Errorf("read: %v", err)
		return
	}
	for i := range got {
		if !got[i].Found || !bytes.Equal(got[i].Value, r.values[i]) {
			r.T.Errorf("%s: found %t, another value %t", r.keys[i], got[i].Found, got[i].Found)
			return
		}
	}
}

// follower is a node that does not lead the data.
func (r *rot) follower() *Proc {
	r.T.Helper()
	ctx, cancel := r.context()
	defer cancel()
	for _, p := range r.Nodes {
		if len(ledBy(ctx, r.T, r.Cluster, p.Addr())) == 0 {
			return p
		}
	}
	r.T.Fatal("all nodes lead")
	return nil
}

// tables are those of a node's store, by name.
func (r *rot) tables(p *Proc) (files []os.FileInfo, all string) {
	r.T.Helper()
	names, err := filepath.Glob(filepath.Join(p.child.Data, "store", "db", "*.sst"))
	if err != nil {
		r.T.Fatal(err)
	}
	for _, n := range names {
		if info, err := os.Stat(n); err == nil {
			files = append(files, info)
			all += fmt.Sprintln(info.Name(), info.Size())
		}
	}
	return files, all
}

// hurt flips a byte in the middle of the largest table of a node, once nothing is compacted there any more, and returns the
// table's name.
func (r *rot) hurt(p *Proc) string {
	r.T.Helper()
	var last string
	for since, begun := time.Now(), time.Now(); time.Since(since) < time.Second/2 || last == ""; time.Sleep(50 * time.Millisecond) {
		if _, now := r.tables(p); now != last {
			last, since = now, time.Now()
		}
		if time.Since(begun) > 30*time.Second {
			r.T.Fatalf("the tables do not come to rest:\n%s", last)
		}
	}
	files, _ := r.tables(p)
	largest := files[0]
	for _, f := range files {
		if f.Size() > largest.Size() {
			largest = f
		}
	}
	f, err := os.OpenFile(filepath.Join(p.child.Data, "store", "db", largest.Name()), os.O_RDWR, 0)
	if err != nil {
		r.T.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	at := largest.Size() / 2
	if _, err = f.ReadAt(b[:], at); err == nil {
		b[0] ^= 1
		_, err = f.WriteAt(b[:], at)
	}
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Logf("byte %d of %s of node %d is another", at, f.Name(), p.Index+1)
	return largest.Name()
}

// mustEnd waits until a process ends by itself, and wants the reason.
func (r *rot) mustEnd(p *Proc, reason string) {
	r.T.Helper()
	begun := time.Now()
	for !p.Exited() {
		if time.Since(begun) > 30*time.Second {
			r.T.Fatalf("the store goes on:\n%s", p.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.T.Logf("it ended after %s", time.Since(begun).Round(10*time.Millisecond))
	log := p.Log()
	if code := p.ExitCode(); code == 0 || !strings.Contains(log, "SK4004") || !strings.Contains(log, reason) {
		r.T.Errorf("exit code %d, %q is not said:\n%s", code, reason, log)
	}
}
