package placement

import (
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

func (s *Server) plan(l *leadership, o *beat.PlanOrder) (*beat.Outcome, error) {
	return nil, invalidf("not yet")
}

func (s *Server) canDrain(l *leadership, id shard.StoreID) string { return "" }
