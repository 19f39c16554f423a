package apply

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// TestTranscripts shows entries applied to a shard, one block an entry. In a data entry every line is a command, its
// parts separated by semicolons. "eval", "version", "confver" and "stamp" are what the proposer wrote into the header;
// without them it knew the current epoch and no time.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := newScript()
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			s.t = t
			return s.run(td)
		})
	})
}

type script struct {
	t    *testing.T
	m    Machine
	w    *rawtest.Map
	seq  uint64
	term uint64
	txns map[uint64]bool // which of seq were transactions'
}

// startIndex is the index from which scripts go on; term 2.
const startIndex = 10

func newScript() *script {
	return &script{w: new(rawtest.Map), term: 2, txns: map[uint64]bool{}, m: Machine{Desc: startDesc(),
		Applied: shard.Applied{Index: startIndex, Term: 2, TruncIndex: 5, TruncTerm: 1}}}
}

func startDesc() *shard.Descriptor {
	return &shard.Descriptor{ID: 1010, Range: shard.Range{Start: shard.Key("r"), End: shard.Key("rz")},
		Epoch: shard.Epoch{ConfVer: 3, Version: 4},
		Replicas: []shard.Replica{{ID: 1001, Store: 1, Role: shard.Voter}, {ID: 1002, Store: 2, Role: shard.Voter},
			{ID: 1003, Store: 3, Role: shard.Learner}}}
}

func (s *script) run(td *datadriven.TestData) string {
	h := s.header(td)
	if td.HasArg("term") {
		td.ScanArgs(s.t, "term", &s.term)
	}
	e := Entry{Index: s.m.Applied.Index + 1, Term: s.term}
	switch td.Cmd {
	case "show":
		return s.w.String()
	case "begin": // a shard of transactional keys
		d := startDesc()
		d.Range = shard.Range{Start: shard.Key("xa"), End: shard.Key("xz")}
		s.m.Desc = d
		return d.String() + "\n"
	case "fail-reads":
		s.w.FailReads = true
		return ""
	case "no-op":
	case "gap":
		e.Index++
	case "data":
		e.Data = s.data(h, td.Input)
	case "clock":
		e.Data = EncodeClock(h)
	case "truncate":
		var index, at uint64
		td.ScanArgs(s.t, "index", &index)
		td.ScanArgs(s.t, "at-term", &at)
		e.Data = EncodeTruncate(h, index, at)
	case "split":
		e.Data = s.split(h, td.Input)
	case "compare":
		e.Data = EncodeCompare(h, 1001, 1)
	case "change":
		e.Change = EncodeChange(h, parseChange(s.t, td.Input))
	case "change-as-data":
		e.Data = EncodeChange(h, shard.Change{Kind: shard.LeaveJoint})
	case "clock-as-change":
		e.Change = EncodeClock(h)
	case "bytes":
		e.Data = []byte(strings.TrimSpace(td.Input))
	default:
		s.t.Fatalf("unknown command %s", td.Cmd)
	}
	return s.apply(e)
}

func (s *script) header(td *datadriven.TestData) Header {
	h := Header{Eval: EvalVersion, Epoch: s.m.Desc.Epoch}
	for name, to := range map[string]*uint64{"eval": &h.Eval, "version": &h.Epoch.Version, "confver": &h.Epoch.ConfVer,
		"stamp": (*uint64)(&h.Stamp)} {
		if td.HasArg(name) {
			td.ScanArgs(s.t, name, to)
		}
	}
	return h
}

func (s *script) data(h Header, in string) []byte {
	b := NewData(nil, h)
	for l := range strings.Lines(in) {
		s.seq++
		b.Add(call.OpID{Client: 0xc, Seq: s.seq}, s.body(strings.TrimSpace(l)))
	}
	return b.Entry()
}

func (s *script) body(l string) []byte {
	f := strings.Fields(l)
	switch f[0] {
	case "reclaim": // reclaim AS-OF final|partial KEY...
		asOf, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		r := &raw.Reclaim{AsOf: asOf, Final: f[2] == "final"}
		for _, k := range f[3:] {
			r.Keys = append(r.Keys, shard.Key(k))
		}
		return r.Append(nil)
	case "txn":
		s.txns[s.seq] = true
		return txnBody(s.t, f[1:])
	case "garbage":
		return []byte(strings.Join(f[1:], " "))
	case "half":
		return []byte{raw.KindRaw, 1, 1}
	case "half-reclaim":
		return []byte{raw.KindReclaim, 1}
	}
	c, err := rawtest.ParseCommand(strings.ReplaceAll(l, ";", "\n"))
	if err != nil {
		s.t.Fatal(err)
	}
	return c.Append(nil)
}

