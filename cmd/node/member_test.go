package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/tests/ports"
)

// joinConfig is a node with a member that joins, in the place of another if replace is not zero.
func joinConfig(dir string, replace shard.StoreID, join ...string) Config {
	c := baseConfig(dir)
	c.Placement = &PlacementConfig{Join: true, Replace: uint64(replace), Tick: testTick}
	c.Join = join
	return c
}

// firstMembers starts three members with directories, and returns them with how each was started.
func firstMembers(t *testing.T) (nodes []*Node, configs []Config) {
	t.Helper()
	members := make(map[uint64]string)
	for i, addr := range ports.Free(t, 3) {
		members[uint64(i+1)] = addr
	}
	for i := range 3 {
		c := placementConfig(t.TempDir())
		c.Placement.ID, c.Placement.Members = uint64(i+1), members
		c.Listen = members[c.Placement.ID]
		configs = append(configs, c)
		nodes = append(nodes, startNode(t, c))
	}
	for _, n := range nodes {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes, configs
}

// order asks the leader of placement, by way of any node.
func order(t *testing.T, n *Node, o *beat.Order) (*beat.Outcome, error) {
	t.Helper()
	var out *beat.Outcome
	err := errors.New("never asked")
	for ctx := testContext(t); ctx.Err() == nil && err != nil && !invalid(err); time.Sleep(20 * time.Millisecond) {
		err = n.dir.ask(ctx, func(ctx context.Context, p rpc.Placement) (err error) {
			out, err = p.Administer(ctx, o)
			return err
		})
	}
	return out, err
}

// states are the members that are or were, as "number state", the leader marked.
func states(t *testing.T, n *Node) string {
	t.Helper()
	out, err := order(t, n, &beat.Order{Members: &beat.MembersOrder{}})
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, m := range out.Members {
		text = append(text, fmt.Sprintf("%d %s", uint64(m.Member), m.State))
	}
	return strings.Join(text, ", ")
}

func awaitStates(t *testing.T, n *Node, want string) {
	t.Helper()
	have := ""
	for ctx := testContext(t); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if have = states(t, n); have == want {
			return
		}
	}
	out, _ := order(t, n, &beat.Order{Members: &beat.MembersOrder{}})
	t.Fatalf("the members are %s, want %s: %+v", have, want, out.Members)
}

// leadingMember is the number of the member that leads.
func leadingMember(t *testing.T, n *Node) shard.StoreID {
	t.Helper()
	for ctx := testContext(t); ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		out, err := order(t, n, &beat.Order{Members: &beat.MembersOrder{}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range out.Members {
			if out.Members[i].Leader {
				return out.Members[i].Member
			}
		}
	}
	t.Fatal("no member leads")
	return 0
}

// refusedStart starts a node that must end by itself with a reason that says this, at once or soon.
func refusedStart(t *testing.T, c Config, want ...string) {
	t.Helper()
	n, err := Start(context.Background(), c)
	if err == nil {
		err = waitDone(t, n)
		stop(t, n)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("refused with %q, which does not say %q", err, w)
		}
	}
}

