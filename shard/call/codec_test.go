package call

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

var genRequest = rapid.Custom(func(t *rapid.T) Request {
	r := Request{
		Kind:     Kind(rapid.Uint8().Draw(t, "kind")),
		Shard:    shard.ID(rapid.Uint64().Draw(t, "shard")),
		Epoch:    shard.Epoch{ConfVer: rapid.Uint64().Draw(t, "confver"), Version: rapid.Uint64().Draw(t, "version")},
		Timeout:  time.Duration(rapid.Int64Range(0, math.MaxInt64/1000).Draw(t, "timeout")) * time.Microsecond,
		Follower: rapid.Bool().Draw(t, "follower"),
		Wait:     LockWait(rapid.Uint8().Draw(t, "wait") &^ wishTrace),
		Trace:    rapid.Bool().Draw(t, "trace"),
		Body:     rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "body"),
	}
	if rapid.Bool().Draw(t, "write") {
		r.Op = OpID{Client: rapid.Uint64().Draw(t, "client"), Seq: rapid.Uint64().Draw(t, "seq")}
		r.Term, r.Since = rapid.Uint64().Draw(t, "term"), rapid.Uint64().Draw(t, "since")
	}
	if len(r.Body) == 0 {
		r.Body = nil
	}
	return r
})

// TestFrames: what is appended comes out, in order, with its ids; bodies alias the frame.
func TestFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reqs := rapid.SliceOfN(genRequest, 1, 5).Draw(t, "requests")
		var frame, answers []byte
		for i := range reqs {
			frame = AppendRequest(frame, uint64(i)*1000, &reqs[i])
			answers = AppendReply(answers, uint64(i)*1000, &Reply{Term: reqs[i].Term, Applied: reqs[i].Since, Body: reqs[i].Body,
				Err: []error{nil, shard.ErrClosed}[i%2], Stages: stagesOf(&reqs[i])})
		}
		n := 0
		err := DecodeRequests(frame, func(id uint64, r *Request) error {
			if id != uint64(n)*1000 || !reflect.DeepEqual(*r, reqs[n]) {
				t.Fatalf("request %d reads back as %d %+v, was %+v", n, id, *r, reqs[n])
			}
			n++
			return nil
		})
		if err != nil || n != len(reqs) {
			t.Fatalf("%d of %d requests: %v", n, len(reqs), err)
		}
		n = 0
		err = DecodeReplies(answers, func(id uint64, r *Reply) error {
			if id != uint64(n)*1000 || r.Term != reqs[n].Term || r.Applied != reqs[n].Since || !bytes.Equal(r.Body, reqs[n].Body) ||
				r.Err != []error{nil, shard.ErrClosed}[n%2] || !reflect.DeepEqual(r.Stages, stagesOf(&reqs[n])) {
				t.Fatalf("reply %d reads back as %d %+v", n, id, *r)
			}
			n++
			return nil
		})
		if err != nil || n != len(reqs) {
			t.Fatalf("%d of %d replies: %v", n, len(reqs), err)
		}
	})
}

// stagesOf is what a store may answer to a request that asks for it.
func stagesOf(r *Request) *Stages {
	if !r.Trace {
		return nil
	}
	s := new(Stages)
	for i := range s {
		s[i] = (r.Timeout % time.Hour).Truncate(time.Microsecond) * time.Duration(i)
	}
	return s
}