// split reads lines "key shard replica...".
func (s *script) split(h Header, in string) []byte {
	var at []shard.Key
	var ids []shard.SplitID
	for l := range strings.Lines(in) {
		var id shard.SplitID
		for i, a := range strings.Fields(l) {
			n, _ := strconv.ParseUint(a, 10, 64)
			switch i {
			case 0:
				at = append(at, shard.Key(a))
			case 1:
				id.Shard = shard.ID(n)
			default:
				id.Replicas = append(id.Replicas, shard.ReplicaID(n))
			}
		}
		ids = append(ids, id)
	}
	return EncodeSplit(h, at, ids)
}

func parseChange(t *testing.T, in string) shard.Change {
	var c shard.Change
	f := strings.Fields(in)
	var ids []shard.ReplicaID
	for _, a := range f[1:] {
		n, err := strconv.ParseUint(strings.TrimLeft(a, "+-"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch ids = append(ids, shard.ReplicaID(n)); a[0] {
		case '+':
			c.Promote = append(c.Promote, shard.ReplicaID(n))
		case '-':
			c.Demote = append(c.Demote, shard.ReplicaID(n))
		}
	}
	switch f[0] {
	case "add-learner":
		c.Kind, c.Replica = shard.AddLearner, shard.Replica{ID: ids[0], Store: shard.StoreID(ids[1])}
	case "remove-learner":
		c.Kind, c.Replica.ID = shard.RemoveLearner, ids[0]
	case "enter-joint":
		c.Kind = shard.EnterJoint
	case "leave-joint":
		c.Kind = shard.LeaveJoint
	}
	return c
}

func (s *script) apply(e Entry) string {
	before, desc := s.m.Applied, s.m.Desc
	data := s.w.String()
	res, err := s.m.Apply(e, s.w)
	if err != nil {
		s.m.Applied = before // so that the script can go on; a store would stop
		return "broken: " + err.Error() + "\n"
	}
	if !res.Wrote && s.w.String() != data {
		s.t.Errorf("entry %d wrote and did not say so", e.Index)
	}
	var b strings.Builder
	for _, r := range res.Replies {
		fmt.Fprintf(&b, "reply %s: %s\n", r.Op, s.showReply(r))
	}
	b.WriteString(showEvent(res.Event))
	fmt.Fprintf(&b, "applied %s", showApplied(s.m.Applied))
	if res.Wrote {
		b.WriteString(" wrote")
	}
	b.WriteByte('\n')
	if s.m.Desc != desc {
		fmt.Fprintln(&b, s.m.Desc)
	}
	return b.String()
}

func (s *script) showReply(r Reply) string {
	t := s.t
	if r.Err != nil {
		if r.Body != nil {
			t.Errorf("%s: both an error and a body", r.Op)
		}
		return r.Err.Error()
	}
	if r.Op == (call.OpID{}) {
		return "done"
	}
	if s.txns[r.Op.Seq] {
		return showTxnResult(t, r.Body)
	}
	out, err := raw.DecodeResult(r.Body)
	switch {
	case err != nil:
		t.Error(err)
	case out.Failed >= 0:
		return fmt.Sprintf("condition %d failed: exists=%t current=%q", out.Failed, out.Exists, out.Current)
	}
	return "executed"
}

func showEvent(ev Event) string {
	switch ev := ev.(type) {
	case *Split:
		var b strings.Builder
		fmt.Fprintf(&b, "event split\n  left  %s\n", ev.Left)
		for i, d := range ev.Right {
			fmt.Fprintf(&b, "  right %s\n        born with %s\n", d, showApplied(ev.Parent.Child(10, 5, ev.Locks[i])))
		}
		return b.String()
	case *Changed:
		return fmt.Sprintf("event changed by %s\n", ev.Change)
	case *Compared:
		return fmt.Sprintf("event compared at %d of term %d, for %s on %s\n", ev.Index, ev.Term, ev.By, ev.Store)
	case *Truncated:
		return fmt.Sprintf("event truncated to %d of term %d\n", ev.Index, ev.Term)
	}
	return ""
}

func showApplied(a shard.Applied) string {
	s := fmt.Sprintf("%d/%d truncated %d/%d time %d expiring %d", a.Index, a.Term, a.TruncIndex, a.TruncTerm, a.Time, a.Expiring)
	if a.Locks+a.SafePoint+a.Collected != 0 {
		s += fmt.Sprintf(" locks %d safe point %d collected %d", a.Locks, a.SafePoint, a.Collected)
	}
	return s
}
