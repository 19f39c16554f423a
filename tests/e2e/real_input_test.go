package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// TestRealInput imports Go's own source tree with the command line, kills each store in turn while a reader and a
// writer run, takes one store's disk away for good, and exports the tree again: byte for byte the same, and every
// replica of a shard with the same checksum.
func TestRealInput(t *testing.T) {
	t.Parallel()
	root := filepath.Join(goroot(t), "src")
	files := tree(t, root)
	bin := buildSkerry(t)
	var split []string
	for i := 1; i < 24; i++ {
		split = append(split, "src/"+files[i*len(files)/24].path)
	}
	c := New(t, Options{SplitKeys: split})
	t.Log(c.skerry(bin, "import", root, "--prefix", "src/"))

	load := startLoad(t, c, files)
	for _, p := range c.Nodes {
		p.Kill()
		time.Sleep(2 * time.Second)
		p.Start()
		settle(t, c)
	}
	replaceStore(t, c, c.Nodes[2])
	load.stop()
	t.Logf("while stores were killed: %d reads, %d writes", load.reads.Load(), load.writes.Load())

	sameOnAllReplicas(t, c)
	sameTree(t, c, bin, files)
	if err := load.check(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// skerry runs one command of the binary against the cluster, and returns what it printed.
func (c *Cluster) skerry(bin string, args ...string) string {
	c.T.Helper()
	cmd := exec.Command(bin, append(args, "--addr", c.Addrs())...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "SKERRY_") }) // the tests' own
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.T.Fatalf("skerry %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// sameTree exports what was imported below src/ and demands the same files, byte for byte.
func sameTree(t testing.TB, c *Cluster, bin string, files []file) {
	t.Helper()
	out := filepath.Join(c.Dir, "out")
	t.Log(c.skerry(bin, "export", out, "--prefix", "src/"))
	got := tree(t, out)
	if len(got) != len(files) {
		t.Fatalf("exported %d files, imported %d", len(got), len(files))
	}
	for i := range files {
		if got[i] != files[i] {
			t.Fatalf("%s differs from %s", got[i].path, files[i].path)
		}
	}
}

type file struct {
	path string
	sum  [sha256.Size]byte
}

// tree is every regular file below a directory, in order, with its checksum.
func tree(t testing.TB, root string) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		out = append(out, file{filepath.ToSlash(rel), sha256.Sum256(b)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func goroot(t testing.TB) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func buildSkerry(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "skerry")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/skerrydb/skerry/cmd/skerry").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// load is a reader of imported files and a writer of counters. Both must never see an error, only wait.
type load struct {
	c             *Cluster
	done          atomic.Bool
	wg            sync.WaitGroup
	reads, writes atomic.Int64
}

func startLoad(t testing.TB, c *Cluster, files []file) *load {
	l := &load{c: c}
	ctx := context.Background()
	l.wg.Go(func() {
		for i := 0; !l.done.Load(); i++ {
			f := files[(i*7919)%len(files)]
			b, err := c.DB.Get(ctx, []byte("src/"+f.path))
			if err != nil || sha256.Sum256(b) != f.sum {
				t.Errorf("read %s: %d bytes, %v", f.path, len(b), err)
				return
			}
			l.reads.Add(1)
		}
	})
	l.wg.Go(func() {
		for n := int64(1); !l.done.Load(); n++ {
			err := c.DB.Put(ctx, []byte("src/zz-counter"), fmt.Append(nil, n))
			for errors.Is(err, client.ErrAmbiguous) && !l.done.Load() {
				// The one writer of this key may put the same again, which is what the documents tell applications to do.
				err = c.DB.Put(ctx, []byte("src/zz-counter"), fmt.Append(nil, n))
			}
			if err != nil {
				t.Errorf("write %d: %v", n, err)
				return
			}
			l.writes.Store(n)
		}
	})
	return l
}

func (l *load) stop() {
	l.done.Store(true)
	l.wg.Wait()
	// The counter is no part of the tree.
	_ = l.c.DB.Put(context.Background(), []byte("zz-counter"), fmt.Append(nil, l.writes.Load()))
	_ = l.c.DB.Delete(context.Background(), []byte("src/zz-counter"))
}

func (l *load) check(ctx context.Context) error {
	v, err := l.c.DB.Get(ctx, []byte("zz-counter"))
	if err != nil || !bytes.Equal(v, fmt.Append(nil, l.writes.Load())) {
		return fmt.Errorf("the counter is %s (%v), written was %d", v, err, l.writes.Load())
	}
	return nil
}

// replaceStore takes a store's disk away for good: the node comes back as a new store, the old one is removed, and its
// replicas are made anew.
func replaceStore(t testing.TB, c *Cluster, p *Proc) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	stores, err := c.DB.Admin().Stores(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var old shard.StoreID
	for _, s := range stores {
		if s.Addr == p.Addr() {
			old = s.ID
		}
	}
	p.Wipe()
	p.Start()
	for {
		// Refused while the old store still counts as up.
		err := c.DB.Admin().RemoveStore(ctx, old)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("remove %s: %v", old, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	for {
		left, changing := 0, 0
		for s, err := range c.DB.Admin().Shards(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range s.Replicas {
				if r.Store == old {
					left++
				}
				if r.Role != shard.Voter {
					changing++
				}
			}
		}
		if left+changing == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d replicas are still on %s, %d are being changed", left, old, changing)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