// TestReplaceAllMembers: all three first members are replaced one by one; then everything is restarted. A store and a client
// that knew only the first three go on, before and after.
func TestReplaceAllMembers(t *testing.T) {
	t.Parallel()
	nodes, configs := firstMembers(t)
	storeDir := t.TempDir()
	sc := storeConfig(storeDir, nodes[0].Addr())
	store := startReady(t, sc)
	sc.Listen = store.Addr()
	put(t, "a", "1", store)
	db, err := client.Open(testContext(t), nodes[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	cluster := nodes[0].Info().Cluster
	var numbers []string
	for i := range 3 {
		stop(t, nodes[i])
		c := joinConfig(t.TempDir(), shard.StoreID(i+1), store.Addr())
		n := startReady(t, c)
		c.Listen = n.Addr()
		nodes[i], configs[i] = n, c
		numbers = append(numbers, fmt.Sprint(uint64(n.Info().Member)))
		awaitStates(t, n, expected([]string{"1", "2", "3"}, i+1, numbers))
		put(t, "b", fmt.Sprint(i), store)
		if err := db.Put(testContext(t), []byte("c"), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		if n.Info().Cluster != cluster {
			t.Fatalf("member %d is of cluster %s", uint64(n.Info().Member), n.Info().Cluster)
		}
	}
	stopAll(t, append(nodes, store)...)
	for i, c := range configs {
		c.Join = []string{"127.0.0.1:1"} // of no use: they remember
		nodes[i] = startNode(t, c)
	}
	sc.Join = []string{"127.0.0.1:1"}
	store = startReady(t, sc)
	for _, n := range nodes {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := get(t, "b", store); got != "2" {
		t.Fatalf("b = %q", got)
	}
	if v, err := db.Get(testContext(t), []byte("c")); err != nil || string(v) != "2" {
		t.Fatalf("c = %q, %v", v, err)
	}
	awaitStates(t, nodes[0], expected([]string{"1", "2", "3"}, 3, numbers))
	// Ids go on from where they were: no number of the first members comes again.
	fresh := startReady(t, joinConfig(t.TempDir(), 0, nodes[0].Addr()))
	if id := fresh.Info().Member; strings.Contains(strings.Join(numbers, " "), fmt.Sprint(uint64(id))) || uint64(id) < shard.FirstUserID {
		t.Fatalf("number %d came again", uint64(id))
	}
}

// expected is what states says when the first gone of some members were replaced by others.
func expected(first []string, gone int, others []string) string {
	var out []string
	for i, id := range first {
		out = append(out, id+map[bool]string{true: " removed", false: " voter"}[i < gone])
	}
	for _, id := range others {
		out = append(out, id+" voter")
	}
	return strings.Join(out, ", ")
}

// TestMemberLosesDirectory: a member whose directory is lost is refused under its number, whatever it says, and comes back at
// the same address as a new one.
func TestMemberLosesDirectory(t *testing.T) {
	t.Parallel()
	nodes, configs := firstMembers(t)
	lead := leadingMember(t, nodes[0])
	lost, keeps := int(lead-1), nodes[int(lead)%3]
	stop(t, nodes[lost])
	c := configs[lost]
	c.DataDir = t.TempDir()
	old := *c.Placement
	refusedStart(t, c, fmt.Sprintf("member %d has taken part in this cluster before", lead), fmt.Sprintf("--replace %d", lead))
	old.Bootstrap = false
	c.Placement = &old
	refusedStart(t, c, "--replace")

	again := joinConfig(t.TempDir(), 0, keeps.Addr())
	again.Listen = configs[lost].Listen
	refusedStart(t, again, fmt.Sprintf("member %d is on record at %s", lead, again.Listen), fmt.Sprintf("--replace %d", lead))
	again.Placement.Replace = 9
	again.DataDir = t.TempDir()
	again.Listen = "127.0.0.1:0"
	refusedStart(t, again, "there is no member 9 to replace")
	again.Listen = configs[lost].Listen
	again.Placement.Replace = uint64(lead)
	again.DataDir = t.TempDir()
	n := startReady(t, again)
	id := n.Info().Member
	if uint64(id) < shard.FirstUserID {
		t.Fatalf("the new member is %d", uint64(id))
	}
	awaitStates(t, keeps, replacedStates(lead, id))
	// The same directory keeps its number, with --replace still in its flags and another address.
	stop(t, n)
	again.Listen = "127.0.0.1:0"
	n = startReady(t, again)
	if n.Info().Member != id {
		t.Fatalf("member %d came back as %d", uint64(id), uint64(n.Info().Member))
	}
	awaitStates(t, keeps, replacedStates(lead, id))
	// And the old directory, found again, is told that it is over.
	c = configs[lost]
	c.Listen = "127.0.0.1:0"
	refusedStart(t, c, fmt.Sprintf("member %d was removed from placement", lead))
}

func replacedStates(gone, by shard.StoreID) string {
	var out []string
	for id := shard.StoreID(1); id <= 3; id++ {
		out = append(out, fmt.Sprintf("%d %s", uint64(id), map[bool]string{true: "removed", false: "voter"}[id == gone]))
	}
	return strings.Join(append(out, fmt.Sprintf("%d voter", uint64(by))), ", ")
}

// TestRemoveMember: members leave, the leader too, as far as what remains can decide; a removed one destroys what it held,
// ends, and is refused when it starts again.
func TestRemoveMember(t *testing.T) {
	t.Parallel()
	nodes, configs := firstMembers(t)
	lead := leadingMember(t, nodes[0])
	goes := nodes[lead-1]
	keeps, other := nodes[int(lead)%3], nodes[(int(lead)+1)%3]
	cluster := goes.Info().Cluster

	stop(t, other)
	dead := shard.StoreID(configs[(int(lead)+1)%3].Placement.ID)
	for ctx := testContext(t); keeps.member.store.Live(dead) || goes.member.store.Live(dead); time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the dead member is still heard")
		}
	}
	var refusal *shard.InvalidError
	if _, err := order(t, keeps, &beat.Order{RemoveMember: &beat.MemberOrder{Member: lead}}); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "is not heard") {
		t.Fatalf("a quorum was given up: %v", err)
	}
	nodes[dead-1] = startReady(t, configs[dead-1])
	other = nodes[dead-1]
	remove := func(id shard.StoreID) (err error) {
		for ctx := testContext(t); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
			if _, err = order(t, other, &beat.Order{RemoveMember: &beat.MemberOrder{Member: id}}); err == nil || !strings.Contains(err.Error(), "is not heard") {
				return err
			}
		}
		return err
	}
	if err := remove(lead); err != nil {
		t.Fatal(err)
	}
	if err := waitDone(t, goes); !strings.Contains(err.Error(), fmt.Sprintf("member %d was removed", lead)) {
		t.Fatal(err)
	}
	stop(t, goes)
	onEngine(t, filepath.Join(configs[lead-1].DataDir, partPlacement), func(e *engine.Engine) error {
		if rs, err := e.Replicas(); err != nil || len(rs) > 0 {
			t.Errorf("it still holds %v, %v", rs, err)
		}
		return nil
	})
	refusedStart(t, configs[lead-1], fmt.Sprintf("member %d was removed", lead), "--join")
	if got := keeps.Info().Cluster; got != cluster {
		t.Fatalf("cluster %s became %s", cluster, got)
	}
	last := leadingMember(t, keeps)
	for _, n := range []*Node{keeps, other} {
		if id := n.Info().Member; id != last {
			if err := remove(id); err != nil {
				t.Fatal(err)
			}
			waitDone(t, n)
		}
	}
	final := nodes[last-1]
	if _, err := order(t, final, &beat.Order{RemoveMember: &beat.MemberOrder{Member: last}}); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "last member") {
		t.Fatalf("the last member was removed: %v", err)
	}
	startReady(t, joinConfig("", 0, final.Addr()))
}

