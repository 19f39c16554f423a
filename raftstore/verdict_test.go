package raftstore

import (
	"testing"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
)

// TestJudge: every mix of what up to five replicas can say. Roles are v(oter), l(earner), i(ncoming), d(emoting); words are
// letters, each a sum; "-" is silence, "0" that there is no sum, "<" a sum at an earlier index.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		roles, words string
		want         Verdict
		bad          string // positions that differ
	}{
		{"vvv", "aaa", Equal, ""}, {"v", "a", Equal, ""}, {"vvvl", "aaaa", Equal, ""},
		{"vvv", "aa-", Unfinished, ""}, {"vvv", "aa0", Unfinished, ""}, {"vvv", "aa<", Unfinished, ""}, {"vvv", "---", Unfinished, ""},
		{"vvvl", "aaa-", Unfinished, ""},
		{"vvv", "aab", Divergent, "2"}, {"vvv", "baa", Divergent, "0"}, {"vvvvv", "abaca", Divergent, "13"},
		{"vvvl", "aaab", Divergent, "3"}, {"vvvvv", "aaab-", Divergent, "3"}, {"vl", "ab", Divergent, "1"},
		{"vvv", "abc", Undecided, ""}, {"vv", "ab", Undecided, ""}, {"vvvv", "aabb", Undecided, ""},
		{"vvv", "ab-", Undecided, ""}, {"vvv", "ab0", Undecided, ""}, {"vvvvv", "aab--", Undecided, ""},
		{"vll", "-aa", Unfinished, ""}, {"vvll", "a-bb", Undecided, ""}, {"vll", "abb", Divergent, "12"}, // learners have no say
		{"vvid", "aaab", Divergent, "3"}, {"vvid", "aabb", Undecided, ""},
	} {
		g := &gathering{index: 7, desc: &shard.Descriptor{ID: 2}, heard: make(map[shard.ReplicaID]heardSum)}
		for i, r := range c.roles {
			id := shard.ReplicaID(21 + i)
			role := map[rune]shard.Role{'v': shard.Voter, 'l': shard.Learner, 'i': shard.IncomingVoter, 'd': shard.DemotingVoter}[r]
			g.desc.Replicas = append(g.desc.Replicas, shard.Replica{ID: id, Store: shard.StoreID(i + 1), Role: role})
			switch w := c.words[i]; w {
			case '-':
			case '0':
				g.heard[id] = heardSum{index: 7, none: true}
			case '<':
				g.heard[id] = heardSum{index: 6, sum: engine.Sum{Hash: 'a'}}
			default:
				g.heard[id] = heardSum{index: 7, sum: engine.Sum{Hash: uint64(w)}}
			}
		}
		got := judge(g)
		bad := ""
		for i := range got.Sums {
			if got.Verdict == Divergent && got.differs(&got.Sums[i]) {
				bad += string(rune('0' + i))
			}
		}
		if got.Verdict != c.want || bad != c.bad {
			t.Errorf("%s say %s: %s, differing %q; want %s, %q", c.roles, c.words, got, bad, c.want, c.bad)
		}
	}
}

func FuzzComparison(f *testing.F) {
	f.Add((&comparison{kind: comparisonVerdict, shard: 2, from: 21, to: 22, index: 10, sum: engine.Sum{Hash: 1 << 63, Pairs: 3, Bytes: 4},
		majority: engine.Sum{Hash: 9}}).append(nil))
	f.Add([]byte{comparisonVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeComparison(b)
		if err != nil {
			return
		}
		again, err := decodeComparison(c.append(nil))
		if err != nil || again != c {
			t.Fatalf("%+v became %+v (%v)", c, again, err)
		}
	})
}
