package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// TestTranscripts shows, on small clusters, what is proposed and why. Stores are written by number, shards likewise.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		var m *model
		var s *Scheduler
		now := time.Duration(0)
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			if m == nil || td.Cmd == "cluster" {
				m = &model{at: make(map[shard.StoreID]int), byID: make(map[shard.ID]int), replica: 5000}
				m.rules.Replicas = 3
				s = New(1, Limits{})
			}
			switch td.Cmd {
			case "cluster":
				for _, l := range strings.Split(td.Input, "\n") {
					m.stores = append(m.stores, parseStore(t, l))
					m.at[m.stores[len(m.stores)-1].ID] = len(m.stores) - 1
				}
				return "ok"
			case "store": // replaces one
				n := parseStore(t, td.Input)
				m.stores[m.at[n.ID]] = n
				m.recount()
				return "ok"
			case "rules":
				r, err := DecodeRules([]byte(td.Input))
				if err != nil {
					return err.Error()
				}
				m.rules = r
				return "ok"
			case "shards":
				m.shards, m.byID = nil, make(map[shard.ID]int)
				for _, l := range strings.Split(td.Input, "\n") {
					m.addShards(t, l)
				}
				m.endShards()
			case "pending":
				sh := &m.shards[m.byID[shard.ID(argInt(td, "shard", 0))]]
				sh.Pending = &operator.Goal{Voters: parseIDs(t, td.Input)}
			case "wait":
				now += time.Duration(argInt(td, "minutes", 1)) * time.Minute
				return "ok"
			case "propose":
				return m.propose(s, now, argInt(td, "max", 100), td.HasArg("dry"))
			case "settle":
				return m.settleAll(t, s, now)
			case "explain":
				return Explain(m.view(), shard.ID(argInt(td, "shard", 0)), Limits{}).String()
			case "explain-store":
				return ExplainStore(m.view(), shard.StoreID(argInt(td, "store", 0)), Limits{}).String()
			case "can-drain":
				return okOr(CanDrain(m.view(), shard.StoreID(argInt(td, "store", 0)), Limits{}))
			case "plan":
				return m.plan(t, td)
			case "split-points":
				return fmt.Sprint(SplitPoints(m.view()))
			case "stores":
			default:
				t.Fatalf("unknown command %s", td.Cmd)
			}
			return m.describe()
		})
	})
}

func okOr(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func argInt(td *datadriven.TestData, key string, or int) int {
	for _, a := range td.CmdArgs {
		if a.Key == key {
			n, _ := strconv.Atoi(a.Vals[0])
			return n
		}
	}
	return or
}

func parseIDs(t *testing.T, s string) (ids []shard.StoreID) {
	for _, f := range strings.Fields(s) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, shard.StoreID(n))
	}
	return ids
}

// parseSize reads 96M.
func parseSize(s string) uint64 {
	shift := strings.IndexByte("KMGT", s[len(s)-1])
	if shift < 0 {
		n, _ := strconv.ParseUint(s, 10, 64)
		return n
	}
	n, _ := strconv.ParseUint(s[:len(s)-1], 10, 64)
	return n << (10 * (shift + 1))
}

// parseStore reads "1 zone=a cap=1T free=500G draining slow-disk receiving=2".
func parseStore(t *testing.T, l string) Store {
	f := strings.Fields(l)
	s := Store{ID: parseIDs(t, f[0])[0]}
	for _, a := range f[1:] {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "cap":
			s.Capacity = parseSize(value)
			s.Free = s.Capacity
		case "free":
			s.Free = parseSize(value)
		case "slow-disk":
			s.SlowDisk = true
		case "slow-net":
			s.SlowNet = true
		case "leaving":
			s.Leaving = true
		case "evicting":
			s.Evicting = true
		case "receiving":
			s.Receiving, _ = strconv.Atoi(value)
		case "sending":
			s.Sending, _ = strconv.Atoi(value)
		default:
			if i := slices.Index(stateNames[:], key); i >= 0 {
				s.State = State(i)
			} else {
				s.Labels = append(s.Labels, Label{Key: key, Value: value})
			}
		}
	}
	return s
}

