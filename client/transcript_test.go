package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestTranscripts shows every request that the SDK sends while stores answer by a script.
//
//	open: a new client; the routes that placement knows, or the same as before
//	placement: what it knows from now on; "down" it does not answer
//	put k v, get k, cas k old new, absent k v, delete k, atomic +k -k k=v …, putmany k=v …, getmany k …, deleterange a b,
//	scan a b, reverse a b: the call; its input are the replies, one a line; deadline=d gives its context one, cancel=n
//	ends it during request n; trace shows the steps of the call in the end. A reply that begins with after=d comes after that
//	time, of which fsync=d was spent in the store
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t = t
			return s.run(td)
		})
	})
}

type script struct {
	fakePlacement
	t       *testing.T
	w       *world
	db      *DB
	out     strings.Builder
	replies []string
	calls   int
	cancel  context.CancelFunc
	after   int // the request during which cancel is called
	trace   *Trace
}

func (s *script) run(td *datadriven.TestData) string {
	s.out.Reset()
	switch td.Cmd {
	case "open":
		s.open(td)
		return s.out.String()
	case "placement":
		s.routes.Routes, s.down = nil, false
		for l := range strings.Lines(td.Input) {
			if strings.TrimSpace(l) == "down" {
				s.down = true
				continue
			}
			s.routes.Routes = append(s.routes.Routes, parseRoute(l))
		}
		return ""
	case "close":
		return fmt.Sprintln(s.db.Close())
	}
	s.replies = strings.Split(strings.TrimSpace(td.Input), "\n")
	if td.Input == "" {
		s.replies = nil
	}
	ctx := s.context(td)
	s.do(ctx, td)
	for _, r := range s.replies {
		fmt.Fprintf(&s.out, "NOT ASKED FOR: %s\n", r)
	}
	if s.trace != nil {
		s.out.WriteString(s.trace.String())
	}
	return s.out.String()
}

func (s *script) open(td *datadriven.TestData) {
	s.w = &world{seed: 1, now: env0}
	s.routes.Stores = fakeStores(3)
	if td.Input != "" {
		s.routes.Routes, s.down = nil, false
	}
	s.located = nil
	for l := range strings.Lines(td.Input) {
		s.routes.Routes = append(s.routes.Routes, parseRoute(l))
	}
	var err error
	if s.db, err = Open(context.Background(), "seed", WithWorld(s.w, s)); err != nil {
		s.t.Fatal(err)
	}
	s.w.slept = func(d time.Duration) { fmt.Fprintf(&s.out, "  sleep %s\n", d.Round(time.Millisecond)) }
	s.located = func(key shard.Key) { fmt.Fprintf(&s.out, "locate %s\n", key) }
}

const env0 = 1_000_000_000

func (s *script) context(td *datadriven.TestData) context.Context {
	ctx := context.Background()
	s.cancel, s.after, s.calls, s.trace = nil, 0, 0, nil
	args := td.CmdArgs[:0]
	for _, a := range td.CmdArgs {
		switch a.Key {
		case "deadline":
			d, err := time.ParseDuration(a.Vals[0])
			if err != nil {
				s.t.Fatal(err)
			}
			ctx = deadlineCtx{ctx, s.w, s.w.now.Add(d)}
		case "cancel":
			ctx, s.cancel = context.WithCancel(ctx)
			s.after, _ = strconv.Atoi(a.Vals[0])
		case "trace":
			s.trace = &Trace{}
			ctx = WithTrace(ctx, s.trace)
		default:
			args = append(args, a)
		}
	}
	td.CmdArgs = args
	return ctx
}

// Call implements Conn: it shows the request and gives the next reply of the script.
func (s *script) CallMany(ctx context.Context, addr string, to shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	oneByOne(ctx, s, addr, to, reqs, reps)
}

func (s *script) Call(_ context.Context, addr string, to shard.StoreID, req *call.Request) call.Reply {
	if addr != to.String() {
		s.t.Fatalf("%s was called at %s", to, addr)
	}
	s.calls++
	if req.Trace != (s.trace != nil) {
		s.t.Errorf("a request that asks for its stages: %v", req.Trace)
	}
	fmt.Fprintf(&s.out, "%s: %s", to, describe(req))
	s.showBody(req)
	if len(s.replies) == 0 {
		fmt.Fprintln(&s.out, " → (the script is over)")
		return call.Reply{Err: &shard.InvalidError{Why: "the script is over"}, Term: 1}
	}
	line := s.replies[0]
	s.replies = s.replies[1:]
	fmt.Fprintf(&s.out, "\n  → %s\n", line)
	if s.calls == s.after {
		s.cancel()
		return call.Reply{Err: context.Canceled}
	}
	return s.late(line, req)
}

