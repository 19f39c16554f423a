// Package status judges a cluster: healthy, degraded or unavailable, why, and what to do about it. It is a pure function
// of a Picture, so that every judgement is a line in a transcript.
package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

// Verdict is how a cluster is.
type Verdict int

// The verdicts. Their numbers are the exit codes of `skerry ctl status`.
const (
	Healthy     Verdict = 0 // everything is as it should be
	Degraded    Verdict = 1 // all keys can be read and written, but less can be lost than should be
	Unavailable Verdict = 2 // some keys cannot be written, or nobody knows
)

func (v Verdict) String() string { return [...]string{"healthy", "degraded", "unavailable"}[v] }

// MarshalText puts the word into JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Disks this full are reported: below the first a store should get more room, below the second it is about to stop.
const (
	lowDiskShare  = 0.10
	fullDiskShare = 0.03
)

// Member is a member of the placement driver and whether it answers.
type Member struct {
	client.MemberInfo
	Err error // nil: it answers
}

// Picture is what could be learnt of a cluster.
type Picture struct {
	Addr    string // that was asked
	Err     error  // placement did not answer; nothing else is known
	Cluster string
	Members []Member
	Stores  []client.StoreInfo
	// Answers are stores that placement suspects but that answer when they are asked. A fresh placement leader suspects
	// all of them until their first heartbeats.
	Answers map[shard.StoreID]bool
	Shards  []client.ShardInfo // in the order of their keys
	// Paused is how long placement schedules nothing yet, Operators how many operators it has under way.
	Paused    time.Duration
	Operators int
	// Version is the version of the cluster; nil: placement does not know of it.
	Version *client.VersionInfo
}

// Problem is one thing that is not as it should be.
type Problem struct {
	Severity Verdict `json:"severity"` // Healthy: worth knowing, no more
	What     string  `json:"what"`
	Advice   string  `json:"advice"`
}

func (p Problem) String() string { return p.What + ": " + p.Advice }

// Report is the judgement.
type Report struct {
	Verdict  Verdict
	Problems []Problem // the worst first
	// Replicas is how many voters a shard should have: as many as the shard that has most.
	Replicas int
}

// Judge looks at everything.
func Judge(p *Picture) Report {
	j := judge{p: p, stores: make(map[shard.StoreID]*client.StoreInfo)}
	if p.Err != nil && strings.Contains(p.Err.Error(), shard.NoShardsYet) {
		j.add(Unavailable, "the cluster has no shards yet",
			"start the other stores; the first shards are made when as many have registered as --stores says, by default as many as --replicas")
		return j.report()
	}
	if p.Err != nil {
		j.add(Unavailable, fmt.Sprintf("placement does not answer through %s", p.Addr),
			"most members of placement must run, and --addr or SKERRY_ADDR name any node of the cluster; it said: "+p.Err.Error())
		return j.report()
	}
	for i := range p.Stores {
		j.stores[p.Stores[i].ID] = &p.Stores[i]
	}
	j.members()
	j.coverage()
	j.quorums()
	j.storeStates()
	j.schedulers()
	j.disks()
	j.versions()
	return j.report()
}

// judge is one run of Judge.
type judge struct {
	p        *Picture
	stores   map[shard.StoreID]*client.StoreInfo
	problems []Problem
	replicas int
}

func (j *judge) add(v Verdict, what, advice string) {
	j.problems = append(j.problems, Problem{Severity: v, What: what, Advice: advice})
}

func (j *judge) report() Report {
	r := Report{Problems: j.problems, Replicas: j.replicas}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int { return int(b.Severity) - int(a.Severity) })
	for _, p := range r.Problems {
		r.Verdict = max(r.Verdict, p.Severity)
	}
	return r
}

// members checks the placement driver. It answered, so most of its members are up; the question is what it can lose.
func (j *judge) members() {
	for _, m := range j.p.Members {
		if m.Err != nil {
			j.add(Degraded, fmt.Sprintf("placement member %d at %s does not answer", m.Store, m.Addr), "start it again")
		}
	}
}

