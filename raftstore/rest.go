package raftstore

// restTicks lie between two looks at whether a store is written to: ten seconds by default. To write a memtable early costs
// compactions of three to five times its bytes, so a short pause is no rest, see docs/performance.md.
const restTicks = 100

// runRest is the goroutine that tells the engine that time passes. It ends when the store closes.
func (s *Store) runRest() {
	for s.env.Sleep(s.ctx, restTicks*s.opt.Tick) == nil && s.rest() == nil {
	}
}

// rest has a store that rests write its memtables into tables, which takes room on the disk before it gives some back: one whose
// disk is nearly full gives back what it can without. A store that fails says why itself.
func (s *Store) rest() error {
	if !s.enter() {
		return s.stoppedErr()
	}
	defer s.leave()
	if s.space.mark() != Roomy {
		s.engine.ShrinkLog()
		return nil
	}
	return s.engine.Rest()
}
