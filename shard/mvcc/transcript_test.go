package mvcc_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// TestTranscripts tells stories of transactions on one shard. All commands, queries and answers pass through their
// encodings. Every command but pages is evaluated once more on the state that it left, which must not change it.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := &story{shardState: newShard()}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t = t
			var b strings.Builder
			for l := range strings.Lines(td.Input) {
				if l = strings.TrimSpace(l); l != "" {
					fmt.Fprintf(&b, "%s: %s\n", l, s.line(l))
				}
			}
			if td.Cmd == "do" {
				fmt.Fprintf(&b, "%d locks, safe point %d, collected %d\n%s", s.st.Locks, s.st.SafePoint, s.st.Collected, s.w)
			}
			return b.String()
		})
	})
}

// shardState is a shard of the twin.
type shardState struct {
	w  *twin
	st mvcc.State
	on func(k shard.Key, ts mvcc.Timestamp) // is told of every change, if it is there
}

func newShard() *shardState { return &shardState{w: new(twin)} }

// do evaluates a command as a replica does.
func (s *shardState) do(c mvcc.Command) (*mvcc.Result, error) {
	dec, err := mvcc.Decode(c.Append(nil))
	if err != nil {
		return nil, err
	}
	w := mvcc.Writer(s.w)
	if s.on != nil {
		w = mvcc.Tap{Writer: s.w, On: s.on}
	}
	r, eff, err := mvcc.Evaluate(dec, w, s.st)
	if err != nil {
		return nil, err
	}
	s.st.Locks += uint64(eff.Locks)
	s.st.SafePoint, s.st.Collected = eff.SafePoint, eff.Collected
	if n, _ := mvcc.CountLocks(s.w, shard.Range{}); n != s.st.Locks {
		return nil, fmt.Errorf("%d locks counted, %d in the state", n, s.st.Locks)
	}
	return mvcc.DecodeResult(r.Append(nil))
}

func (s *shardState) ask(q *mvcc.Query) (*mvcc.Answer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	dec, err := mvcc.DecodeQuery(q.Append(nil))
	if err != nil {
		return nil, err
	}
	a, err := dec.Run(s.w, shard.Range{}, s.st)
	if err != nil {
		return nil, err
	}
	return mvcc.DecodeAnswer(a.Append(nil))
}

type story struct {
	*shardState
	t *testing.T
}

// args are the words of a line: name=value options, and what is left.
type args struct {
	opt  map[string]string
	rest []string
}

var options = []string{"primary", "mode", "floor", "max", "ttl", "fu", "sec", "at", "own", "bypass", "limit", "caller", "now", "safe", "delta", "bytes", "after", "from"}

func parse(words []string) args {
	a := args{opt: map[string]string{}}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok && slices.Contains(options, k) {
			a.opt[k] = v
			continue
		}
		a.rest = append(a.rest, w)
	}
	return a
}

func (a args) ts(name string) mvcc.Timestamp { return mvcc.Timestamp(a.num(name)) }
func (a args) num(name string) uint64 {
	n, _ := strconv.ParseUint(a.opt[name], 10, 64)
	return n
}
func (a args) has(word string) bool { return slices.Contains(a.rest, word) }

// keys are the keys among the words after the first n.
func userKeys(words []string) (ks []shard.Key) {
	for _, w := range words {
		if !slices.Contains([]string{"values", "missing", "twophase", "reverse", "previous"}, w) {
			ks = append(ks, mvcc.Key([]byte(w)))
		}
	}
	return ks
}

func span(s string) shard.Range {
	lo, hi, _ := strings.Cut(s, ",")
	return shard.Range{Start: shard.Key("x" + lo), End: mvcc.Key([]byte(hi))}
}

// line runs "now T", a query, or "command start ...".
func (s *story) line(l string) string {
	w := strings.Fields(l)
	n, _ := strconv.ParseUint(w[1], 10, 64)
	start, a := mvcc.Timestamp(n), parse(w[2:])
	switch w[0] {
	case "now":
		s.st.Time = shard.Millis(n)
		return "ok"
	case "get", "scan", "locks", "changes":
		return s.query(w[0], start, a)
	}
	c := command(w[0], start, a)
	if c == nil {
		s.t.Fatalf("unknown command %s", w[0])
	}
	return s.run(c)
}

