package node_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/ports"
)

// cluster is one with members of placement on nodes of their own, and stores that come and go.
type cluster struct {
	t       *testing.T
	ctx     context.Context
	members []*node.Node
	stores  map[shard.StoreID]*node.Node
	db      *client.DB
	admin   *client.Admin
}

const tick = 20 * time.Millisecond

// newCluster starts so many stores and a shard for each of the keys "a" to "z", three replicas of each.
func newCluster(t *testing.T, members, stores int, downAfter time.Duration) *cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	c := &cluster{t: t, ctx: ctx, stores: make(map[shard.StoreID]*node.Node)}
	var keys []string
	for k := 'b'; k <= 'l'; k++ {
		keys = append(keys, string(k))
	}
	addrs := make(map[uint64]string)
	for i, addr := range ports.Free(t, members) {
		addrs[uint64(i+1)] = addr
	}
	for i := range members {
		id := uint64(i + 1)
		c.members = append(c.members, c.start(node.Config{Listen: addrs[id], Placement: &node.PlacementConfig{ID: id, Members: addrs, Bootstrap: true,
			Replicas: 3, Stores: stores, SplitKeys: keys, Tick: tick, DownAfter: downAfter}}))
	}
	for range stores {
		c.addStore()
	}
	db, err := client.Open(ctx, strings.Join(c.memberAddrs(), ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c.db, c.admin = db, db.Admin()
	for i := range 12 {
		if err := db.Put(ctx, fmt.Appendf(nil, "%c", 'a'+i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) start(cfg node.Config) *node.Node {
	c.t.Helper()
	cfg.Memory = true
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	n, err := node.Start(c.ctx, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = n.Close() })
	return n
}

func (c *cluster) addStore() shard.StoreID {
	c.t.Helper()
	n := c.start(node.Config{Listen: "127.0.0.1:0", Store: &node.StoreConfig{Tick: tick}, Join: c.memberAddrs()})
	if err := n.Ready(c.ctx); err != nil {
		c.t.Fatal(err)
	}
	id := n.Info().Stores[0]
	c.stores[id] = n
	return id
}

func (c *cluster) memberAddrs() (out []string) {
	for _, m := range c.members {
		out = append(out, m.Addr())
	}
	return out
}

func (c *cluster) ids() []shard.StoreID {
	var out []shard.StoreID
	for id := range c.stores {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (c *cluster) shards() []client.ShardInfo {
	c.t.Helper()
	var out []client.ShardInfo
	for s, err := range c.admin.Shards(c.ctx) {
		if err != nil {
			c.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// until waits for something to be so; what says what it is like.
func (c *cluster) until(what string, is func() (bool, string)) {
	c.t.Helper()
	for {
		ok, now := is()
		if ok {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.ctx.Done():
			ops, _ := c.admin.Operators(context.Background(), 0, true)
			c.t.Fatalf("%s: not so: %s\noperators: %+v", what, now, ops)
		}
	}
}

// whole checks that every shard has three voters on stores that are there, and says on how many shards each store has one.
func (c *cluster) whole() (ok bool, count map[shard.StoreID]int, why string) {
	count = make(map[shard.StoreID]int)
	for _, s := range c.shards() {
		voters := 0
		for _, r := range s.Replicas {
			count[r.Store]++
			if r.Role == shard.Voter && c.stores[r.Store] != nil {
				voters++
			}
		}
		if voters != 3 || len(s.Replicas) != 3 || s.Leader.ID == 0 {
			return false, count, fmt.Sprintf("%s has %v, led by %s", s.ID, s.Replicas, s.Leader)
		}
	}
	return true, count, ""
}

// rest waits until nothing is under way for three looks of the schedulers, and every shard is whole.
func (c *cluster) rest() map[shard.StoreID]int {
	c.t.Helper()
	var count map[shard.StoreID]int
	since := time.Now()
	c.until("rest", func() (bool, string) {
		ok, n, why := c.whole()
		count = n
		ops, err := c.admin.Operators(c.ctx, 0, false)
		if err != nil || len(ops) > 0 || !ok {
			since = time.Now()
			return false, fmt.Sprintf("%s; %d operators; %v", why, len(ops), err)
		}
		return time.Since(since) > 3*time.Second, "not for long enough"
	})
	return count
}

// ended waits for an operator's end and returns it.
func (c *cluster) ended(id uint64) client.OperatorInfo {
	c.t.Helper()
	var op client.OperatorInfo
	c.until(fmt.Sprintf("end of o%d", id), func() (bool, string) {
		var err error
		op, err = c.admin.Operator(c.ctx, id)
		return err == nil && op.State != "planned" && op.State != "running", fmt.Sprintf("%+v, %v", op, err)
	})
	return op
}

// keys checks that nothing was lost.
func (c *cluster) keys() {
	c.t.Helper()
	n := 0
	for kv, err := range c.db.Scan(c.ctx, client.Range{}) {
		if err != nil || string(kv.Value) != "x" {
			c.t.Fatalf("%q = %q, %v", kv.Key, kv.Value, err)
		}
		n++
	}
	if n != 12 {
		c.t.Fatalf("%d keys of 12", n)
	}
}

func storesOf(s *client.ShardInfo) []shard.StoreID {
	var out []shard.StoreID
	for _, r := range s.Replicas {
		out = append(out, r.Store)
	}
	slices.Sort(out)
	return out
}

// elsewhere is a store that holds none of a shard.
func (c *cluster) elsewhere(s *client.ShardInfo) shard.StoreID {
	for _, id := range c.ids() {
		if !slices.Contains(storesOf(s), id) {
			return id
		}
	}
	c.t.Fatalf("%s is everywhere", s.ID)
	return 0
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused checks that something was refused, and with what reason.
func refused(t *testing.T, why string, err error) {
	t.Helper()
	if !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), why) {
		t.Fatalf("got %v, want a refusal with %q", err, why)
	}
}

// TestMoveByHand: a replica is moved where an administrator wants it, also the leader's; leaders go where he wants them;
// and what cannot be is refused with the reason.
func TestMoveByHand(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 4, 0)
	c.rest()
	s := c.shards()[0]
	from, to := s.Leader.Store, c.elsewhere(&s)
	dry := must[client.OperatorInfo](t)(c.admin.DryRun().MoveShard(c.ctx, s.ID, from, to))
	if dry.ID != 0 || !slices.Contains(dry.Voters, to) || slices.Contains(dry.Voters, from) {
		t.Fatalf("a dry run would begin %+v", dry)
	}
	op := must[client.OperatorInfo](t)(c.admin.MoveShard(c.ctx, s.ID, from, to))
	if end := c.ended(op.ID); end.State != "finished" {
		t.Fatalf("the move ended as %+v", end)
	}
	after := must[client.ShardInfo](t)(c.admin.ShardByID(c.ctx, s.ID))
	if have := storesOf(&after); !slices.Equal(have, op.Voters) {
		t.Fatalf("it is on %v, want %v", have, op.Voters)
	}
	for _, lead := range op.Voters {
		op := must[client.OperatorInfo](t)(c.admin.PlaceLeader(c.ctx, s.ID, lead))
		if op.ID != 0 {
			if end := c.ended(op.ID); end.State != "finished" {
				t.Fatalf("the transfer ended as %+v", end)
			}
		}
	}
	move := func(id shard.ID, from, to shard.StoreID) error {
		_, err := c.admin.MoveShard(c.ctx, id, from, to)
		return err
	}
	refused(t, "there is no shard s7", move(7, from, to))
	refused(t, "there is no store st7", move(s.ID, to, 7))
	refused(t, "has no replica of", move(s.ID, from, from))
	refused(t, "has a replica of", move(s.ID, op.Voters[0], op.Voters[1]))
	_, err := c.admin.PlaceLeader(c.ctx, s.ID, from)
	refused(t, "has no replica of", err)
	c.keys()
}

// TestDrain: a drained store becomes empty while it serves, can then be removed, and its process ends; a drain that the
// others have no room for is refused; one that is called off stops, and shards come back.
func TestDrain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 4, 0)
	c.rest()
	ids := c.ids()
	refused(t, "holds replicas", c.admin.RetireStore(c.ctx, ids[0]))
	if err := c.admin.DrainStore(c.ctx, ids[0], false); err != nil {
		t.Fatal(err)
	}
	refused(t, "cannot be drained", c.admin.DrainStore(c.ctx, ids[1], false))
	c.until("empty", func() (bool, string) {
		_, count, why := c.whole()
		return count[ids[0]] == 0, fmt.Sprint(count, why)
	})
	c.keys()
	// Called off, the others give it some back.
	if err := c.admin.UndrainStore(c.ctx, ids[0]); err != nil {
		t.Fatal(err)
	}
	c.until("filled again", func() (bool, string) {
		_, count, why := c.whole()
		return count[ids[0]] > 3, fmt.Sprint(count, why)
	})
	c.rest()
	if err := c.admin.DrainStore(c.ctx, ids[0], false); err != nil {
		t.Fatal(err)
	}
	c.until("removed", func() (bool, string) {
		err := c.admin.RetireStore(c.ctx, ids[0])
		return err == nil, fmt.Sprint(err)
	})
	gone := c.stores[ids[0]]
	delete(c.stores, ids[0])
	select {
	case <-gone.Done():
	case <-c.ctx.Done():
		t.Fatal("the removed store goes on")
	}
	c.rest()
	c.keys()
}

// TestLostStoreIsReplaced: what was on a store that is silent for too long is made anew elsewhere; not while scheduling is
// paused.
func TestLostStoreIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 4, 5*time.Second)
	c.rest()
	if err := c.admin.PauseScheduling(c.ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	lost := c.ids()[3]
	if err := c.stores[lost].Close(); err != nil {
		t.Fatal(err)
	}
	delete(c.stores, lost)
	c.until("down", func() (bool, string) {
		for _, s := range must[[]client.StoreInfo](t)(c.admin.Stores(c.ctx)) {
			if s.ID == lost {
				return s.State == "down", s.State
			}
		}
		return false, "not listed"
	})
	time.Sleep(3 * time.Second)
	if ops := must[[]client.OperatorInfo](t)(c.admin.Operators(c.ctx, 0, false)); len(ops) != 0 {
		t.Fatalf("in a pause something begins: %+v", ops)
	}
	if x := must[client.Explanation](t)(c.admin.ExplainShard(c.ctx, c.shards()[0].ID)); x.Paused == 0 {
		t.Fatalf("nobody says that there is a pause: %+v", x)
	}
	if err := c.admin.PauseScheduling(c.ctx, 0); err != nil {
		t.Fatal(err)
	}
	if count := c.rest(); count[lost] != 0 {
		t.Fatalf("%v", count)
	}
	c.keys()
}

// TestNewStoreIsFilled: shards move to a store that comes, until all hold about as many, and then nothing moves any more.
func TestNewStoreIsFilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 3, 0)
	c.rest()
	id := c.addStore()
	c.until("filled", func() (bool, string) {
		_, count, why := c.whole()
		return count[id] >= 6, fmt.Sprint(count, why)
	})
	count := c.rest()
	for _, n := range count {
		if n < 6 || n > 11 { // 36 replicas on 4 stores
			t.Fatalf("at rest: %v", count)
		}
	}
	c.keys()
}

// TestPlacementFailover: operators that are under way when the leader of placement goes are made up for by the next one:
// a drain that it had begun goes on, and nothing stays half done.
func TestPlacementFailover(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 4, 0)
	c.rest()
	id := c.ids()[0]
	if err := c.admin.DrainStore(c.ctx, id, false); err != nil {
		t.Fatal(err)
	}
	c.until("under way", func() (bool, string) {
		ops, err := c.admin.Operators(c.ctx, 0, false)
		return slices.ContainsFunc(ops, func(o client.OperatorInfo) bool { return o.State == "running" }), fmt.Sprint(ops, err)
	})
	for _, m := range c.members {
		if m.Placement().Cluster() != 0 {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if count := c.rest(); count[id] != 0 {
		t.Fatalf("at rest, and %s holds some: %v", id, count)
	}
	c.keys()
}

// TestCancel: a cancelled operator leaves nothing half done.
func TestCancel(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 4, 0)
	c.rest()
	if err := c.admin.PauseScheduling(c.ctx, time.Hour); err != nil { // what is by hand goes on
		t.Fatal(err)
	}
	for i, s := range c.shards() {
		op := must[client.OperatorInfo](t)(c.admin.MoveShard(c.ctx, s.ID, s.Replicas[0].Store, c.elsewhere(&s)))
		time.Sleep(time.Duration(i) * 60 * time.Millisecond)
		if _, err := c.admin.CancelOperator(c.ctx, op.ID); err != nil {
			refused(t, "has ended already", err)
		} else if op = must[client.OperatorInfo](t)(c.admin.Operator(c.ctx, op.ID)); op.State != "cancelled" {
			t.Fatalf("%+v", op)
		}
	}
	c.rest()
	_, err := c.admin.CancelOperator(c.ctx, 1)
	refused(t, "there is no operator", err)
	c.keys()
}

// TestScatter: the shards of one range are spread over all stores.
func TestScatter(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 3, 0)
	c.rest()
	if err := c.admin.PauseScheduling(c.ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.addStore()
	}
	r := client.Range{Start: []byte("c"), End: []byte("i")} // six shards
	ops := must[[]client.OperatorInfo](t)(c.admin.ScatterRange(c.ctx, r))
	for _, op := range ops {
		if end := c.ended(op.ID); end.State != "finished" {
			t.Fatalf("%+v", end)
		}
	}
	count := make(map[shard.StoreID]int)
	for _, s := range c.shards()[2:8] {
		for _, id := range storesOf(&s) {
			count[id]++
		}
	}
	for _, id := range c.ids() {
		if n := count[id]; n < 2 || n > 4 { // 18 replicas on six stores
			t.Fatalf("scattered to %v", count)
		}
	}
	c.keys()
}