// late makes a reply that takes its time.
func (s *script) late(line string, req *call.Request) call.Reply {
	var stages call.Stages
	for {
		word, rest, _ := strings.Cut(line, " ")
		name, value, _ := strings.Cut(word, "=")
		d, err := time.ParseDuration(value)
		switch {
		case err == nil && name == "after":
			s.w.now = s.w.now.Add(d)
		case err == nil && name == "fsync":
			stages[call.StageFsync] = d
		default:
			rep := s.reply(line, req)
			if req.Trace && stages.Total() > 0 {
				rep.Stages = &stages
			}
			return rep
		}
		line = rest
	}
}

// showBody prints what a request writes or reads.
func (s *script) showBody(req *call.Request) {
	switch req.Kind {
	case call.Write:
		cmd, err := raw.DecodeCommand(req.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range cmd.Ops {
			fmt.Fprintf(&s.out, " %s %s", cmd.Ops[i].Kind, cmd.Ops[i].Key)
			if end := cmd.Ops[i].End; end != nil {
				fmt.Fprintf(&s.out, " to %s", end)
			}
		}
	case call.Read:
		q, err := raw.DecodeQuery(req.Body)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, k := range q.Keys {
			fmt.Fprintf(&s.out, " %s", k)
		}
		if q.Kind == raw.Scan {
			fmt.Fprintf(&s.out, " %s reverse %v limit %d", q.Range, q.Reverse, q.Limit)
		}
	}
}

// reply makes the reply that a line of a script describes.
func (s *script) reply(line string, req *call.Request) call.Reply {
	f := strings.Fields(line)
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	num := func(i int) uint64 {
		n, _ := strconv.ParseUint(arg(i), 10, 64)
		return n
	}
	id := uint64(req.Shard)
	switch f[0] {
	case "ok": // [term applied]
		rep := call.Reply{Term: num(1), Applied: num(2)}
		if req.Kind != call.Refresh {
			rep.Body = raw.Result{Failed: -1}.Append(nil)
		}
		return rep
	case "conflict": // failed [current]
		return call.Reply{Term: 5, Applied: 200, Body: raw.Result{Failed: int(num(1)), Exists: len(f) > 2, Current: []byte(arg(2))}.Append(nil)}
	case "rows": // k=v …
		if req.Kind != call.Read {
			s.t.Errorf("%q is no answer to a %s", line, describe(req))
			return call.Reply{Err: &shard.InvalidError{Why: "the script is wrong"}, Term: 1}
		}
		a := raw.Answer{}
		for _, kv := range f[1:] {
			k, v, found := strings.Cut(kv, "=")
			switch {
			case k == "more":
				a.More, a.Next = true, shard.RawKey([]byte(v))
				continue
			case v == "?":
				a.Rows = append(a.Rows, raw.Row{})
				continue
			}
			row := raw.Row{Value: []byte(v), Found: found}
			if q, _ := raw.DecodeQuery(req.Body); q.Kind == raw.Scan {
				row.Key = shard.RawKey([]byte(k))
			}
			a.Rows = append(a.Rows, row)
		}
		return call.Reply{Term: 5, Applied: 200, Body: a.Append(nil)}
	case "not-leader": // [store term]
		e := &shard.NotLeaderError{Shard: req.Shard, Term: num(2)}
		if len(f) > 1 {
			e.Leader = fakeReplica(id, num(1))
		}
		return call.Reply{Err: e}
	case "stale": // route; route…
		return call.Reply{Err: s.stale(line, req)}
	case "own-stale": // the same, as an attempt's own answer
		return call.Reply{Err: s.stale(line, req), Term: 5, Applied: 200}
	case "not-ready":
		return call.Reply{Err: &shard.NotReadyError{Shard: req.Shard, Why: "is behind"}}
	case "not-found":
		return call.Reply{Err: &shard.NotFoundError{Shard: req.Shard, Store: shard.StoreID(num(1))}}
	case "busy": // wait
		d, _ := time.ParseDuration(arg(1))
		return call.Reply{Err: &shard.ServerBusyError{Why: "queue is full", Wait: d}}
	case "refresh": // term applied
		return call.Reply{Err: &shard.RefreshError{Shard: req.Shard, Term: num(1), Applied: num(2)}}
	case "overwritten":
		return call.Reply{Err: &shard.OverwrittenError{Shard: req.Shard}}
	case "no-time":
		return call.Reply{Err: shard.ErrNoFreshTime}
	case "never":
		return call.Reply{Err: &call.NeverError{Op: req.Op}}
	case "never-other":
		return call.Reply{Err: &call.NeverError{Op: call.OpID{Client: 1, Seq: 1}}}
	case "unknown":
		return call.Reply{Err: &shard.AmbiguousError{Shard: req.Shard, Why: "the log was cut"}}
	case "invalid":
		return call.Reply{Err: &shard.InvalidError{Why: "malformed frame"}}
	case "own-invalid":
		return call.Reply{Err: &shard.InvalidError{Why: "unknown op"}, Term: 5, Applied: 200}
	case "broken":
		return call.Reply{Err: &shard.BrokenError{Store: 1, Why: "disk"}}
	case "down":
		return call.Reply{Err: fmt.Errorf("stream ended: %w", shard.ErrUnavailable)}
	case "closed":
		return call.Reply{Err: shard.ErrClosed}
	case "hang":
		s.w.now = s.w.now.Add(req.Timeout)
		return call.Reply{Err: context.Canceled}
	}
	s.t.Fatalf("unknown reply %q", line)
	return call.Reply{}
}

func (s *script) stale(line string, req *call.Request) error {
	_, line, _ = strings.Cut(line, " ")
	e := &shard.StaleEpochError{Shard: req.Shard}
	for _, r := range strings.Split(line, ";") {
		e.Current = append(e.Current, parseRoute(strings.TrimSpace(r)).Desc)
	}
	return e
}

func (s *script) do(ctx context.Context, td *datadriven.TestData) {
	arg := func(i int) []byte { return []byte(td.CmdArgs[i].Key) }
	var err error
	switch td.Cmd {
	case "put":
		err = s.db.Put(ctx, arg(0), arg(1))
	case "delete":
		err = s.db.Delete(ctx, arg(0))
	case "absent":
		err = s.db.PutIfAbsent(ctx, arg(0), arg(1))
	case "cas":
		err = s.db.CompareAndSwap(ctx, arg(0), arg(1), arg(2))
	case "get":
		var v []byte
		if v, err = s.db.Get(ctx, arg(0)); err == nil {
			fmt.Fprintf(&s.out, "%q\n", v)
		}
	case "follower":
		var v []byte
		if v, err = s.db.Get(ctx, arg(0), ReadFromFollower()); err == nil {
			fmt.Fprintf(&s.out, "%q\n", v)
		}
	case "atomic":
		err = s.db.Atomic(ctx, func(b *Batch) { s.batch(b, td) })
	case "putmany":
		err = s.db.PutMany(ctx, s.kvs(td))
	case "getmany":
		err = s.getMany(ctx, td)
	case "deleterange":
		err = s.db.DeleteRange(ctx, Range{Start: arg(0), End: arg(1)})
	case "scan", "reverse":
		scan := s.db.Scan
		if td.Cmd == "reverse" {
			scan = s.db.ReverseScan
		}
		for kv, e := range scan(ctx, Range{Start: arg(0), End: arg(1)}) {
			if err = e; e == nil {
				fmt.Fprintf(&s.out, "%s=%s\n", kv.Key, kv.Value)
			}
		}
	default:
		s.t.Fatalf("unknown command %q", td.Cmd)
	}
	s.result(err)
}

func (s *script) batch(b *Batch, td *datadriven.TestData) {
	for _, a := range td.CmdArgs {
		k := a.Key
		switch {
		case strings.HasPrefix(k, "+"):
			b.IfAbsent([]byte(k[1:]))
		case strings.HasPrefix(k, "-"):
			b.Delete([]byte(k[1:]))
		default:
			b.Put([]byte(k), []byte(a.Vals[0]))
		}
	}
}

func (s *script) kvs(td *datadriven.TestData) (out []KV) {
	for _, a := range td.CmdArgs {
		out = append(out, KV{Key: []byte(a.Key), Value: []byte(a.Vals[0])})
	}
	return out
}

func (s *script) getMany(ctx context.Context, td *datadriven.TestData) error {
	var keys [][]byte
	for _, a := range td.CmdArgs {
		keys = append(keys, []byte(a.Key))
	}
	found, err := s.db.GetMany(ctx, keys)
	for i, f := range found {
		fmt.Fprintf(&s.out, "%s: %q %v\n", keys[i], f.Value, f.Found)
	}
	return err
}

// result prints the error, which sentinels it is, and of a batch the error of each key.
func (s *script) result(err error) {
	if err == nil {
		fmt.Fprintln(&s.out, "= ok")
		return
	}
	fmt.Fprintf(&s.out, "= %v\n", err)
	for _, is := range []error{ErrNotFound, ErrConflict, ErrAmbiguous, ErrCrossShard, ErrInvalid, ErrUnavailable, ErrClosed,
		context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			fmt.Fprintf(&s.out, "  is %q\n", is)
		}
	}
	var b *BatchError
	if errors.As(err, &b) {
		for i, e := range b.Errs {
			fmt.Fprintf(&s.out, "  key %d: %v\n", i, e)
		}
	}
	var c *ConflictError
	if errors.As(err, &c) {
		fmt.Fprintf(&s.out, "  current: exists %v, value %q\n", c.Exists, c.Current)
	}
	var p *ProgressError
	if errors.As(err, &p) {
		fmt.Fprintf(&s.out, "  came to %q\n", p.Next)
	}
}