// addShards reads "10 of 96M on 1 2 3:learner work=900/100", each led by the first; the last is the work of the leader, and
// of another replica.
func (m *model) addShards(t *testing.T, l string) {
	f := strings.Fields(l)
	n, _ := strconv.Atoi(f[0])
	for range n {
		i := len(m.shards)
		sh := Shard{Desc: &shard.Descriptor{ID: shard.ID(101 + i), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}, Bytes: parseSize(f[2])}
		sh.Desc.Range = shard.Range{Start: shard.Key(fmt.Sprintf("r%03d", i)), End: shard.Key(fmt.Sprintf("r%03d", i+1))}
		for _, a := range f[4:] {
			if text, ok := strings.CutPrefix(a, "work="); ok {
				lead, follow, _ := strings.Cut(text, "/")
				w, _ := strconv.ParseFloat(lead, 64)
				f, _ := strconv.ParseFloat(follow, 64)
				sh.Work, sh.Follow = Busy(w, f)
				continue
			}
			id, role, _ := strings.Cut(a, ":")
			r := shard.Replica{Store: parseIDs(t, id)[0], Role: shard.Voter}
			for _, known := range []shard.Role{shard.Learner, shard.IncomingVoter, shard.DemotingVoter} {
				if role == known.String() {
					r.Role = known
				}
			}
			m.replica++
			r.ID = m.replica
			sh.Desc.Replicas = append(sh.Desc.Replicas, r)
		}
		sh.Leader = sh.Desc.Replicas[0].Store
		m.byID[sh.Desc.ID] = i
		m.shards = append(m.shards, sh)
	}
}

func (m *model) endShards() {
	m.shards[0].Desc.Range.Start = nil
	m.shards[len(m.shards)-1].Desc.Range.End = nil
	m.recount()
}

func (m *model) describe() string {
	var b strings.Builder
	for i := range m.stores {
		s := &m.stores[i]
		fmt.Fprintf(&b, "%s %s: %d replicas, %d leaders, %s", s.ID, s.State, s.Shards, s.Leaders, size(s.Bytes))
		if s.Work > 0 {
			fmt.Fprintf(&b, ", work %.0f/s", s.Work)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (m *model) propose(s *Scheduler, now time.Duration, most int, dry bool) string {
	v := m.view()
	v.Now = now
	ps := s.Propose(v, most)
	var b strings.Builder
	for _, p := range ps {
		fmt.Fprintln(&b, p)
		if !dry {
			m.apply(p)
			s.Touch(p.Shard)
		}
	}
	if len(ps) == 0 {
		return "nothing"
	}
	return b.String()
}

// settleAll applies what is proposed until nothing is.
func (m *model) settleAll(t *testing.T, s *Scheduler, now time.Duration) string {
	var o Outlook
	for n := 0; ; n++ {
		v := m.view()
		v.Now = now
		ps := s.Propose(v, 8)
		for _, p := range ps {
			o.note(p)
			m.apply(p)
		}
		if len(ps) == 0 {
			break
		}
		if n > 10_000 {
			t.Fatal("it does not come to rest")
		}
	}
	return strings.Join(o.Lines(), "\n") + "\n" + m.describe()
}

func (m *model) plan(t *testing.T, td *datadriven.TestData) string {
	var c Change
	for _, a := range td.CmdArgs {
		if a.Key == "without" {
			c.WithoutStore = parseIDs(t, strings.Join(a.Vals, " "))
		}
	}
	if td.Input != "" {
		for _, l := range strings.Split(td.Input, "\n") {
			c.AddStores = append(c.AddStores, parseStore(t, l))
		}
	}
	before := m.describe()
	o, err := Plan(m.view(), c, Limits{}, 1)
	if err != nil {
		return err.Error()
	}
	if m.describe() != before {
		t.Error("a plan changed something")
	}
	return strings.Join(o.Lines(), "\n")
}