// TestRemovedBesideStore: the store of a node whose member is removed goes on.
func TestRemovedBesideStore(t *testing.T) {
	t.Parallel()
	first := startReady(t, serverConfig(t.TempDir()))
	put(t, "a", "1", first)
	var others []*Node
	for range 2 {
		others = append(others, startReady(t, joinConfig("", 0, first.Addr())))
	}
	awaitStates(t, first, fmt.Sprintf("1 voter, %d voter, %d voter", uint64(others[0].Info().Member), uint64(others[1].Info().Member)))
	if _, err := order(t, first, &beat.Order{RemoveMember: &beat.MemberOrder{Member: 1}}); err != nil {
		t.Fatal(err)
	}
	for ctx := testContext(t); first.member.number() != 0; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("the member does not end")
		}
	}
	put(t, "a", "2", first)
	if err := first.Err(); err != nil {
		t.Fatal(err)
	}
	// One replica of each shard was what the first member was told; the others were told nothing and must not think of three.
	out, err := order(t, others[0], &beat.Order{Rules: &beat.RulesOrder{}})
	if err != nil || !strings.Contains(string(out.Rules), `"replicas": 1`) && !strings.Contains(string(out.Rules), `"replicas":1`) {
		t.Fatalf("the rules are %s, %v", out.Rules, err)
	}
	startReady(t, storeConfig("", others[1].Addr()))
}

