package rpc

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// TestMain: streams, connections and servers end with Close and Stop.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testStore records what it gets and answers as the test says.
type testStore struct {
	id shard.StoreID

	mu     sync.Mutex
	frames map[shard.StoreID][]string
	// block, if not nil, holds up Receive for frames that are not urgent ("u...") until it is closed.
	block chan struct{}
	// do answers Do and Handle; nil answers with the request's body.
	do func(ctx context.Context, req *call.Request) call.Reply
	// snapshot takes a snapshot; nil reads it to its end.
	snapshot func(ctx context.Context, header []byte, next func() ([]byte, error)) error
	got      []byte // see snapshotBytes
	memory   *budget.Budget
}

func newTestStore(id shard.StoreID) *testStore {
	return &testStore{id: id, frames: make(map[shard.StoreID][]string)}
}

func (s *testStore) ID() shard.StoreID { return s.id }

func (s *testStore) Memory() *budget.Budget { return s.memory }

func (s *testStore) Handle(asks []call.Ask) {
	for _, a := range asks {
		go func() {
			rep := s.Do(context.Background(), a.Req)
			a.To.Complete(a.ID, &rep)
		}()
	}
}

func (s *testStore) Do(ctx context.Context, req *call.Request) call.Reply {
	if s.do != nil {
		return s.do(ctx, req)
	}
	return call.Reply{Term: 1, Applied: 2, Body: req.Body}
}

func (s *testStore) Receive(from shard.StoreID, frame []byte) {
	if s.block != nil && frame[0] != 'u' {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames[from] = append(s.frames[from], string(frame[:min(len(frame), 32)]))
}

// received are the beginnings of the frames of a store, in the order of their coming.
func (s *testStore) received(from shard.StoreID) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames[from])
}

// snapshotBytes are the header and chunks of the last snapshot that arrived whole.
func (s *testStore) snapshotBytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *testStore) ReceiveSnapshot(ctx context.Context, header []byte, next func() ([]byte, error)) error {
	if s.snapshot != nil {
		return s.snapshot(ctx, header, next)
	}
	got := slices.Clone(header)
	for {
		chunk, err := next()
		if err == io.EOF {
			s.mu.Lock()
			s.got = got
			s.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		got = append(got, chunk...)
	}
}

// testServer is a server on a port of its own.
type testServer struct {
	*Server
	addr string
	stop func()
}

// serve starts a server; register is called before it serves.
func serve(t testing.TB, addr string, register func(*Server)) *testServer {
	t.Helper()
	var l net.Listener
	var err error
	for range 50 {
		if l, err = net.Listen("tcp", addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(env.Real{}, nil)
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	var once sync.Once
	out := &testServer{Server: s, addr: l.Addr().String()}
	out.stop = func() {
		once.Do(func() {
			s.Stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(out.stop)
	return out
}

func newConns(t testing.TB) *Conns {
	t.Helper()
	c := NewConns(nil)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// testContext ends with the test, or after longer than anything takes on a machine that is busy elsewhere.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