func command(what string, start mvcc.Timestamp, a args) mvcc.Command {
	ks := userKeys(a.rest)
	switch what {
	case "prewrite":
		return prewrite(start, a)
	case "commit":
		return mvcc.NewCommit(start, a.ts("at"), ks...)
	case "rollback":
		return mvcc.NewRollback(start, ks...)
	case "status":
		return &mvcc.CheckStatus{StartTS: start, Primary: ks[0], CallerTS: a.ts("caller"), CurrentTS: a.ts("now"),
			RollbackMissing: a.has("missing"), AsTwoPhase: a.has("twophase")}
	case "secondaries":
		return mvcc.NewCheckSecondaries(start, ks...)
	case "resolve":
		c := &mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: start, CommitTS: a.ts("at")}}, Limit: int(a.num("limit"))}
		if c.Limit > 0 {
			c.Range = span(a.rest[0])
		} else {
			c.List = ks
		}
		return c
	case "heartbeat":
		return &mvcc.Heartbeat{StartTS: start, Primary: ks[0], TTLMillis: a.num("ttl")}
	case "lock":
		c := mvcc.NewPessimisticLock(start, a.ts("fu"), mvcc.Key([]byte(a.opt["primary"])), 100, ks...)
		c.Values = a.has("values")
		return c
	case "unlock":
		return mvcc.NewPessimisticRollback(start, a.ts("fu"), ks...)
	case "gc":
		c := &mvcc.GC{SafePoint: start, Limit: int(a.num("limit"))}
		if c.Limit > 0 {
			c.Range = span(a.rest[0])
		}
		return c
	case "add":
		return &mvcc.Add{StartTS: start, Floor: a.ts("floor"), MaxCommitTS: a.ts("max"), Key: ks[0], Delta: int64(a.num("delta"))}
	}
	return nil
}

// prewrite reads mutations k=v, k=- (delete), k=~ (touch), k=+v (insert), and !k=v for a held key; v*n repeats v.
func prewrite(start mvcc.Timestamp, a args) *mvcc.Prewrite {
	c := &mvcc.Prewrite{StartTS: start, Floor: a.ts("floor"), MaxCommitTS: a.ts("max"), ForUpdateTS: a.ts("fu"), TTLMillis: 100,
		Primary: mvcc.Key([]byte(a.opt["primary"]))}
	c.Mode = map[string]mvcc.Mode{"async": mvcc.Async, "one": mvcc.OnePhase}[a.opt["mode"]]
	if sec := a.opt["sec"]; sec != "" {
		c.Secondaries = userKeys(strings.Split(sec, ","))
	}
	for _, w := range a.rest {
		k, v, _ := strings.Cut(w, "=")
		m := mvcc.Mutation{Kind: mvcc.Put, Held: strings.HasPrefix(k, "!"), Key: mvcc.Key([]byte(strings.TrimPrefix(k, "!")))}
		switch {
		case v == "-":
			m.Kind = mvcc.Delete
		case v == "~":
			m.Kind = mvcc.Touch
		default:
			if rest, ok := strings.CutPrefix(v, "+"); ok {
				m.Kind, v = mvcc.Insert, rest
			}
			if one, times, ok := strings.Cut(v, "*"); ok {
				n, _ := strconv.Atoi(times)
				v = strings.Repeat(one, n)
			}
			m.Value = []byte(v)
		}
		c.Mutations = append(c.Mutations, m)
	}
	return c
}

func (s *story) run(c mvcc.Command) string {
	if err := c.Check(); err != nil {
		return err.Error()
	}
	r, err := s.do(c)
	if err != nil {
		s.t.Fatal(err)
	}
	if !c.Span().Empty() {
		return showResult(r) // a page: the next one goes on
	}
	state := s.w.String()
	again, err := s.do(c)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.w.String() != state {
		s.t.Errorf("repeated, the command changes the state to\n%sfrom\n%s", s.w, state)
	}
	out := showResult(r)
	if twice := showResult(again); twice != out {
		out += "; again: " + twice
	}
	return out
}

