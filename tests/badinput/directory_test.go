package badinput

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/tests/ports"
)

// testTick makes elections quick.
const testTick = 30 * time.Millisecond

// directory is the directory of a node that was stopped, with some keys. Each row has a copy of it, named d.
type directory struct {
	fixture string // not changed
	port    string // free: of nodes that should not start

	copied map[string][32]byte // files of the row's copy, before the row
	// serves: after the row a node must start on the copy, and serve the keys; else the copy must not have changed.
	serves bool
	// opened: the parts of the copy are opened before it is refused, so that files of theirs change; whose they are must not.
	opened  bool
	refused string // the command, if opened
}

// lone is a cluster of one node on a directory, as `skerry server` makes it.
func lone(dir string) node.Config {
	return node.Config{Listen: "127.0.0.1:0", DataDir: dir, Version: "test", Store: &node.StoreConfig{Tick: testTick, CapacityBytes: 16 << 30},
		Placement: &node.PlacementConfig{ID: 1, Bootstrap: true, Replicas: 1, Tick: testTick}}
}

func inDirectory(t *testing.T) world {
	w := &directory{fixture: t.TempDir(), port: ports.Free(t, 1)[0]}
	n, db := started(t, lone(w.fixture))
	for _, k := range canaries() {
		if err := db.Put(context.Background(), k, k); err != nil {
			t.Fatal(err)
		}
	}
	_ = db.Close()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// started is a node that serves, and a client of it.
func started(t *testing.T, c node.Config) (*node.Node, *client.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := node.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	db, err := client.Open(ctx, n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return n, db
}

func (w *directory) environ() []string { return []string{"SKERRY_LISTEN=" + w.port} }

func (w *directory) before(r *run) {
	w.serves, w.opened = false, false
	if err := os.CopyFS(r.data(), os.DirFS(w.fixture)); err != nil {
		r.Fatal(err)
	}
	w.copied = r.files()
}

// data is the row's copy.
func (r *run) data() string { return filepath.Join(r.dir, "d") }

// files are the contents of the row's copy, but for the locks.
func (r *run) files() map[string][32]byte {
	out := make(map[string][32]byte)
	err := filepath.WalkDir(r.data(), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		b, err := os.ReadFile(p)
		out[p] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return out
}

// intact: a node serves the keys from the directory; or, of one that is damaged or foreign, nothing of it was changed.
func (w *directory) intact(r *run) {
	r.Helper()
	if w.opened {
		r.again(w)
		return
	}
	if !w.serves {
		if now := r.files(); !maps.Equal(now, w.copied) {
			r.Errorf("the directory was changed: %d files, and %d before", len(now), len(w.copied))
		}
		return
	}
	n, db := started(r.T, lone(r.data()))
	got, err := db.GetMany(r.ctx(), canaries())
	for i, f := range got {
		if k := canaries()[i]; !f.Found || string(f.Value) != string(k) {
			r.Errorf("afterwards %s is %q", k, f.Value)
		}
	}
	if err != nil {
		r.Errorf("afterwards: %v", err)
	}
	_ = db.Close()
	if err := n.Close(); err != nil {
		r.Error(err)
	}
}

// again: what was refused is refused again, for the same reason, and so is as it was.
func (r *run) again(w *directory) {
	r.Helper()
	if err := r.command(w.refused); err == nil || fault.Of(err) != r.c.Code {
		r.Errorf("the second time: %v", err)
	}
}

// refusedAgain runs a command that opens what it then refuses.
func (r *run) refusedAgain(line string) error {
	w := r.w.(*directory)
	w.opened, w.refused = true, line
	return r.command(line)
}

// spoil changes files of the copy; what is found then must stay as it is.
func (r *run) spoil(f func()) {
	f()
	w := r.w.(*directory)
	w.copied, w.serves = r.files(), false
}

// flip changes one bit in the middle of a file.
func (r *run) flip(pattern string) {
	r.Helper()
	names, err := filepath.Glob(filepath.Join(r.data(), pattern))
	if err != nil || len(names) == 0 {
		r.Fatal(pattern, names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		r.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		r.Fatal(err)
	}
}

// replace changes a text in a file of the copy.
func (r *run) replace(name, old, to string) {
	r.Helper()
	path := filepath.Join(r.data(), name)
	b, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	changed := []byte(replaceOnce(string(b), old, to))
	if string(changed) == string(b) {
		r.Fatalf("%q is not in %s", old, b)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		r.Fatal(err)
	}
}

// occupied runs a command while a node uses the copy.
func (r *run) occupied(line string) error {
	r.Helper()
	n, err := node.Start(r.ctx(), lone(r.data()))
	if err != nil {
		r.Fatal(err)
	}
	err = r.opening(line)
	if cerr := n.Close(); cerr != nil {
		r.Error(cerr)
	}
	return err
}

// opening runs a command that opens the copy before it is refused.
func (r *run) opening(line string) error {
	r.w.(*directory).serves = true
	return r.command(line)
}

// busyPort runs a command while somebody listens on the port that the node is to have.
func (r *run) busyPort(line string) error {
	r.Helper()
	l, err := net.Listen("tcp", r.w.(*directory).port)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return r.command(line)
}

// otherIdent makes the store directory of the copy one of another cluster.
func (r *run) otherIdent() {
	r.Helper()
	dir := filepath.Join(r.data(), "store")
	if err := os.RemoveAll(dir); err != nil {
		r.Fatal(err)
	}
	e, err := engine.Open(dir, engine.Options{})
	if err != nil {
		r.Fatal(err)
	}
	if err := e.SetIdent(engine.Ident{Cluster: 0xabcdef0123456789, Store: 1000, Format: engine.FormatVersion}); err != nil {
		r.Fatal(err)
	}
	if err := e.Close(); err != nil {
		r.Fatal(err)
	}
}

// wrongJoin starts the store of the copy alone, and points it at another cluster.
func (r *run) wrongJoin() error {
	r.Helper()
	other, err := node.Start(r.ctx(), node.Config{Listen: "127.0.0.1:0", Memory: true, Store: &node.StoreConfig{Tick: testTick},
		Placement: &node.PlacementConfig{ID: 1, Bootstrap: true, Replicas: 1, Tick: testTick}})
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := other.Ready(r.ctx()); err != nil {
		r.Fatal(err)
	}
	return r.opening("store --data d --log-level error --join " + other.Addr())
}

// jumpingClock is the real world with a wall clock that somebody sets.
type jumpingClock struct {
	env.Real
	by *atomic.Int64
}

func (c jumpingClock) Wall() time.Time { return c.Real.Wall().Add(time.Duration(c.by.Load())) }

// clockJumps sets the wall clock of a whole cluster an hour back, then two hours ahead, then right again: timestamps only
// grow, what was written stays, and writes go on.
func (r *run) clockJumps() error {
	r.Helper()
	r.w.(*directory).serves = true
	cfg := lone(r.data())
	clock := jumpingClock{by: new(atomic.Int64)}
	cfg.Env = clock
	n, db := started(r.T, cfg)
	defer func() { _ = db.Close(); _ = n.Close() }()
	if err := db.Put(r.ctx(), []byte("ttl"), []byte("lives"), client.TTL(3*time.Hour)); err != nil {
		return err
	}
	var last client.Timestamp
	for i, at := range []time.Duration{0, -time.Hour, time.Hour, 0} {
		clock.by.Store(int64(at))
		err := db.Update(r.ctx(), func(tx *client.Txn) error {
			return tx.Put(fmt.Appendf(nil, "clock/%d", i), []byte("x"))
		})
		if err != nil {
			return fmt.Errorf("with the clock off by %s: %w", at, err)
		}
		ts, err := db.Timestamp(r.ctx())
		if err != nil {
			return fmt.Errorf("with the clock off by %s: %w", at, err)
		}
		if ts <= last {
			return fmt.Errorf("with the clock off by %s timestamp %d came after %d", at, ts, last)
		}
		last = ts
		if _, err := db.Get(r.ctx(), []byte("ttl")); err != nil {
			return fmt.Errorf("with the clock off by %s: %w", at, err)
		}
	}
	return nil
}
