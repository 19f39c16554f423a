package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
)

// TestRollingUpgrade replaces three nodes, each with a store and a placement member, by another program, one after the other
// under a steady load of puts, gets and transactions. The other program is this one as of the next version, linked for the
// purpose: it knows a version of the cluster more, in which it proposes entries of another evaluation version, at which the
// program of before has to stop. So an entry that came too early would stop a node here.
//
// No call may fail. The version cannot be raised while one node runs the old program, and the answer says which; afterwards
// it is raised, every node goes by it, and the old program refuses the directories. One node goes forth and
// back before it is final; in `make upgrade` three times.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	const shards = 6
	rounds, rate, calm := 1, 100, 2*time.Second
	if os.Getenv("SKERRY_LONG") != "" {
		rounds, rate, calm = 3, 200, 20*time.Second
	}
	newer := nextProgram(t)
	c := New(t, Options{SplitKeys: splitKeys(shards)})
	u := &upgrade{t: t, c: c, newer: newer}
	l := startSteady(c, shards, rate)
	mixed := startMixed(c, shards)
	time.Sleep(time.Second)
	l.take()
	time.Sleep(calm)
	before := l.take()

	for range rounds {
		u.replace(c.Nodes[0], newer)
		u.replace(c.Nodes[0], "") // nothing is final yet: one may go back
	}
	for i, p := range c.Nodes {
		u.refusesToFinalize(c.Nodes[i:])
		u.replace(p, newer)
	}
	rolling := l.take()
	u.finalize()
	time.Sleep(calm / 2)
	after := l.take()
	l.stop()
	calls := mixed.stop()
	for _, p := range []struct {
		name string
		of   []time.Duration
	}{{"before", before}, {"while it rolls", rolling}, {"finalized", after}} {
		t.Logf("%-15s %6d puts, p50 %s, p99 %s, longest %s", p.name, len(p.of), quantile(p.of, 0.5), quantile(p.of, 0.99), quantile(p.of, 1))
	}
	t.Logf("beside them %d gets and transactions", calls)
	for _, err := range []error{l.failed(), mixed.failed()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	u.refusesOldProgram(c.Nodes[1])
	sameOnAllReplicas(t, c)
}

// nextProgram is this test's binary as of the next version of the cluster.
func nextProgram(t testing.TB) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "next.test")
	begun := time.Now()
	cmd := exec.Command("go", "test", "-c", "-o", out, "-ldflags", "-X github.com/skerrydb/skerry/internal/version.next=1", ".")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("link the next version: %v\n%s", err, said.String())
	}
	t.Logf("the next version was linked in %s", time.Since(begun).Round(100*time.Millisecond))
	return out
}

type upgrade struct {
	t     *testing.T
	c     *Cluster
	newer string
}

// replace has a node run another program.
func (u *upgrade) replace(p *Proc, program string) {
	u.t.Helper()
	took := p.Stop()
	p.program = program
	p.Start()
	settle(u.t, u.c)
	u.t.Logf("node %d stopped in %s and runs %q", p.Index+1, took.Round(time.Millisecond), filepath.Base(program))
}

func (u *upgrade) admin() (context.Context, context.CancelFunc, *client.Admin) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	return ctx, cancel, u.c.DB.Admin()
}

// refusesToFinalize: while these nodes run the old program the version is not raised, if there is a new one at all, and the
// error names their addresses, and no others.
func (u *upgrade) refusesToFinalize(old []*Proc) {
	u.t.Helper()
	ctx, cancel, admin := u.admin()
	defer cancel()
	v, err := admin.FinalizeVersion(ctx)
	if len(old) == len(u.c.Nodes) {
		if err != nil || v.Version != version.Newest() || v.Target != v.Version {
			u.t.Fatalf("with old programs only: %+v, %v", v, err)
		}
		return
	}
	if client.Code(err) != string(fault.NodesBehind) || v.Version != version.Newest() || v.Target != version.Newest()+1 {
		u.t.Fatalf("%d of %d nodes run the old program: %+v, %v", len(old), len(u.c.Nodes), v, err)
	}
	for i, p := range u.c.Nodes {
		if runs := i >= len(u.c.Nodes)-len(old); strings.Contains(err.Error(), p.Addr()+":") != runs {
			u.t.Fatalf("node %d runs the old program: %v, and the error says: %v", i+1, runs, err)
		}
	}
}

// finalize raises the version, and waits until everybody goes by it.
func (u *upgrade) finalize() {
	u.t.Helper()
	ctx, cancel, admin := u.admin()
	defer cancel()
	want := version.Newest() + 1
	if v, err := admin.FinalizeVersion(ctx); err != nil || v.Version != want {
		u.t.Fatalf("finalize: %+v, %v", v, err)
	}
	begun := time.Now()
	for {
		v, err := admin.Version(ctx)
		waits := err != nil
		for i := 0; err == nil && i < len(v.Nodes); i++ {
			waits = waits || v.Nodes[i].Active != want
		}
		if !waits {
			u.t.Logf("all go by version %s, %s after it was raised", want, time.Since(begun).Round(10*time.Millisecond))
			return
		}
		if ctx.Err() != nil {
			u.t.Fatalf("not all go by version %s: %+v, %v", want, v, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// refusesOldProgram: the old program does not start any more where the new version was written down, and says why.
func (u *upgrade) refusesOldProgram(p *Proc) {
	u.t.Helper()
	p.Stop()
	said := len(p.Log())
	p.program = ""
	p.Start()
	for begun := time.Now(); !p.Exited(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			u.t.Fatal("the old program runs on the directory of a newer version")
		}
	}
	want := fmt.Sprintf("its cluster has version %s", version.Newest()+1)
	if log := p.Log()[said:]; !strings.Contains(log, want) || !strings.Contains(log, string(fault.ProgramOld)) {
		u.t.Fatalf("the old program says %q, and not %q and %s", log, want, fault.ProgramOld)
	}
	p.program = u.newer
	p.Start()
	settle(u.t, u.c)
}

// mixed gets and runs transactions, one after the other.
type mixed struct {
	steady
	calls int
}

// mixedPause lies between two calls.
const mixedPause = 10 * time.Millisecond

func startMixed(c *Cluster, shards int) *mixed {
	m := &mixed{steady: steady{done: make(chan struct{})}}
	m.wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-m.done:
				return
			case <-time.After(mixedPause):
			}
			err := m.call(c.DB, i, shards)
			m.mu.Lock()
			if m.calls++; err != nil && m.err == nil {
				m.err = err
			}
			m.mu.Unlock()
		}
	})
	return m
}

// call is a get or a transaction over two shards.
func (m *mixed) call(db *client.DB, i, shards int) error {
	ctx, cancel := context.WithTimeout(context.Background(), steadyTimeout)
	defer cancel()
	key := func(n int) []byte { return fmt.Appendf(nil, "k%03d/txn", n%shards*1000/shards) } // see splitKeys
	if i%2 == 0 {
		_, err := db.Get(ctx, fmt.Appendf(nil, "k%03d/%d", i%shards*1000/shards, i%100))
		if client.Code(err) == string(fault.NotFound) {
			err = nil
		}
		return err
	}
	return db.Update(ctx, func(tx *client.Txn) error {
		if err := tx.Put(key(i), fmt.Append(nil, i)); err != nil {
			return err
		}
		return tx.Put(key(i+1), fmt.Append(nil, i))
	})
}

func (m *mixed) stop() int {
	m.steady.stop()
	return m.calls
}
