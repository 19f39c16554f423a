package raw_test

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// TestTranscripts shows commands and queries on a shard's data. All of them pass through their encodings. Keys are
// written as they lie in the keyspace: rk is the user's key k. "now" sets the shard time.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := &script{t: t, m: new(rawtest.Map), in: shard.ModeRange(shard.ModeRaw)}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t = t
			return s.run(td)
		})
	})
}

type script struct {
	t   *testing.T
	m   *rawtest.Map
	in  shard.Range // of the shard
	now shard.Millis
}

func (s *script) run(td *datadriven.TestData) string {
	switch td.Cmd {
	case "now":
		var n uint64
		td.ScanArgs(s.t, "at", &n)
		s.now = shard.Millis(n)
		return ""
	case "shard":
		s.in = rawtest.ParseRange(td.CmdArgs[0].Key + "," + td.CmdArgs[1].Key)
		return ""
	case "do": // one command
		return s.do(s.command(td.Input)) + s.m.String()
	case "check":
		return checked(s.command(td.Input).Check())
	case "reclaim":
		return s.reclaim(strings.Fields(td.Input))
	case "store": // bytes as they are
		for l := range strings.Lines(td.Input) {
			k, v, _ := strings.Cut(strings.TrimSpace(l), "=")
			s.m.Set(shard.Key(k), []byte(v))
		}
		return s.m.String()
	case "query":
		var b strings.Builder
		for l := range strings.Lines(td.Input) {
			b.WriteString(s.query(strings.TrimSpace(l)))
		}
		return b.String()
	}
	s.t.Fatalf("unknown command %s", td.Cmd)
	return ""
}

func (s *script) command(in string) *raw.Command {
	c, err := rawtest.ParseCommand(in)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *script) do(c *raw.Command) string {
	c, err := raw.DecodeCommand(c.Append(nil))
	if err != nil {
		return err.Error() + "\n"
	}
	s.m.Reads, s.m.Writes = 0, 0
	r, ttl, err := raw.Evaluate(c, s.m, s.now)
	if err != nil {
		return "broken: " + err.Error() + "\n"
	}
	if r, err = raw.DecodeResult(r.Append(nil)); err != nil {
		s.t.Fatal(err)
	}
	out := fmt.Sprintf("executed, %d reads", s.m.Reads)
	if r.Failed >= 0 {
		out = fmt.Sprintf("condition %d failed: exists=%t current=%q, %d writes", r.Failed, r.Exists, r.Current, s.m.Writes)
	}
	if ttl {
		out += ", wrote a ttl"
	}
	return out + "\n"
}

func (s *script) reclaim(keys []string) string {
	r := &raw.Reclaim{AsOf: 7, Final: true}
	for _, k := range keys {
		r.Keys = append(r.Keys, shard.Key(k))
	}
	r, err := raw.DecodeReclaim(r.Append(nil))
	if err != nil || r.AsOf != 7 || !r.Final {
		s.t.Fatal(r, err)
	}
	n, clean, err := r.Evaluate(s.m, s.now)
	if err != nil {
		return "broken: " + err.Error()
	}
	return fmt.Sprintf("deleted %d, clean=%t\n%s", n, clean, s.m)
}

// query reads "get k...", "scan a,z option...", "checksum a,z option...".
func (s *script) query(l string) string {
	f := strings.Fields(l)
	q := &raw.Query{}
	var due shard.Millis
	switch f[0] {
	case "get":
		q.Kind = raw.Get
	case "scan":
		q.Kind, q.Range, f = raw.Scan, rawtest.ParseRange(f[1]), f[1:]
	case "checksum":
		q.Kind, q.Range, f = raw.Checksum, rawtest.ParseRange(f[1]), f[1:]
	}
	for _, a := range f[1:] {
		name, val, option := strings.Cut(a, "=")
		n, _ := strconv.Atoi(val)
		switch {
		case name == "reverse":
			q.Reverse = true
		case name == "keys-only":
			q.KeysOnly = true
		case name == "ttl":
			q.WithTTL = true
		case option && name == "limit":
			q.Limit = n
		case option && name == "bytes":
			q.MaxBytes = n
		case option && name == "due":
			due = shard.Millis(n)
		default:
			q.Keys = append(q.Keys, shard.Key(a))
		}
	}
	return l + ": " + s.answer(q, due)
}

func (s *script) answer(q *raw.Query, due shard.Millis) string {
	q, err := raw.DecodeQuery(q.Append(nil))
	if err != nil {
		return err.Error() + "\n"
	}
	if err := q.Check(); err != nil {
		return checked(err)
	}
	a, needsClock, err := q.Run(s.m.Reader(), s.in, s.now, due)
	var misplaced *shard.KeyNotInShardError
	switch {
	case errors.As(err, &misplaced):
		return err.Error() + "\n"
	case err != nil:
		return "broken: " + err.Error() + "\n"
	case needsClock:
		return "needs the clock\n"
	}
	back, err := raw.DecodeAnswer(a.Append(nil))
	if err != nil {
		s.t.Fatal(err)
	}
	if !reflect.DeepEqual(*back, a) {
		s.t.Errorf("answer %+v reads back as %+v", a, *back)
	}
	return showAnswer(q, back)
}

func showAnswer(q *raw.Query, a *raw.Answer) string {
	var b strings.Builder
	if q.Kind != raw.Get {
		fmt.Fprintf(&b, "covers %s ", a.Range)
	}
	if q.Kind == raw.Checksum {
		fmt.Fprintf(&b, "%016x of %d keys, %d bytes", a.Sum.Hash, a.Sum.Keys, a.Sum.Bytes)
	}
	for i, r := range a.Rows {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case !r.Found:
			b.WriteString("absent")
		case q.Kind == raw.Get:
			fmt.Fprintf(&b, "%q", r.Value)
		case q.KeysOnly:
			b.WriteString(string(r.Key))
		default:
			fmt.Fprintf(&b, "%s=%q", string(r.Key), r.Value)
		}
		if r.ExpireIn > 0 {
			fmt.Fprintf(&b, " for %s", r.ExpireIn)
		}
	}
	if a.More {
		fmt.Fprintf(&b, "; more at %s", a.Next)
	}
	return b.String() + "\n"
}

// checked prints an answer of Check, which is always for the user.
func checked(err error) string {
	var invalid *shard.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		return "not an InvalidError: " + err.Error() + "\n"
	}
	if err != nil {
		return err.Error() + "\n"
	}
	return "ok\n"
}
