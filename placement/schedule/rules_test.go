package schedule

import (
	"reflect"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/shard"
)

// TestCheck: each thing that can be wrong with rules is said.
func TestCheck(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{`{"replicas": 3}`, ""},
		{`{"replicas": 0}`, "replicas is 0, it must be from 1 to 15"},
		{`{"replicas": 16}`, "replicas is 16"},
		{`{"replicas": 3, "replica": 5}`, `unknown field "replica"`},
		{`{"replicas": 3} {}`, "something follows the rules"},
		{`{"replicas": 3, "isolation": ["zone", "zone"]}`, `isolation label "zone" is empty or named twice`},
		{`{"replicas": 3, "isolation": ["a","b","c","d","e","f","g","h","i"]}`, "9 isolation labels, at most 8 are allowed"},
		{`{"replicas": 3, "ranges": [{"start": "YQ=="}]}`, "it has no name"},
		{`{"replicas": 3, "ranges": [{"name": "x", "start": "Yg==", "end": "YQ=="}]}`, `["b", "a") holds no key`},
		{`{"replicas": 3, "ranges": [{"name": "x", "start": "YQ==", "end": "Yw=="}, {"name": "y", "start": "Yg=="}]}`, `["b", inf) begins before "x" ends`},
		{`{"replicas": 3, "ranges": [{"name": "x"}, {"name": "y", "start": "Yg=="}]}`, `begins before "x" ends`},
		{`{"replicas": 3, "ranges": [{"name": "x", "end": "YQ=="}, {"name": "x", "start": "YQ=="}]}`, "an earlier one has the same name"},
		{`{"replicas": 3, "ranges": [{"name": "x", "end": "YQ=="}, {"name": "y", "start": "YQ=="}]}`, ""},
		{`{"replicas": 3, "ranges": [{"name": "x", "replicas": -1}]}`, "replicas is -1"},
		{`{"replicas": 3, "ranges": [{"name": "x", "require": [{"values": ["a"]}]}]}`, "a constraint has no key"},
		{`{"replicas": 3, "ranges": [{"name": "x", "leaders": [{"key": "zone"}]}]}`, `constraint on "zone" names no value`},
		{`{"replicas": 3, "ranges": [{"name": "x", "require": [{"key": "zone", "not": true}]}]}`, `constraint on "zone" excludes no value`},
	} {
		_, err := DecodeRules([]byte(c.rules))
		if got := okOr(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.rules, got, c.want)
		}
	}
}

// TestFor: a range is under the rule that holds all of it, and under none if a bound lies inside.
func TestFor(t *testing.T) {
	r := Rules{Replicas: 3, Ranges: []RangeRule{{Name: "b-d", Start: []byte("b"), End: []byte("d"), Replicas: 5}, {Name: "d-", Start: []byte("d")}}}
	for _, c := range []struct {
		start, end, name, straddles string
		replicas                    int
	}{
		{"", "b", "", "", 3}, {"a", "c", "", "b", 3}, {"b", "d", "b-d", "", 5}, {"bb", "c", "b-d", "", 5}, {"c", "e", "", "d", 3},
		{"d", "", "d-", "", 3}, {"e", "f", "d-", "", 3}, {"", "", "", "b d", 3}, {"a", "aa", "", "", 3},
	} {
		e := r.For(shard.Range{Start: shard.Key(c.start), End: shard.Key(c.end)})
		var at []string
		for _, k := range e.Straddles {
			at = append(at, string(k))
		}
		if e.Name != c.name || e.Replicas != c.replicas || strings.Join(at, " ") != c.straddles {
			t.Errorf("[%s, %s): %q with %d replicas, to be split at %q", c.start, c.end, e.Name, e.Replicas, at)
		}
	}
}

// FuzzDecodeRules: whatever is taken is sound, and comes back from its encoding as it was.
func FuzzDecodeRules(f *testing.F) {
	f.Add([]byte(`{"replicas": 3, "isolation": ["zone", "host"], "ranges": [{"name": "x", "start": "YQ==", "end": "Yg==", "require": [{"key": "disk", "values": ["ssd"], "not": true}], "leaders": [{"key": "zone", "values": ["a"]}]}]}`))
	f.Add([]byte(`{"replicas": 1}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRules(b)
		if err != nil {
			return
		}
		if err := r.Check(); err != nil {
			t.Fatalf("taken and unsound: %v", err)
		}
		again, err := DecodeRules(EncodeRules(r))
		if err != nil {
			t.Fatalf("its encoding is refused: %v", err)
		}
		if !reflect.DeepEqual(EncodeRules(r), EncodeRules(again)) {
			t.Fatalf("%s comes back as %s", EncodeRules(r), EncodeRules(again))
		}
		for _, at := range []string{"", "a", "b"} {
			e := r.For(shard.Range{Start: shard.Key(at)})
			if e.Replicas < 1 || e.Name != "" && len(e.Straddles) > 0 {
				t.Fatalf("from %q: %+v", at, e)
			}
		}
	})
}
