package history

import (
	"fmt"
	"slices"
	"sync"
)

// Set is what clients know of a set into which each element is written at most once. Safe for concurrent use.
type Set struct {
	mu    sync.Mutex
	fates map[string]Fate
	seen  map[string]bool
	gone  bool // the set was deleted: only open elements may still appear
}

// NewSet begins the history of an empty set.
func NewSet() *Set { return &Set{fates: make(map[string]Fate), seen: make(map[string]bool)} }

// Try notes that an element is about to be written.
func (s *Set) Try(element string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fates[element] = Open
}

// Tell notes what became of it.
func (s *Set) Tell(element string, f Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fates[element] = f
}

// Acknowledged are the elements that every read from now on must hold.
func (s *Set) Acknowledged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for e, f := range s.fates {
		if f == Done && !s.gone {
			out = append(out, e)
		}
	}
	return out
}

// Gone notes that the set was deleted after all writers had ended, and the deletion was acknowledged.
func (s *Set) Gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
}

// Check says why a read that began after must was asked for (Acknowledged) cannot have returned got, in this order.
func (s *Set) Check(must, got []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, e := range got {
		if i > 0 && got[i-1] >= e {
			return fmt.Errorf("element %s comes after %s", e, got[i-1])
		}
		f, tried := s.fates[e]
		switch {
		case !tried:
			return fmt.Errorf("element %s is there, and nobody wrote it", e)
		case s.gone && f == Done:
			return fmt.Errorf("element %s is there after the set was deleted", e)
		}
		s.seen[e] = true
	}
	for _, e := range must {
		if _, ok := slices.BinarySearch(got, e); !ok {
			return fmt.Errorf("element %s was acknowledged and is not there (%d are, of %d)", e, len(got), len(must))
		}
	}
	return s.checkRefused()
}

// checkRefused finds elements that were seen although their write never takes effect. The caller holds mu.
func (s *Set) checkRefused() error {
	var bad []string
	for e := range s.seen {
		if s.fates[e] == Refused {
			bad = append(bad, e)
		}
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return fmt.Errorf("elements %v were seen, and their writes were refused", bad)
	}
	return nil
}