// TestTraceIsOverlooked: a store that knows nothing of Trace finds no flag that it would refuse, and no wish of LockWait but
// one that it does not know. One that knows more stages than its client is understood all the same.
func TestTraceIsOverlooked(t *testing.T) {
	for _, wait := range []LockWait{WaitNot, WaitYounger, WaitAny | WaitAsked} {
		b := AppendRequest(nil, 1, &Request{Kind: Write, Shard: 10, Wait: wait, Trace: true})
		const flags, wish = 3, 8 // version, id, kind; then shard, ConfVer, Version, timeout
		if b[flags] != reqWishes || LockWait(b[wish])&^LockWait(wishTrace) != wait || wishTrace&byte(WaitYounger|WaitAny|WaitAsked) != 0 {
			t.Errorf("wait %d: % x", wait, b)
		}
	}
	if plain := AppendReply(nil, 1, &Reply{Body: []byte("b")}); !bytes.Equal(plain, []byte{1, 1, 0, 0, 0, 1, 'b'}) {
		t.Errorf("a reply to who did not ask has another form: % x", plain)
	}
	want := &Stages{StageFsync: time.Second}
	if more, err := readStages(append(want.append(nil), 7)); err != nil || *more != *want {
		t.Errorf("%v, %v", more, err)
	}
	if fewer, err := readStages(want.append(nil)[:2]); err != nil || fewer.Total() != 0 {
		t.Errorf("%v, %v", fewer, err)
	}
}

// TestTimeoutRounds: a request that is nearly or already out of time does not become one without a limit.
func TestTimeoutRounds(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Microsecond, -5: time.Microsecond, 1001: 2 * time.Microsecond, math.MaxInt64: math.MaxInt64,
	} {
		_ = DecodeRequests(AppendRequest(nil, 1, &Request{Timeout: in}), func(_ uint64, r *Request) error {
			if r.Timeout != want {
				t.Errorf("timeout %d reads back as %d, want %d", in, r.Timeout, want)
			}
			return nil
		})
	}
}

// TestDecodeStops: an error of the receiver ends the frame and comes back as it is.
func TestDecodeStops(t *testing.T) {
	frame := AppendRequest(AppendRequest(nil, 1, &Request{}), 2, &Request{})
	n := 0
	if err := DecodeRequests(frame, func(uint64, *Request) error { n++; return io.EOF }); err != io.EOF || n != 1 {
		t.Fatalf("%d calls, %v", n, err)
	}
	frame = AppendReply(AppendReply(nil, 1, &Reply{}), 2, &Reply{})
	if err := DecodeReplies(frame, func(uint64, *Reply) error { n++; return io.EOF }); err != io.EOF || n != 2 {
		t.Fatalf("%d calls, %v", n, err)
	}
}

// everyError holds one value, all of its fields set, of every error that crosses the network.
// TestEveryErrorIsListed keeps it complete.
func everyError() []error {
	d := &shard.Descriptor{ID: 10, Range: shard.Range{Start: shard.Key("ra"), End: shard.Key("rz")},
		Epoch: shard.Epoch{ConfVer: 3, Version: 4}, Replicas: []shard.Replica{{ID: 1, Store: 2, Role: shard.Voter}}}
	return []error{
		&shard.NotLeaderError{Shard: 10, Leader: shard.Replica{ID: 3, Store: 4, Role: shard.Voter}, Term: 5},
		&shard.StaleEpochError{Shard: 10, Current: []*shard.Descriptor{d, d}},
		&shard.NotReadyError{Shard: 10, Epoch: shard.Epoch{ConfVer: 1, Version: 2}, Why: "behind"},
		&shard.NotFoundError{Shard: 10, Store: 4},
		&shard.ServerBusyError{Store: 4, Why: "log", Wait: 3 * time.Second},
		&shard.RefreshError{Shard: 10, Term: 5, Applied: 6},
		&shard.OverwrittenError{Shard: 10},
		&shard.KeyNotInShardError{Shard: 10, Key: shard.Key("rb"), Range: d.Range},
		&shard.InvalidError{Why: "too large"},
		&shard.AmbiguousError{Shard: 10, Why: "log cut"},
		&shard.WrongClusterError{Want: 1, Have: 2},
		&shard.BrokenError{Store: 4, Why: "checksum"},
		&NeverError{Op: OpID{Client: 1 << 60, Seq: 7}},
		&shard.UseTwoPhaseError{Shard: 10, Why: "no timestamp"},
		&shard.TooNewError{Shard: 10, Timestamp: 1 << 62, Limit: 9},
		&shard.DiskFullError{Store: 3, Free: 1 << 62, Low: 2 << 30},
		&shard.VersionError{Cluster: 3, Oldest: 1, Newest: 2},
		&UnknownError{Text: "who knows"},
		shard.ErrClosed,
		shard.ErrNoFreshTime,
		shard.ErrUnavailable,
	}
}

