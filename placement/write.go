package placement

import (
	"context"
	"errors"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// write executes a command on placement's records that is built on what this leadership holds of them in memory.
//
// INVARIANT: what a leadership holds of a record is what the record holds, or the leadership is over. A write whose
// outcome is not known, or whose condition failed, leaves the two apart for good if the term goes on: every later
// condition would fail as well. So the leadership ends, and step loads the records again, in the same term if it still
// leads.
//
// INVARIANT: so does one that began while a write of the one before it was under way, and may not have read what that put.
// Nobody has been told of it yet.
func (s *Server) write(ctx context.Context, l *leadership, cmd *raw.Command) error {
	res, err := s.meta.Commit(ctx, cmd)
	var ambiguous *shard.AmbiguousError
	switch {
	case errors.As(err, &ambiguous):
		s.reload(l, "the outcome of a write is not known")
	case err == nil && res.Failed >= 0:
		err = errRaced
		s.reload(l, "a record is not what it was when it was read")
	case err == nil:
		s.wrote(l)
	}
	return err
}

// wrote has records read again that a leadership wrote after it had ended.
func (s *Server) wrote(l *leadership) {
	s.mu.Lock()
	cur, stray := s.lead, l.serves && s.lead != l
	if stray {
		s.strays++
	}
	s.mu.Unlock()
	if stray && cur != nil {
		s.reload(cur, "the leadership before it has written")
	}
}

// reload ends a leadership, so that its records are read again.
func (s *Server) reload(l *leadership, why string) {
	s.mu.Lock()
	mine := s.lead == l
	if mine {
		s.lead = nil
	}
	s.mu.Unlock()
	if mine {
		s.log.Info("placement reads its records again", "term", l.term, "because", why)
		l.view.end()
	}
}
