package setting

import (
	"testing"
	"time"
)

// TestTable: each key once, its default is a value of it, and what no setting takes is refused.
func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range Table() {
		if seen[s.Key] {
			t.Errorf("%s stands there twice", s.Key)
		}
		seen[s.Key] = true
		if err := s.Check(s.Default); err != nil {
			t.Errorf("default of %s: %v", s.Key, err)
		}
		for _, bad := range []string{"", "x", "-1", "-1s", "9999999h", "99999999999999999999", "64MiBs", "1e400"} {
			if s.Check(bad) == nil {
				t.Errorf("%s takes %q", s.Key, bad)
			}
		}
	}
}

// TestValues: what was made counts, what this program cannot read does not, and the last word is kept in order.
func TestValues(t *testing.T) {
	v := Values{}.With([]Made{{SplitSize, "64MiB"}, {DownAfter, "1h"}, {MaxSending, "8"}, {"of-a-newer-program", "1"}}, nil)
	v = v.With([]Made{{MaxSending, "2"}}, []string{DownAfter})
	if v.Size(SplitSize, 0) != 64<<20 || v.Number(MaxSending, 0) != 2 || v.Duration(DownAfter, time.Minute) != time.Minute || v.Text(LogLevel, "warn") != "warn" {
		t.Errorf("%v", v)
	}
	if bad := (Values{{MaxSending, "many"}}); bad.Number(MaxSending, 3) != 3 {
		t.Error("a value that cannot be read counts")
	}
	for i := range v[1:] {
		if v[i].Key >= v[i+1].Key {
			t.Errorf("%v is not in order", v)
		}
	}
	for text, want := range map[string]int64{"0": 0, "7": 7, "7B": 7, "3KiB": 3 << 10, "2 MiB": 2 << 20, "1GiB": 1 << 30, "1TiB": 1 << 40} {
		if n, err := parseSize(text); err != nil || n != want {
			t.Errorf("%q is %d: %v", text, n, err)
		}
	}
}