// TestRules: a rule for a part of the keyspace puts its shards, split where it begins and ends, onto the stores that it
// wants; one that no stores can meet is refused; and a bound of one that is lifted stays a bound and nothing more.
func TestRules(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 5, 0)
	c.rest()
	ids := c.ids()
	rule := func(values string) []byte {
		return fmt.Appendf(nil, `{"replicas":3,"ranges":[{"name":"hot","start":"%s","end":"%s","require":[{"key":"disk","values":["%s"]}]}]}`,
			base64.StdEncoding.EncodeToString(shard.RawKey([]byte("cc"))), base64.StdEncoding.EncodeToString(shard.RawKey([]byte("e"))), values)
	}
	_, err := c.admin.SetRules(c.ctx, rule("ssd"))
	refused(t, `needs 3 stores that are disk=ssd, there are 0`, err)
	for _, id := range ids[2:] {
		if err := c.admin.LabelStore(c.ctx, id, map[string]string{"disk": "ssd", "zone": "a"}); err != nil {
			t.Fatal(err)
		}
	}
	must[[]byte](t)(c.admin.DryRun().SetRules(c.ctx, rule("ssd")))
	if have := must[[]byte](t)(c.admin.Rules(c.ctx)); strings.Contains(string(have), "hot") {
		t.Fatalf("a dry run set %s", have)
	}
	must[[]byte](t)(c.admin.SetRules(c.ctx, rule("ssd")))
	c.until("the rule holds", func() (bool, string) {
		n := 0
		for _, s := range c.shards() {
			if s.Range.Start.Compare(shard.RawKey([]byte("cc"))) >= 0 && s.Range.Start.Compare(shard.RawKey([]byte("e"))) < 0 {
				if n++; !slices.Equal(storesOf(&s), ids[2:]) {
					return false, fmt.Sprint(s)
				}
			}
		}
		return n == 2, fmt.Sprintf("%d shards", n)
	})
	c.rest()
	c.keys()
	s := must[client.ShardInfo](t)(c.admin.Shard(c.ctx, []byte("d")))
	_, err = c.admin.MoveShard(c.ctx, s.ID, ids[2], ids[0])
	refused(t, `rule "hot" wants disk=ssd`, err)
	if x := must[client.Explanation](t)(c.admin.ExplainShard(c.ctx, s.ID)); !strings.Contains(strings.Join(x.Lines, "\n"), "hot") {
		t.Fatalf("not explained by its rule: %v", x.Lines)
	}
	p := must[*client.PlanInfo](t)(c.admin.PlanWithout(c.ctx, ids[2]))
	if p.Possible || p.UnplacedCount == 0 {
		t.Fatalf("without %s: %+v", ids[2], p)
	}
	refused(t, "do not meet its rule", c.admin.DrainStore(c.ctx, ids[2], false))
	if p := must[*client.PlanInfo](t)(c.admin.PlanWith(c.ctx, 2, 0)); len(p.Stores) != 7 || p.Stores[6].ShardsAfter == 0 {
		t.Fatalf("with two more stores: %+v", p)
	}
}