// TestTransferMember: leadership goes where it is wanted.
func TestTransferMember(t *testing.T) {
	t.Parallel()
	nodes, _ := firstMembers(t)
	for range 3 {
		lead := leadingMember(t, nodes[0])
		want := lead%3 + 1
		for ctx := testContext(t); leadingMember(t, nodes[0]) != want; time.Sleep(50 * time.Millisecond) {
			if _, err := order(t, nodes[0], &beat.Order{TransferMember: &beat.MemberOrder{Member: want}}); err != nil && ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	var refusal *shard.InvalidError
	if _, err := order(t, nodes[0], &beat.Order{TransferMember: &beat.MemberOrder{Member: 7}}); !errors.As(err, &refusal) {
		t.Fatalf("member 7: %v", err)
	}
}

// TestMembersMove: one member comes back at another address, then, after a full stop, all of them do.
func TestMembersMove(t *testing.T) {
	t.Parallel()
	nodes, configs := firstMembers(t)
	store := startReady(t, storeConfig("", nodes[0].Addr()))
	put(t, "a", "1", store)
	move := func(i int) {
		c := configs[i]
		p := *c.Placement
		p.Members = map[uint64]string{}
		for id, addr := range configs[i].Placement.Members {
			p.Members[id] = addr
		}
		c.Listen = ports.Free(t, 1)[0]
		p.Members[p.ID] = c.Listen
		c.Placement = &p
		configs[i] = c
	}
	for i := range 3 { // the others are started with what is wrong by now
		stop(t, nodes[i])
		move(i)
		nodes[i] = startReady(t, configs[i])
		awaitAddr(t, nodes[(i+1)%3], shard.StoreID(i+1), configs[i].Listen)
	}
	stopAll(t, nodes...)
	for i := range 3 {
		move(i)
	}
	for i := range 3 { // nobody knows where anybody is, but each was told where one other is
		configs[i].Join = []string{configs[(i+1)%3].Listen}
		nodes[i] = startNode(t, configs[i])
	}
	for i, n := range nodes {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
		awaitAddr(t, n, shard.StoreID(i+1), configs[i].Listen)
	}
}

func awaitAddr(t *testing.T, n *Node, id shard.StoreID, want string) {
	t.Helper()
	have := ""
	for ctx := testContext(t); ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		out, err := order(t, n, &beat.Order{Members: &beat.MembersOrder{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Members {
			if m.Member == id {
				have = m.Addr
			}
		}
		if have == want {
			return
		}
	}
	t.Fatalf("member %d is known at %s, it is at %s", uint64(id), have, want)
}

// TestLostDirectoryAlone: a member that lost its directory does not begin again while nobody answers, although it is told to
// bootstrap; when the others are back it is refused.
func TestLostDirectoryAlone(t *testing.T) {
	t.Parallel()
	nodes, configs := firstMembers(t)
	for ctx := testContext(t); ; time.Sleep(20 * time.Millisecond) { // before its record is put, losing it goes unnoticed
		if addr, err := placement.MemberAddr(nodes[0].member.engine.Get, 3); err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		} else if addr != "" {
			break
		}
	}
	stopAll(t, nodes...)
	c := configs[2]
	c.DataDir = t.TempDir()
	lost := startNode(t, c)
	time.Sleep(20 * testTick)
	if lost.Info().Member != 0 || lost.Placement() != nil {
		t.Fatal("it has begun again")
	}
	for i := range 2 {
		startNode(t, configs[i])
	}
	if err := waitDone(t, lost); !strings.Contains(err.Error(), "member 3 has taken part in this cluster before") {
		t.Fatal(err)
	}
}
