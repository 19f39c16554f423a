package load

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/shard"
)

// TestTranscripts:
//
//	cuts [parts=2] [from=a] [to=z]        where would these requests be parted?
//	    k x60                             a key, and how often it was asked for
//	    a-c x10                           a range
//	    each a z x3                       each letter from a to z
//	look work=N [for=S] [every=S] [policy=N] [part]   so much work for so many looks, with the requests of the last cuts;
//	                                      part: first the shard is cut, and this is one part
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var samples []Sample
		m := new(Meter)
		now := int64(0)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "cuts":
				parts, from, to := 2, "", ""
				d.MaybeScanArgs(t, "parts", &parts)
				d.MaybeScanArgs(t, "from", &from)
				d.MaybeScanArgs(t, "to", &to)
				samples = parse(t, d.Input)
				return show(Cuts(samples, shard.Range{Start: shard.Key(from), End: shard.Key(to)}, parts), samples)
			case "look":
				var work, looks, policy = 0, 1, 1000
				d.ScanArgs(t, "work", &work)
				d.MaybeScanArgs(t, "for", &looks)
				d.MaybeScanArgs(t, "policy", &policy)
				if d.HasArg("part") {
					m = m.Part(false)
				}
				var b strings.Builder
				last := ""
				for range looks {
					now += int64(time.Second)
					m.Turn(Count{Reads: uint64(work)}, 1)
					v := m.Judge.Look(Policy{Work: float64(policy)}, m, samples, shard.Range{}, now)
					what := "nothing"
					switch {
					case v.Sample:
						what = "samples"
					case v.Rests > 0:
						what = fmt.Sprintf("rests for %s: %s", v.Rests, v.Why)
					case len(v.Cut) > 0:
						what = fmt.Sprintf("cut at %v", v.Cut)
					}
					if what != last {
						fmt.Fprintf(&b, "%ds: %s\n", now/int64(time.Second), what)
					}
					last = what
				}
				return b.String()
			}
			t.Fatalf("no command %q", d.Cmd)
			return ""
		})
	})
}

func parse(t *testing.T, text string) (out []Sample) {
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		n, err := strconv.Atoi(strings.TrimPrefix(f[len(f)-1], "x"))
		if err != nil {
			t.Fatal(err)
		}
		add := func(s Sample) {
			s.Weight = 1
			for range n {
				out = append(out, s)
			}
		}
		if f[0] == "each" {
			for c := f[1][0]; c <= f[2][0]; c++ {
				add(Sample{Start: shard.Key{c}})
			}
		} else if start, end, ok := strings.Cut(f[0], "-"); ok {
			add(Sample{Start: shard.Key(start), End: shard.Key(append([]byte{}, end...))})
		} else {
			add(Sample{Start: shard.Key(f[0])})
		}
	}
	return out
}

// show lists the cuts with how the requests fall.
func show(cuts []shard.Key, samples []Sample) string {
	if len(cuts) == 0 {
		return "no key helps"
	}
	var b strings.Builder
	for _, k := range cuts {
		below, above := 0, 0
		for i := range samples {
			below += one(samples[i].before(k))
			above += one(samples[i].after(k))
		}
		fmt.Fprintf(&b, "%s: %d below, %d above, %d cross it\n", k, below, above, len(samples)-below-above)
	}
	return b.String()
}
