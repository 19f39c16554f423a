package shard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestAlgebra shows what validation, epochs, split, merge and membership make of descriptors.
func TestAlgebra(t *testing.T) {
	datadriven.Walk(t, "testdata/algebra", func(t *testing.T, path string) {
		var cur *Descriptor // what change steps go on from
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			in := lines(td.Input)
			switch td.Cmd {
			case "validate":
				return eachLine(in, func(l string) string { return okOr(parse(t, l).Validate()) })
			case "epoch":
				d := parse(t, in[0])
				return eachLine(in[1:], func(l string) string { return checkEpoch(d, l) })
			case "key":
				d := parse(t, in[0])
				return eachLine(in[1:], func(l string) string { return okOr(d.CheckKey(Key(l))) })
			case "split":
				at, ids := parseSplit(t, in[1:])
				out, err := parse(t, in[0]).Split(at, ids)
				return show(t, err, out...)
			case "merge":
				out, err := Merge(parse(t, in[0]), parse(t, in[1]))
				return show(t, err, out)
			case "start":
				cur = parse(t, in[0])
				return show(t, nil, cur)
			case "change":
				return eachLine(in, func(l string) string {
					next, err := cur.Apply(parseChange(t, l))
					if err == nil {
						cur = next
					}
					return show(t, err, next)
				})
			}
			t.Fatalf("unknown command %s", td.Cmd)
			return ""
		})
	})
}

func eachLine(in []string, f func(string) string) string {
	var b strings.Builder
	for _, l := range in {
		fmt.Fprintf(&b, "%s\n", strings.TrimSpace(f(l)))
	}
	return b.String()
}

func okOr(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// show prints the outcome; every descriptor that the algebra makes must be valid.
func show(t *testing.T, err error, ds ...*Descriptor) string {
	if err != nil {
		if _, ok := err.(*InvalidError); !ok {
			t.Errorf("%T is not a rejected error", err)
		}
		return err.Error()
	}
	var b strings.Builder
	for _, d := range ds {
		if err := d.Validate(); err != nil {
			t.Error(err)
		}
		fmt.Fprintln(&b, d)
	}
	return b.String()
}

// checkEpoch reads "1.2" or "1.2 conf".
func checkEpoch(d *Descriptor, l string) string {
	var e Epoch
	_, _ = fmt.Sscanf(l, "%d.%d", &e.ConfVer, &e.Version)
	return okOr(d.CheckEpoch(e, strings.HasSuffix(l, "conf")))
}

// parseSplit reads lines "key s11 r4 r5 r6".
func parseSplit(t *testing.T, in []string) (at []Key, ids []SplitID) {
	for _, l := range in {
		f := strings.Fields(l)
		id := SplitID{Shard: ID(num(t, f[1], "s"))}
		for _, r := range f[2:] {
			id.Replicas = append(id.Replicas, ReplicaID(num(t, r, "r")))
		}
		at, ids = append(at, Key(f[0])), append(ids, id)
	}
	return at, ids
}

// parseChange reads what Change.String writes.
func parseChange(t *testing.T, l string) Change {
	f := strings.Fields(l)
	for k := AddLearner; k <= LeaveJoint+1; k++ {
		if f[0] != k.String() {
			continue
		}
		c := Change{Kind: k}
		for _, a := range f[1:] {
			switch a[0] {
			case '+':
				c.Promote = append(c.Promote, ReplicaID(num(t, a[1:], "r")))
			case '-':
				c.Demote = append(c.Demote, ReplicaID(num(t, a[1:], "r")))
			default:
				c.Replica = parseReplica(t, a)
				c.Replica.Role = 0
			}
		}
		if c.String() != l {
			t.Errorf("change %q prints as %q", l, c)
		}
		back, err := DecodeChange(c.Append(nil))
		if err != nil || back.String() != l {
			t.Errorf("change %q decodes as %q, %v", l, back, err)
		}
		return c
	}
	t.Fatalf("unknown change %q", l)
	return Change{}
}
