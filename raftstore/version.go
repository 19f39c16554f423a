package raftstore

import "github.com/skerrydb/skerry/internal/version"

// HearVersion takes the version of the cluster, which only grows. The caller has written it down: an older program must not
// be started any more on what is proposed from now on.
func (s *Store) HearVersion(v version.Number) {
	for {
		old := s.version.Load()
		if uint64(v) <= old || s.version.CompareAndSwap(old, uint64(v)) {
			return
		}
	}
}

// Version is the version of the cluster, as far as this store heard.
func (s *Store) Version() version.Number { return version.Number(s.version.Load()) }

// evaluation is the version by which entries that this store proposes are evaluated.
//
// INVARIANT: it is none that the cluster's version does not allow yet. A replica that runs an older program would evaluate
// such an entry differently, or has to stop.
func (s *Store) evaluation() uint64 { return s.Version().Eval() }
