package group_test

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/cockroachdb/datadriven"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// TestTranscripts runs the stories of testdata. `go test -rewrite` fills them in; read the difference before keeping it.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		s := &script{t: t}
		cryptotest.SetGlobalRandom(t, 1) // raft draws its timeouts from it
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
	})
}

// script holds the world of one file. The first positional argument of most verbs is the replica it is about.
type script struct {
	t *testing.T
	w *world
}

func (s *script) run(d *datadriven.TestData) string {
	if d.Cmd == "group" {
		s.w = newWorld(s.uints(d, "voters"), 10)
		return s.w.drain(s.t)
	}
	verb, ok := verbs[d.Cmd]
	if !ok {
		d.Fatalf(s.t, "unknown verb")
	}
	verb(s, d)
	return s.w.drain(s.t)
}

// quietly says not to print: the verb's story is told elsewhere.
func quietly(d *datadriven.TestData, w *world) {
	if d.HasArg("quiet") {
		w.out.Reset()
	}
}

func (s *script) uints(d *datadriven.TestData, name string) (out []uint64) {
	if arg, ok := d.Arg(name); ok {
		for _, v := range arg.Vals {
			n, err := strconv.ParseUint(v, 10, 64)
			must(err)
			out = append(out, n)
		}
	}
	return out
}

func (s *script) uint(d *datadriven.TestData, name string, value uint64) uint64 {
	if v := s.uints(d, name); len(v) > 0 {
		return v[0]
	}
	return value
}

// nodes are the positional arguments that are numbers, or all nodes that are up.
func (s *script) nodes(d *datadriven.TestData) (out []*node) {
	for _, a := range d.CmdArgs {
		if id, err := strconv.ParseUint(a.Key, 10, 64); err == nil {
			out = append(out, s.w.nodes[id])
		}
	}
	if len(out) == 0 {
		for _, id := range s.w.ids() {
			if n := s.w.nodes[id]; n.g != nil {
				out = append(out, n)
			}
		}
	}
	return out
}

func (s *script) node(d *datadriven.TestData) *node { return s.nodes(d)[0] }

func (s *script) say(err error) {
	if err != nil {
		s.w.printf("error: %v", err)
	}
}

// match says whether a message is the one that from=, to= and type= describe.
func (s *script) match(d *datadriven.TestData, m *pb.Message) bool {
	typ := ""
	d.MaybeScanArgs(s.t, "type", &typ)
	from, to := s.uints(d, "from"), s.uints(d, "to")
	return (len(from) == 0 || slices.Contains(from, m.GetFrom())) && (len(to) == 0 || slices.Contains(to, m.GetTo())) &&
		(typ == "" || typ == m.GetType().String())
}

var verbs = map[string]func(*script, *datadriven.TestData){
	"add":     func(s *script, d *datadriven.TestData) { s.w.add(s.uint(d, "id", 0), nil) },
	"advance": func(s *script, d *datadriven.TestData) { s.w.now += group.Instant(s.uint(d, "ms", 100)) * tick / 100 },
	"tick": func(s *script, d *datadriven.TestData) {
		for _, n := range s.nodes(d) {
			n.printf("ticked %t", n.g.Tick(n.clock()))
		}
	},
	// run lets time pass, tick by tick, with everything delivered at once.
	"run": func(s *script, d *datadriven.TestData) {
		for range s.uint(d, "ticks", 1) {
			s.w.now += tick
			for _, n := range s.nodes(d) {
				n.g.Tick(n.clock())
			}
			if !d.HasArg("alone") {
				s.w.stabilize()
			}
		}
		quietly(d, s.w)
	},
	"ready": func(s *script, d *datadriven.TestData) {
		for _, n := range s.nodes(d) {
			for n.ready() {
			}
		}
	},
	"sync": func(s *script, d *datadriven.TestData) {
		for _, n := range s.nodes(d) {
			for i := s.uint(d, "n", 99); i > 0 && n.sync(); i-- {
			}
		}
	},
	"apply": func(s *script, d *datadriven.TestData) {
		for _, n := range s.nodes(d) {
			for n.apply() {
			}
		}
	},
	"deliver": func(s *script, d *datadriven.TestData) {
		for i := 0; i < len(s.w.net); {
			if s.match(d, s.w.net[i]) {
				s.w.deliver(i)
			} else {
				i++
			}
		}
	},
	"drop": func(s *script, d *datadriven.TestData) {
		s.w.net = slices.DeleteFunc(s.w.net, func(m *pb.Message) bool { return s.match(d, m) })
	},
	"network": func(s *script, d *datadriven.TestData) {
		for _, m := range s.w.net {
			s.w.printf("%s", describe(m))
		}
	},
	"stabilize": func(s *script, d *datadriven.TestData) { s.w.stabilize(); quietly(d, s.w) },
	"campaign":  func(s *script, d *datadriven.TestData) { n := s.node(d); s.say(n.g.Campaign(n.clock())) },
	"forget":    func(s *script, d *datadriven.TestData) { n := s.node(d); s.say(n.g.ForgetLeader(n.clock())) },
	"force":     func(s *script, d *datadriven.TestData) { s.node(d).g.ForceCampaign() },
	"wake":      func(s *script, d *datadriven.TestData) { n := s.node(d); n.g.WakeFollower(n.clock()) },
	"fold": func(s *script, d *datadriven.TestData) {
		for _, n := range s.nodes(d) {
			n.printf("folded %t", n.g.Fold())
		}
	},
	"mute": func(s *script, d *datadriven.TestData) { s.node(d).g.Mute(true) },
	"propose": func(s *script, d *datadriven.TestData) {
		for _, data := range strings.Fields(d.Input) {
			s.say(s.node(d).g.Propose([]byte(data), data))
		}
	},
	"change": func(s *script, d *datadriven.TestData) {
		changes, err := pb.ConfChangesFromString(d.Input)
		must(err)
		cc := &pb.ConfChangeV2{Changes: changes, Context: []byte("command")}
		switch {
		case d.HasArg("explicit"):
			cc.Transition = pb.ConfChangeTransitionJointExplicit.Enum()
		case d.HasArg("implicit"):
			cc.Transition = pb.ConfChangeTransitionJointImplicit.Enum()
		}
		s.say(s.node(d).g.ProposeChange(cc, "change("+d.Input+")"))
	},
	"read":     func(s *script, d *datadriven.TestData) { s.say(s.node(d).read(s.uint(d, "ctx", 1))) },
	"transfer": func(s *script, d *datadriven.TestData) { s.say(s.node(d).transfer(s.uint(d, "to", 0))) },
	"lease": func(s *script, d *datadriven.TestData) {
		n := s.node(d)
		if until := n.g.LeaseUntil(n.clock()); until == 0 {
			s.w.printf("none")
		} else {
			s.w.printf("%d ms from its round", (until-n.clock())*100/tick)
		}
	},
	"crash": func(s *script, d *datadriven.TestData) {
		s.node(d).crash(int(s.uint(d, "keep", 0)), s.uint(d, "applied", math.MaxUint64))
	},
	"start":   func(s *script, d *datadriven.TestData) { s.node(d).start() },
	"compact": func(s *script, d *datadriven.TestData) { must(s.node(d).disk.Compact(s.uint(d, "to", 0))) },
	"step":    (*script).step,
	"state":   (*script).state,
	"sleep":   (*script).sleep,
	"progress": func(s *script, d *datadriven.TestData) {
		s.node(d).g.Progress(func(p group.Progress) {
			s.w.printf("%s match %d next %d %s learner %t", p.Replica, p.Match, p.Next, p.State, p.Learner)
		})
	},
}