func roundTrip(t *testing.T, err error) error {
	t.Helper()
	d := codec.Decoder{B: append(AppendError(nil, err), 42)}
	back := ReadError(&d)
	if d.Byte() != 42 || d.Done() != nil {
		t.Fatalf("%v: %d bytes left over, %v", err, len(d.B), d.Err())
	}
	return back
}

// TestErrorsRoundTrip: every error arrives with all its fields, also from inside others, whose text arrives too.
func TestErrorsRoundTrip(t *testing.T) {
	for _, err := range everyError() {
		if v := reflect.ValueOf(err).Elem(); strings.Contains(v.Type().PkgPath(), "skerry") {
			for i := range v.NumField() {
				if v.Field(i).IsZero() {
					t.Errorf("%T: field %s is not set, so it is not tested", err, v.Type().Field(i).Name)
				}
			}
		}
		if back := roundTrip(t, err); !reflect.DeepEqual(back, err) {
			t.Errorf("%#v arrives as %#v", err, back)
		}
		for _, wrapped := range []error{
			fmt.Errorf("put k on st4: %w", fmt.Errorf("attempt 3: %w", err)), errors.Join(io.EOF, err),
		} {
			back := roundTrip(t, wrapped)
			if back.Error() != wrapped.Error() {
				t.Errorf("text %q arrives as %q", wrapped, back)
			}
			if core := errors.Unwrap(back); !reflect.DeepEqual(core, err) {
				t.Errorf("%q arrives with the core %#v", wrapped, core)
			}
			if again := roundTrip(t, back); !reflect.DeepEqual(again, back) {
				t.Errorf("%q changes when it is passed on: %q", back, again)
			}
		}
	}
}

// TestForeignErrors: what nobody knows arrives as text, and long texts end.
func TestForeignErrors(t *testing.T) {
	if back := roundTrip(t, nil); back != nil {
		t.Errorf("nil arrives as %v", back)
	}
	if back := roundTrip(t, io.EOF); !reflect.DeepEqual(back, &UnknownError{Text: "EOF"}) {
		t.Errorf("EOF arrives as %#v", back)
	}
	long := strings.Repeat("aé", 1000)
	if back := roundTrip(t, errors.New(long)).Error(); len(back) > maxErrorTextBytes || !strings.HasPrefix(long, back) {
		t.Errorf("a long text arrives as %q", back)
	}
	if back := roundTrip(t, fmt.Errorf("%s: %w", long, shard.ErrClosed)); !errors.Is(back, shard.ErrClosed) {
		t.Errorf("a long text loses its core: %#v", back)
	}
	d := codec.Decoder{B: appendItem(nil, 200, []byte("fields of the future"))}
	var unknown *UnknownError
	if back := ReadError(&d); !errors.As(back, &unknown) || d.Done() != nil {
		t.Errorf("an error of a newer version arrives as %#v, %v", back, d.Done())
	}
}

// TestEveryErrorIsListed reads the sources of the packages whose errors travel: every type with an Error method and
// every error variable must be in everyError.
func TestEveryErrorIsListed(t *testing.T) {
	listed := map[string]bool{"remoteError": true} // only made by ReadError
	for _, err := range everyError() {
		listed[reflect.TypeOf(err).Elem().Name()] = true
	}
	found := 0
	for _, dir := range []string{"..", "."} {
		for name, variable := range declaredErrors(t, dir) {
			found++
			if variable {
				// Sentinels are all of one type, so they are looked for by text.
				if !sentinelListed(t, dir, name) {
					t.Errorf("%s is not in everyError", name)
				}
			} else if !listed[name] {
				t.Errorf("%s is not in everyError", name)
			}
		}
	}
	if found < len(everyError()) {
		t.Errorf("found only %d declarations of errors", found)
	}
}

