package client

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// refusing is a placement of two members: the first does not lead, the second leads and refuses, and says so to whoever
// asks.
type refusing struct {
	slowConn
	asked []string
}

func (p *refusing) Node(context.Context, string) (rpc.NodeInfo, error) {
	return rpc.NodeInfo{Members: []string{"p1", "p2", "p3"}}, nil
}

func (p *refusing) RemoveStore(_ context.Context, addr string, id shard.StoreID) error {
	p.asked = append(p.asked, addr)
	if addr == "p2" {
		return &shard.InvalidError{Why: id.String() + " is up and there is no other store for its replicas"}
	}
	return &shard.NotLeaderError{Shard: shard.MetaID, Leader: shard.Replica{ID: 2, Store: 2}}
}

// TestRefusalOfPlacementDecides: what the leader of placement refuses is refused, whatever the other members say after
// it; asking again until the time is over would hide why.
func TestRefusalOfPlacementDecides(t *testing.T) {
	p := &refusing{}
	p.routes = beat.Routes{Cluster: 7, Stores: fakeStores(3), Routes: []beat.Route{parseRoute("s2 - - 1.1 leader=1 term=5 applied=100")},
		Members: []beat.Member{{Store: 1, Replica: 1, Addr: "p1"}, {Store: 2, Replica: 2, Addr: "p2"}, {Store: 3, Replica: 3, Addr: "p3"}}}
	db, err := Open(t.Context(), "p1", WithWorld(env.Real{}, p))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p.asked = nil
	err = db.Admin().RemoveStore(t.Context(), 3)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no other store") {
		t.Errorf("refused with %v", err)
	}
	if len(p.asked) > 3 {
		t.Errorf("asked %v", p.asked)
	}
}