// coverage checks that every key has a shard.
func (j *judge) coverage() {
	if len(j.p.Shards) == 0 {
		j.add(Unavailable, fmt.Sprintf("there are no shards yet, %s registered", plural(len(j.p.Stores), "store is", "stores are")),
			"wait, or start the stores that the cluster was set up for (--stores of the first placement member)")
		return
	}
	all := shard.ModeRange(shard.ModeRaw)
	at := all.Start
	for i := range j.p.Shards {
		r := j.p.Shards[i].Range.Intersect(all)
		if r.Empty() {
			continue
		}
		if r.Start.Compare(at) > 0 {
			j.gap(at, r.Start)
		}
		at = r.End
	}
	if all.CompareEnd(at) > 0 {
		j.gap(at, all.End)
	}
}

func (j *judge) gap(from, to shard.Key) {
	end := "the end"
	if len(to.User()) > 0 {
		end = fmt.Sprintf("%q", output.Escape(to.User()))
	}
	j.add(Unavailable, fmt.Sprintf("no shard is known for the keys from %q to %s", output.Escape(from.User()), end),
		"wait for the stores to report; if it stays, look at the log of the placement leader")
}

// live reports whether the replicas on a store can be counted on.
func (j *judge) live(id shard.StoreID) bool {
	s := j.stores[id]
	return s != nil && (s.State == "up" || s.State == "draining" || s.State == "suspect" && j.p.Answers[id])
}

func (j *judge) liveStores() (n int) {
	for id := range j.stores {
		if j.live(id) {
			n++
		}
	}
	return n
}

// quorums sorts the shards by what they have lost.
func (j *judge) quorums() {
	for i := range j.p.Shards {
		j.replicas = max(j.replicas, len(voters(&j.p.Shards[i])))
	}
	var lost, leaderless, thin groupOfShards
	for i := range j.p.Shards {
		s := &j.p.Shards[i]
		up := 0
		for _, st := range voters(s) {
			if j.live(st) {
				up++
			}
		}
		switch {
		case !j.quorum(s):
			lost.add(s)
		case s.Leader.ID == 0 || !j.live(s.Leader.Store):
			leaderless.add(s)
		case up < j.replicas:
			thin.add(s)
		}
	}
	if lost.n > 0 {
		j.add(Unavailable, lost.String()+" lost most replicas and cannot be read or written", "start the stores again that are down or suspect")
	}
	if leaderless.n > 0 {
		j.add(Degraded, leaderless.String()+" no known leader", "wait some seconds for the election; if it stays, look at `skerry ctl shard get`")
	}
	if thin.n > 0 {
		advice := "start the missing store again; placement makes new replicas elsewhere when it was away for 30 minutes, or at once after `skerry ctl store remove`"
		if j.liveStores() < j.replicas {
			advice = "start the missing stores again, or add one (`skerry store --join ADDR`) on which placement then makes new ones"
		}
		j.add(Degraded, fmt.Sprintf("%s fewer than %d live replicas", thin.String(), j.replicas), advice)
	}
}

// voters are the stores of a shard's voters.
func voters(s *client.ShardInfo) []shard.StoreID {
	var out []shard.StoreID
	for _, r := range s.Replicas {
		if r.Role == shard.Voter || r.Role == shard.IncomingVoter {
			out = append(out, r.Store)
		}
	}
	return out
}

// quorum reports whether most voters of the shard are live; inside a joint configuration, of both halves.
func (j *judge) quorum(s *client.ShardInfo) bool {
	half := func(other shard.Role) bool {
		n, up := 0, 0
		for _, r := range s.Replicas {
			if r.Role == shard.Voter || r.Role == other {
				n++
				if j.live(r.Store) {
					up++
				}
			}
		}
		return up > n/2
	}
	return half(shard.IncomingVoter) && half(shard.DemotingVoter)
}

// groupOfShards counts shards with one problem and remembers the first.
type groupOfShards struct {
	n     int
	first shard.ID
}

func (g *groupOfShards) add(s *client.ShardInfo) {
	if g.n == 0 {
		g.first = s.ID
	}
	g.n++
}

