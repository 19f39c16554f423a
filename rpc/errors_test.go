package rpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
)

// wireErrors are all typed errors, with every field set.
func wireErrors() []error {
	d := &shard.Descriptor{ID: 7, Range: shard.Range{Start: shard.RawKey([]byte("a")), End: shard.RawKey([]byte("b"))},
		Epoch: shard.Epoch{ConfVer: 3, Version: 4}, Replicas: []shard.Replica{{ID: 1001, Store: 1002, Role: shard.Voter}}}
	return []error{
		&shard.NotLeaderError{Shard: 7, Leader: shard.Replica{ID: 1001, Store: 1002, Role: shard.Voter}, Term: 9},
		&shard.StaleEpochError{Shard: 7, Current: []*shard.Descriptor{d}},
		&shard.NotReadyError{Shard: 7, Epoch: shard.Epoch{ConfVer: 3, Version: 4}, Why: "behind"},
		&shard.NotFoundError{Shard: 7, Store: 1002},
		&shard.ServerBusyError{Store: 1002, Why: "full", Wait: time.Second},
		&shard.RefreshError{Shard: 7, Term: 9, Applied: 10},
		&shard.OverwrittenError{Shard: 7},
		&shard.KeyNotInShardError{Shard: 7, Key: shard.RawKey([]byte("c")), Range: d.Range},
		&shard.InvalidError{Why: "no"},
		&shard.AmbiguousError{Shard: 7, Why: "lost"},
		&shard.WrongClusterError{Want: 1, Have: 2},
		&shard.BrokenError{Store: 1002, Why: "disk"},
		&call.NeverError{Op: call.OpID{Client: 1, Seq: 2}},
		&shard.UseTwoPhaseError{Shard: 7, Why: "no timestamp"},
		&shard.TooNewError{Shard: 7, Timestamp: 12, Limit: 11},
		&shard.DiskFullError{Store: 3, Free: 1 << 30, Low: 2 << 30},
		&shard.VersionError{Cluster: 3, Oldest: 1, Newest: 2},
		&call.UnknownError{Text: "strange"},
		shard.ErrClosed, shard.ErrNoFreshTime, shard.ErrUnavailable,
	}
}

// TestWireErrorsAreAll: the list above misses no error of package shard.
func TestWireErrorsAreAll(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../shard/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if strings.HasSuffix(n.Name.Name, "Error") {
				want++
			}
		case *ast.ValueSpec:
			if strings.HasPrefix(n.Names[0].Name, "Err") {
				want++
			}
		}
		return true
	})
	if have := len(wireErrors()) - 2; have != want { // two are of package call
		t.Fatalf("package shard has %d errors, %d are tested on the wire", want, have)
	}
}

// errorPlacement answers every call with an error.
type errorPlacement struct {
	Placement
	err error
}

func (p *errorPlacement) JoinMember(context.Context, beat.Candidate) (beat.Admission, error) {
	return beat.Admission{}, p.err
}

func (p *errorPlacement) RemoveStore(context.Context, shard.StoreID) error { return p.err }

func (p *errorPlacement) Watch(_ context.Context, send func(*beat.Routes) error) error {
	if err := send(&beat.Routes{Full: true, Cluster: 5}); err != nil {
		return err
	}
	return p.err
}

// TestErrorsOverWire: each typed error comes back as itself, with its fields, from a unary call, from the end of a
// stream, from a call between stores and from a snapshot; also wrapped, with the whole text.
func TestErrorsOverWire(t *testing.T) {
	p, st := &errorPlacement{}, newTestStore(1001)
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.ServePlacement(p); s.AddStore(st) })
	conns, ctx := newConns(t), testContext(t)
	at := conns.Placement(srv.addr)
	tr := newTestTransport(t, conns, 1002, 0)
	tr.SetAddr(1001, srv.addr)
	calls := newTestCalls(t, conns)
	for _, core := range wireErrors() {
		for _, sent := range []error{core, fmt.Errorf("while testing: %w", core)} {
			p.err = sent
			st.do = func(context.Context, *call.Request) call.Reply { return call.Reply{Err: sent} }
			st.snapshot = func(context.Context, []byte, func() ([]byte, error)) error { return sent }
			pictures := 0
			for name, got := range map[string]error{
				"unary":    at.RemoveStore(ctx, 1),
				"stream":   at.Watch(ctx, func(*beat.Routes) error { pictures++; return nil }),
				"peer":     tr.Call(ctx, 1001, &call.Request{Kind: call.Read, Shard: 7}).Err,
				"client":   calls.Call(ctx, srv.addr, 1001, &call.Request{Kind: call.Read, Shard: 7}).Err,
				"snapshot": tr.SendSnapshot(ctx, 1001, nil, chunks(3, 10)),
			} {
				checkSame(t, name, sent, core, got)
			}
			if pictures != 1 {
				t.Errorf("watch: %d pictures before the end", pictures)
			}
		}
	}
}

// checkSame checks that got says what sent says and holds core.
func checkSame(t *testing.T, name string, sent, core, got error) {
	t.Helper()
	if got == nil || got.Error() != sent.Error() {
		t.Errorf("%s: got %v, want %v", name, got, sent)
		return
	}
	for e := got; e != nil; e = errors.Unwrap(e) {
		if reflect.DeepEqual(e, core) {
			return
		}
	}
	if unknown := new(call.UnknownError); !errors.As(core, &unknown) { // a wrapped unknown error is text
		t.Errorf("%s: %#v does not hold %#v", name, got, core)
	}
}

// TestErrorsWithoutServer: what no server said. The caller's own end is its context's error, everything else says that
// nobody knows.
func TestErrorsWithoutServer(t *testing.T) {
	st := newTestStore(1001)
	// A channel for each question: one that its caller gave up early may reach the store late, or never.
	entered := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	st.do = func(ctx context.Context, req *call.Request) call.Reply {
		close(entered[req.Shard])
		<-ctx.Done()
		return call.Reply{Err: ctx.Err()}
	}
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	ask := func(ctx context.Context, question shard.ID, end func(c *Conns)) error {
		conns := newConns(t)
		tr := newTestTransport(t, conns, 1002, 0)
		tr.SetAddr(1001, srv.addr)
		if end != nil {
			go func() {
				<-entered[question]
				end(conns)
			}()
		}
		return tr.Call(ctx, 1001, &call.Request{Kind: call.Read, Shard: question}).Err
	}
	cancelled, cancel := context.WithCancel(testContext(t))
	if err := ask(cancelled, 0, func(*Conns) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	short, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if err := ask(short, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	if err := ask(testContext(t), 2, func(c *Conns) { _ = c.Close() }); !errors.Is(err, shard.ErrUnavailable) {
		t.Errorf("connections closed under a call: %v", err)
	}
	if err := ask(testContext(t), 3, func(*Conns) { srv.stop() }); !errors.Is(err, shard.ErrUnavailable) {
		t.Errorf("server gone: %v", err)
	}
}
