package placement

import (
	"fmt"

	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

func (s *Server) plan(l *leadership, o *beat.PlanOrder) (*beat.Outcome, error) {
	return nil, invalidf("not yet")
}

// canDrain says why the other stores cannot hold what is on one, "" if they can.
func (s *Server) canDrain(l *leadership, id shard.StoreID) string {
	v := l.view.picture(l.policy.current())
	var bytes, free uint64
	var others []schedule.Store
	sized := true
	for _, st := range v.Stores {
		switch {
		case st.ID == id:
			bytes = st.Bytes
		case st.State == schedule.Up:
			others = append(others, st)
			free += st.Free
			sized = sized && st.Capacity > 0
		}
	}
	if len(others) < v.Rules.Replicas {
		return fmt.Sprintf("%d replicas need as many stores that are up, %d would be left", v.Rules.Replicas, len(others))
	}
	if sized && free < bytes {
		return fmt.Sprintf("it holds about %d bytes, and the others have %d free", bytes, free)
	}
	return ""
}
