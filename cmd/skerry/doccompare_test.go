package main

import (
	"maps"
	"regexp"
	"strings"
	"testing"
)

// differs is all that two runs of a command may print otherwise. Addresses need nothing: the shell gives them back the ports
// of the document. The order matters: what comes first sees the line as it was printed, with single spaces.
var differs = []struct {
	what *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\s+`), " "},
	{regexp.MustCompile(`\b[0-9a-f]{13,16}\b`), "CLUSTER"},
	{regexp.MustCompile(`\b\d{18}\b`), "TIMESTAMP"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "DATE"},
	{regexp.MustCompile(`\d+ [0-9a-f]{7,8} db/`), "SIZE CHECKSUM db/"},
	{regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+(\.\d+)?s\b|\b\d+(\.\d+)?(ns|µs|ms)\b`), "TIME"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?([KMGT]i)?B\b`), "SIZE"},
	{regexp.MustCompile(`\bo[1-9]\d*\b`), "oN"},
	{regexp.MustCompile(`\(s(\d+) on st\d+, \d+ attempt`), "(s$1 on stN, N attempt"},
	// Who leads is a matter of elections: of ctl status, store list, store plans, shard list and shard get.
	{regexp.MustCompile(`^(placement \d of \d members answer, leader) \S+$`), "$1 ADDR"},
	{regexp.MustCompile(`, led by st\d+$`), ", led by stN"},
	{regexp.MustCompile(`\b(store=st\d+ left=)\d+$`), "${1}N"},
	{regexp.MustCompile(`; before: .*; nothing happened`), "; before: REASON; nothing happened"},
	{regexp.MustCompile(`^(st\d+ \S+ [a-z, ]+ TIME \d+) \d+ SIZE`), "$1 N SIZE"},
	{regexp.MustCompile(`^(st\d+ (?:\d+ -> )?\d+) (?:\d+ -> )?\d+ (SIZE.*?) [\d.]+%$`), "$1 N $2 N%"},
	{regexp.MustCompile(`^(new (?:\d+ -> )?\d+) (?:\d+ -> )?\d+ (SIZE.*?) [\d.]+%$`), "$1 N $2 N%"},
	{regexp.MustCompile(`^(s\d+ \S+ \S+ \d+\.\d+) (?:SIZE|-) (\d+ \d+) st\d+ (st[\d,st]+)$`), "$1 SIZE $2 stN $3"}, // no size: it sleeps
	{regexp.MustCompile(`^size (?:SIZE|-)$`), "size SIZE"},
	{regexp.MustCompile(`^leader st\d+, term \d+$`), "leader stN, term N"},
	{regexp.MustCompile(`^(st\d+ r\d+ \w+) (?:leads|follows)(?:, asleep)?(?: \d+){5} SIZE$`), "$1 IS N N N N N SIZE"},
	{regexp.MustCompile(`^(st\d+ s\d+ r\d+ \[.*\) \d+\.\d+)(?: \d+){5}$`), "$1 N N N N N"},
	{regexp.MustCompile(`^\d+ \d+ \d+ (empty|data) `), "N N N $1 "},
	// What a benchmark measures.
	{regexp.MustCompile(`^[\d,]+ operations in [\d.]+ s: [\d,]+ ops/s$`), "N operations in TIME: N ops/s"},
	{regexp.MustCompile(`^(get|put|all) [\d,]+ [\d,]+ TIME`), "$1 N N TIME"},
	// Numbers of new members, and how far a shard's log is: both grow with elections.
	{regexp.MustCompile(`\b(member[= ])[1-9]\d{3}\b`), "${1}MEMBER"},
	{regexp.MustCompile(`^[1-9]\d{3}( 127\.)`), "MEMBER$1"},
	{regexp.MustCompile(`\bindex=\d+`), "index=N"},
	{regexp.MustCompile(`\bfrom=r?\w+`), "from=REPLICA"},
	{regexp.MustCompile(`\b\d+ log entries, \d+ keys; it was`), "N log entries, N keys; it was"},
}

var leaderCount = regexp.MustCompile(`\bst\d+ \d+`)

// same is a line without what differs between two runs.
func same(l string) string {
	l = strings.TrimSpace(l)
	for _, d := range differs {
		l = d.what.ReplaceAllString(l, d.to)
	}
	if strings.HasPrefix(l, "leaders ") {
		l = leaderCount.ReplaceAllString(l, "stN N")
	}
	return l
}

// names is which id of a run stands for an id of the document: those of shards, stores, replicas. In a section each has one
// meaning, in what is printed and in the commands. Ids are drawn by several at a time, in no certain order.
type names map[string]string

var idForm = regexp.MustCompile(`\b(s|st|r)[1-9]\d{3,}\b`)

// same compares two lines, and binds the ids that were not seen before.
func (n names) same(want, got string) bool {
	want, got = same(want), same(got)
	w, g := idForm.FindAllString(want, -1), idForm.FindAllString(got, -1)
	if len(w) != len(g) || idForm.ReplaceAllString(want, "$1") != idForm.ReplaceAllString(got, "$1") {
		return false
	}
	for i, id := range w {
		is, bound := n[id]
		if !bound {
			for _, other := range n {
				if other == g[i] {
					return false
				}
			}
			n[id], is = g[i], g[i]
		}
		if is != g[i] {
			return false
		}
	}
	return true
}

// alike compares lines but for what differs between two runs. What it binds stays if they are alike.
func (n names) alike(want, got []string) bool {
	try := maps.Clone(n)
	for i, l := range want {
		if strings.TrimSpace(l) == "..." {
			rest := len(got) == 0 || i < len(want)-1
			for skip := 0; rest && skip <= len(got); skip++ {
				if try.alike(want[i+1:], got[skip:]) {
					maps.Copy(n, try)
					return true
				}
			}
			if !rest {
				maps.Copy(n, try)
			}
			return !rest
		}
		if len(got) == 0 || !try.same(l, got[0]) {
			return false
		}
		got = got[1:]
	}
	if len(got) == 0 {
		maps.Copy(n, try)
	}
	return len(got) == 0
}

// ours puts the ids of the run into a command.
func (n names) ours(cmd string) string {
	return idForm.ReplaceAllStringFunc(cmd, func(id string) string {
		if is, ok := n[id]; ok {
			return is
		}
		return id
	})
}

func alike(want, got []string) bool { return names{}.alike(want, got) }

// TestAlike: what a document must not get wrong is seen, and what differs from run to run is not.
func TestAlike(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		alike     bool
	}{
		{"stores     3 of 3 up", "stores     2 of 3 up", false},
		{"shards     3, 3 replicas each", "shards     4, 3 replicas each", false},
		{"leaders    st1000 0, st1001 1", "leaders    st1000 1, st1001 0", true},
		{"leaders    st1000 0, st1001 1", "leaders    st1000 1", false},
		{"placement  3 of 3 members answer, leader 127.0.0.1:4400", "placement  3 of 3 members answer, leader 127.0.0.1:4402", true},
		{"placement  3 of 3 members answer, leader 127.0.0.1:4400", "placement  2 of 3 members answer, leader 127.0.0.1:4400", false},
		{"down-after  2h  cluster  placement  30m", "down-after  3h  cluster  placement  30m", false},
		{"st1000  127.0.0.1:4400  up  1ms  3  1  2.86 KiB  1 GiB  2 GiB  devel  -", "st1000  127.0.0.1:4400  up  3.2s  3  0  3.86 KiB  1.1 GiB  2 GiB  devel  -", true},
		{"st1000  127.0.0.1:4400  up  1ms  3  1  2.86 KiB  1 GiB  2 GiB  devel  -", "st1000  127.0.0.1:4400  up  1ms  4  1  2.86 KiB  1 GiB  2 GiB  devel  -", false},
		{"st1000  127.0.0.1:4400  up  1ms  3  1  2.86 KiB  1 GiB  2 GiB  devel  -", "st1000  127.0.0.1:4400  draining  1ms  3  1  2.86 KiB  1 GiB  2 GiB  devel  -", false},
		{"st1000  127.0.0.1:4400  up  1ms  3  1  2.86 KiB  1 GiB  2 GiB  devel  -", "st1000  127.0.0.1:4401  up  1ms  3  1  2.86 KiB  1 GiB  2 GiB  devel  -", false},
		{"s1003  -inf  g  1.1  36 B  0  0  st1001  st1000,st1001", "s1003  -inf  g  1.1  39 B  0  0  st1000  st1000,st1001", true},
		{"s1003  -inf  g  1.1  36 B  0  0  st1001  st1000,st1001", "s1003  -inf  g  1.1  36 B  0  0  st1001  st1000,st1001,st1002", false},
		{"st1000  st1001\ns1003  -inf  g  1.1  36 B  0  0  st1001  st1000,st1001", "st1000  st1001\ns1003  -inf  g  1.1  36 B  0  0  st1001  st1000,st1002", false},
		{"s1003  -inf  g  1.1  36 B  0  0  st1001  st1000,st1001", "s1003  -inf  h  1.1  36 B  0  0  st1001  st1000,st1001", false},
		{"59m59.969s", "59m58.5s", true},
		{"59m59.969s", "1h", false},
		{"key not found (s1003 on st1001, 1 attempt(s) in 1ms) [SK2001]", "key not found (s1003 on st1002, 2 attempt(s) in 3ms) [SK2001]", true},
		{"key not found (s1003 on st1001, 1 attempt(s) in 1ms) [SK2001]", "key not found (s1003 on st1001, 1 attempt(s) in 1ms) [SK2002]", false},
		{"deadline exceeded (s1011 on st1001, 18 attempt(s) in 2.017s); before: st1001: context deadline exceeded; nothing happened; try again later", "deadline exceeded (s1011 on st1001, 16 attempt(s) in 2.001s); before: st1001: call st1001 at 127.0.0.1:4401: unavailable (connection error: desc = \"transport: Error while dialing\"); nothing happened; try again later", true},
		{"degraded", "healthy", false},
		{"1053    127.0.0.1:4404   voter  yes    -", "1057    127.0.0.1:4404   voter  yes    -", true},
		{"1053    127.0.0.1:4404   voter  yes    -", "1053    127.0.0.1:4404   learner  yes    -", false},
		{"2       127.0.0.1:4401   voter  yes    -", "3       127.0.0.1:4401   voter  yes    -", false},
		{"exported 2 keys, 66 B in 690.22µs (93.4 KiB/s)", "exported 3 keys, 66 B in 690.22µs (93.4 KiB/s)", false},
		{"skerry_memory_share_bytes{kind=\"reads\"} 1.6777216e+07", "skerry_memory_share_bytes{kind=\"reads\"} 3.3554432e+07", false},
		{"user/42\tada", "user/43\tada", false},
	} {
		if got := alike(strings.Split(c.want, "\n"), strings.Split(c.got, "\n")); got != c.alike {
			t.Errorf("%q and %q: alike is %t", c.want, c.got, got)
		}
	}
	if !alike([]string{"a", "...", "c"}, []string{"a", "b", "b", "c"}) || alike([]string{"a", "...", "c"}, []string{"a", "b"}) || alike([]string{"a"}, []string{"a", "b"}) {
		t.Error("lines that are left out")
	}
	n := names{}
	if !n.alike([]string{"st1000 and s1003", "...", "st1001"}, []string{"st1001 and s1004", "s1005", "st1000"}) || n.ours("move s1003 from st1000 to st1002") != "move s1004 from st1001 to st1002" {
		t.Errorf("ids that are drawn in another order: %v", n)
	}
	for _, got := range []string{"st1000", "st1002", "s1004"} {
		if n.alike([]string{"st1000"}, []string{got}) || n.alike([]string{"st1007"}, []string{"st1000"}) {
			t.Errorf("st1000 is %s, and not st1001", got)
		}
	}
}