// step makes a message up and steps it into a node, as the network could.
func (s *script) step(d *datadriven.TestData) {
	var typ, ctx string
	d.ScanArgs(s.t, "type", &typ)
	d.MaybeScanArgs(s.t, "ctx", &ctx)
	n := s.w.nodes[s.uint(d, "to", 0)]
	m := &pb.Message{Type: pb.MessageType(pb.MessageType_value[typ]).Enum(), To: new(n.id), From: new(s.uint(d, "from", 0)),
		Term: new(s.uint(d, "term", 0)), Index: new(s.uint(d, "index", 0)), LogTerm: new(s.uint(d, "logterm", 0)),
		Commit: new(s.uint(d, "commit", 0))}
	if hexed, err := hex.DecodeString(ctx); err == nil {
		m.Context = hexed
	} else {
		m.Context = []byte(ctx)
	}
	if d.HasArg("round") {
		m.Context = binary.LittleEndian.AppendUint64(nil, s.uint(d, "round", 0))
	}
	for i, term := range s.uints(d, "entries") {
		m.Entries = append(m.Entries, &pb.Entry{Index: new(m.GetIndex() + uint64(i) + 1), Term: new(term), Data: []byte("forged")})
	}
	if v := s.uints(d, "voters"); len(v) > 0 {
		m.Snapshot = &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: m.Index, Term: m.LogTerm, ConfState: &pb.ConfState{Voters: v}}}
	}
	s.say(n.g.Step(m, n.clock()))
}

func (s *script) state(d *datadriven.TestData) {
	for _, n := range s.nodes(d) {
		g := n.g
		n.printf("term %d vote %s leader %s leading %t last %d commit %d applied %d own %d/%t outstanding %d heard %d ms ago%s",
			g.Term(), g.Vote(), g.Leader(), g.Leading(), g.LastIndex(), g.Committed(), g.Applied(), g.OwnTermIndex(),
			g.AppliedOwnTerm(), g.OutstandingAppends(), (n.clock()-g.Heard())*100/tick, flags(g))
	}
}

func flags(g *group.Group) (out string) {
	for _, f := range []struct {
		name string
		set  bool
	}{{"joint", g.Joint()}, {"transferring", g.Transferring()}, {"muted", g.Muted()}, {"folded", g.Folded()}} {
		if f.set {
			out += " " + f.name
		}
	}
	return out
}

// sleep asks the leader for an offer and every other replica whether it would accept it.
func (s *script) sleep(d *datadriven.TestData) {
	dead := s.uints(d, "dead")
	q, ok := s.node(d).g.CanSleep(func(id shard.ReplicaID) bool { return !slices.Contains(dead, uint64(id)) })
	s.w.printf("offer %t %+v", ok, q)
	if !ok {
		return
	}
	for _, id := range s.w.ids() {
		if n := s.w.nodes[id]; n.g != nil && !n.g.Leading() {
			n.printf("accepts %t", n.g.CanAcceptSleep(q.Term, q.Last))
		}
	}
}
