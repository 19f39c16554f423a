package node

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/ports"
)

// threeServers starts three nodes with a member and a store each, and eight shards.
func threeServers(t *testing.T) []*Node {
	t.Helper()
	members := make(map[uint64]string)
	for i, addr := range ports.Free(t, 3) {
		members[uint64(i+1)] = addr
	}
	var nodes []*Node
	for i := range uint64(3) {
		c := serverConfig("")
		c.Listen = members[i+1]
		c.Placement.ID, c.Placement.Members, c.Placement.Replicas = i+1, members, 3
		c.Placement.SplitKeys = []string{"b", "c", "d", "e", "f", "g", "h"}
		nodes = append(nodes, startNode(t, c))
	}
	for _, n := range nodes {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// TestLeave: a node that leaves says so, leads nothing afterwards, neither users' shards nor placement, and placement sends
// nothing back. Others lead everything.
func TestLeave(t *testing.T) {
	t.Parallel()
	nodes := threeServers(t)
	put(t, "a", "1", nodes...)
	var first *Node // whose member leads placement
	for ctx := testContext(t); first == nil && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if i := slices.IndexFunc(nodes, func(n *Node) bool { return n.Placement() != nil && n.Placement().Cluster() != 0 }); i >= 0 {
			first = nodes[i]
		}
	}
	_, id := identOf(t, first)
	others := slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n == first })
	db, err := client.Open(testContext(t), others[0].Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for ctx := testContext(t); (leaderships(t, db)[id] == 0 || len(first.Readiness().Not) > 0) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
	}
	if not := first.Readiness().Not; len(not) > 0 {
		t.Errorf("not ready before: %q", not)
	}
	if err := first.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if not := first.Readiness().Not; len(not) != 1 || not[0] != "stopping" {
		t.Errorf("a node that leaves says %q", not)
	}
	for ctx := testContext(t); ; time.Sleep(50 * time.Millisecond) {
		if by := leaderships(t, db); by[id] == 0 && by[0] == 0 {
			break
		} else if ctx.Err() != nil {
			t.Fatalf("leaderships by store: %v, %s leaves", by, id)
		}
	}
	if first.Placement().Cluster() != 0 {
		t.Error("its member still leads placement")
	}
	out, err := db.Admin().ExplainStore(testContext(t), id)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(out.Lines, "\n"); !strings.Contains(text, "is stopping") {
		t.Errorf("placement says of it: %s", text)
	}
}

// TestLeaveAlone: who is alone gives nothing away, and does not wait.
func TestLeaveAlone(t *testing.T) {
	t.Parallel()
	n := startReady(t, serverConfig(""))
	put(t, "a", "1", n)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Leave(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestLeaveIsBounded: a follower that does not catch up keeps nobody from ending.
func TestLeaveIsBounded(t *testing.T) {
	t.Parallel()
	nodes := threeServers(t)
	put(t, "a", "1", nodes...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := nodes[0].Leave(ctx); err == nil {
		t.Error("it left without time")
	}
}

// TestHealth: health over gRPC follows the node.
func TestHealth(t *testing.T) {
	t.Parallel()
	n := startReady(t, serverConfig(""))
	cc, err := grpc.NewClient(n.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	h := healthv1.NewHealthClient(cc)
	ask := func() healthv1.HealthCheckResponse_ServingStatus {
		t.Helper()
		r, err := h.Check(testContext(t), &healthv1.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetStatus()
	}
	for ctx := testContext(t); ask() != healthv1.HealthCheckResponse_SERVING && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
	}
	watch, err := h.Watch(testContext(t), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", r, err)
	}
	if err := n.Leave(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Fatalf("%v, %v", r, err)
	}
	if got := ask(); got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a node that leaves is %s", got)
	}
	if _, err := h.Check(testContext(t), &healthv1.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
}