func showResult(r *mvcc.Result) string {
	var out []string
	say := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	for _, e := range r.Rejected {
		say("rejected: %s", e)
	}
	if r.Status != mvcc.StatusNone {
		say("%s", [...]string{"", "locked", "committed", "rolled back"}[r.Status])
	}
	if r.CommitTS != 0 {
		say("at %d", r.CommitTS)
	}
	if r.Async {
		say("async from %d", r.MinCommitTS)
	}
	if r.Expired {
		say("expired")
	}
	for _, l := range r.Locks {
		say("%s, until %d, commits from %d", l, l.ExpireAt, l.MinCommitTS)
	}
	for _, row := range r.Rows {
		say("%t %q", row.Found, row.Value)
	}
	if r.Count != 0 {
		say("%d done", r.Count)
	}
	if r.Next != nil {
		say("next %s", name(r.Next))
	}
	if len(out) == 0 {
		return "ok"
	}
	return strings.Join(out, ", ")
}

func (s *story) query(what string, ts mvcc.Timestamp, a args) string {
	q := &mvcc.Query{Kind: mvcc.Get, TS: ts, OwnTS: a.ts("own"), Reverse: a.has("reverse"), Limit: int(a.num("limit")), MaxBytes: int(a.num("bytes"))}
	if b := a.ts("bypass"); b != 0 {
		q.Bypass = []mvcc.Timestamp{b}
	}
	switch what {
	case "get":
		q.Keys = userKeys(a.rest)
	case "scan":
		q.Kind, q.Range = mvcc.Scan, span(a.rest[0])
	case "locks":
		q.Kind, q.Range = mvcc.ScanLocks, span(a.rest[0])
	case "resolved":
		q.Kind, q.Range = mvcc.Resolved, span(a.rest[0])
	case "checksum":
		q.Kind, q.Range = mvcc.Checksum, span(a.rest[0])
	case "changes":
		q.Kind, q.Range, q.After, q.Previous = mvcc.Changes, span(a.rest[0]), a.ts("after"), a.has("previous")
		if from := a.opt["from"]; from != "" {
			q.AfterKey = mvcc.Key([]byte(from))
		}
	}
	before := s.w.Seeks
	r, err := s.ask(q)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s (%d seeks)", showAnswer(q, r), s.w.Seeks-before)
}

func showAnswer(q *mvcc.Query, a *mvcc.Answer) string {
	if a.Rejected != nil {
		return "rejected: " + a.Rejected.Error()
	}
	var out []string
	switch q.Kind {
	case mvcc.Resolved, mvcc.Changes:
		out = append(out, fmt.Sprintf("resolved %d", a.Resolved))
	case mvcc.Checksum:
		out = append(out, fmt.Sprintf("%d versions, %d locks", a.Sum.Versions, a.Sum.Locks))
	}
	for _, r := range a.Rows {
		v := fmt.Sprintf("%q@%d", r.Value, r.CommitTS)
		if len(r.Value) > 20 {
			v = fmt.Sprintf("%d bytes@%d", len(r.Value), r.CommitTS)
			if len(bytes.Trim(r.Value, string(r.Value[:1]))) != 0 {
				v += " damaged"
			}
		}
		switch {
		case q.Kind == mvcc.Changes && !r.Found && r.Key != nil:
			v = fmt.Sprintf("%s removed@%d", name(r.Key), r.CommitTS)
		case q.Kind == mvcc.Changes && r.Key == nil && !r.Found:
			v = "after nothing"
		case q.Kind == mvcc.Changes && r.Key == nil:
			v = "after " + v
		case !r.Found:
			v = "absent"
		case q.Kind == mvcc.Scan || q.Kind == mvcc.Changes:
			v = name(r.Key) + "=" + v
		}
		out = append(out, v)
	}
	for _, l := range a.Locks {
		out = append(out, l.String())
	}
	if a.More {
		out = append(out, fmt.Sprintf("more at %s", a.Next))
	}
	return strings.Join(out, ", ")
}