func declaredErrors(t *testing.T, dir string) map[string]bool {
	out := map[string]bool{}
	for _, decl := range declarations(t, dir) {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.Name == "Error" && decl.Recv != nil {
				out[decl.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name] = false
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && decl.Tok == token.VAR && strings.HasPrefix(v.Names[0].Name, "Err") {
					out[v.Names[0].Name] = true
				}
			}
		}
	}
	return out
}

// sentinelListed compares the text in the source with the texts of everyError.
func sentinelListed(t *testing.T, dir, name string) bool {
	for _, decl := range declarations(t, dir) {
		g, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range g.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || v.Names[0].Name != name {
				continue
			}
			args := v.Values[0].(*ast.CallExpr).Args // the text is the last
			text := args[len(args)-1].(*ast.BasicLit).Value
			for _, err := range everyError() {
				if fmt.Sprintf("%q", err.Error()) == text {
					return true
				}
			}
		}
	}
	return false
}

func declarations(t *testing.T, dir string) (out []ast.Decl) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f.Decls...)
	}
	return out
}

// FuzzRequests: nothing that comes from the network does more than be refused; what is taken means the same when it is
// sent on.
func FuzzRequests(f *testing.F) {
	f.Add(AppendRequest(AppendRequest(nil, 7, &Request{Kind: Read, Shard: 10, Body: []byte("q")}), 8,
		&Request{Kind: Write, Op: OpID{1, 2}, Term: 3, Since: 4, Timeout: time.Second, Trace: true, Body: []byte("c")}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var again []byte
		var ids []uint64
		var reqs []Request
		err := DecodeRequests(frame, func(id uint64, r *Request) error {
			again = AppendRequest(again, id, r)
			ids, reqs = append(ids, id), append(reqs, *r)
			return nil
		})
		if err != nil && !errors.Is(err, codec.ErrMalformed) {
			t.Fatal(err)
		}
		n := 0
		if len(reqs) > 0 {
			err = DecodeRequests(again, func(id uint64, r *Request) error {
				if id != ids[n] || !reflect.DeepEqual(*r, reqs[n]) {
					t.Fatalf("%+v becomes %+v", reqs[n], *r)
				}
				n++
				return nil
			})
		}
		if n != len(reqs) {
			t.Fatalf("%d of %d requests read back: %v", n, len(reqs), err)
		}
	})
}

func FuzzReplies(f *testing.F) {
	var frame []byte
	for i, err := range everyError() {
		f.Add(AppendReply(nil, 1, &Reply{Err: err, Term: 2, Applied: 3}))
		f.Add(AppendReply(nil, 1, &Reply{Err: fmt.Errorf("put: %w", err), Stages: &Stages{StageQueue: 1, StageRead: time.Second}}))
		frame = AppendReply(frame, uint64(i), &Reply{Err: err, Body: []byte("b")})
	}
	f.Add(frame)
	f.Fuzz(func(t *testing.T, frame []byte) {
		_ = DecodeReplies(frame, func(id uint64, r *Reply) error {
			again := AppendReply(nil, id, r)
			return DecodeReplies(again, func(id2 uint64, r2 *Reply) error {
				if id2 != id || r2.Term != r.Term || r2.Applied != r.Applied || !bytes.Equal(r2.Body, r.Body) ||
					!reflect.DeepEqual(r2.Stages, r.Stages) {
					t.Fatalf("%+v becomes %+v", r, r2)
				}
				if again2 := AppendReply(nil, id2, r2); !bytes.Equal(again, again2) {
					t.Fatalf("%+v becomes %+v", r, r2)
				}
				return nil
			})
		})
	})
}