// String ends with the verb, as in "shard s7 has" and "12 shards (s7, …) have".
func (g *groupOfShards) String() string {
	if g.n == 1 {
		return fmt.Sprintf("shard %s has", g.first)
	}
	return fmt.Sprintf("%d shards (%s, …) have", g.n, g.first)
}

func (j *judge) storeStates() {
	for i := range j.p.Stores {
		s := &j.p.Stores[i]
		name, seen := fmt.Sprintf("store %s at %s", s.ID, s.Addr), ""
		if s.SeenAgo >= time.Second {
			seen = ", not heard for " + output.Duration(s.SeenAgo.Round(time.Second))
		}
		switch {
		case s.State == "suspect" && j.p.Answers[s.ID] && seen == "":
			j.add(Healthy, name+" has not been heard yet by a new placement leader", "wait a second")
		case s.State == "suspect" && j.p.Answers[s.ID]:
			j.add(Degraded, name+" answers but placement suspects it"+seen, "see whether it can reach placement")
		case s.State == "suspect":
			j.add(Degraded, name+" is suspect and does not answer"+seen, "start it again, or see whether it can be reached")
		case s.State == "down":
			j.add(Degraded, name+" is down"+seen,
				fmt.Sprintf("start it again; if its disk is lost, start an empty store and then `skerry ctl store remove %d`", s.ID))
		case s.State == "draining" && s.Shards == 0:
			j.add(Healthy, name+" is drained and empty", fmt.Sprintf("`skerry ctl store remove %s --yes` takes it out of the cluster", s.ID))
		case s.State == "draining":
			j.add(Healthy, fmt.Sprintf("%s is draining, %s left", name, plural(s.Shards, "replica", "replicas")), "wait until none is left")
		}
	}
}

func (j *judge) schedulers() {
	if j.p.Paused > 0 {
		j.add(Healthy, fmt.Sprintf("scheduling is paused for another %s: nothing is balanced, drained or repaired", output.Duration(j.p.Paused.Round(time.Second))),
			"`skerry ctl resume-scheduling` ends that")
	}
	for i := range j.p.Stores {
		if s := &j.p.Stores[i]; s.SlowDisk && s.State != "removed" {
			j.add(Degraded, fmt.Sprintf("the disk of store %s at %s is much slower than the others': it leads nothing", s.ID, s.Addr), "see what is wrong with it")
		}
		if s := &j.p.Stores[i]; s.SlowNet && s.State != "removed" {
			j.add(Degraded, fmt.Sprintf("store %s at %s is much slower to reach than the others: it leads nothing", s.ID, s.Addr), "see what is wrong with its network")
		}
	}
}

func (j *judge) disks() {
	for i := range j.p.Stores {
		s := &j.p.Stores[i]
		if s.Capacity == 0 || s.State != "up" {
			continue
		}
		share := float64(s.Free) / float64(s.Capacity)
		what := fmt.Sprintf("store %s has %s of disk left (%.0f%%)", s.ID, output.Bytes(float64(s.Free)), 100*share)
		switch {
		case share < fullDiskShare:
			j.add(Degraded, what, "make room now: a store whose disk is full stops")
		case share < lowDiskShare:
			j.add(Degraded, what, "give it a larger disk or add a store")
		}
	}
}

func (j *judge) versions() {
	var have []string
	for i := range j.p.Stores {
		if s := &j.p.Stores[i]; s.State == "up" && !slices.Contains(have, s.Version) {
			have = append(have, s.Version)
		}
	}
	if len(have) > 1 {
		slices.Sort(have)
		j.add(Healthy, fmt.Sprintf("stores run %d versions (%s to %s)", len(have), have[0], have[len(have)-1]), "finish the upgrade")
	}
	if v := j.p.Version; v != nil && v.Version < v.Target && len(v.InTheWay()) == 0 {
		j.add(Healthy, fmt.Sprintf("all nodes know version %s and the cluster has version %s", v.Target, v.Version), "end the upgrade with `skerry ctl version finalize`")
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
