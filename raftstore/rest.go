package raftstore

// restTicks lie between two looks at whether a store is written to: two seconds by default.
const restTicks = 20

// runRest is the goroutine that tells the engine that time passes. It ends when the store closes.
func (s *Store) runRest() {
	for s.env.Sleep(s.ctx, restTicks*s.opt.Tick) == nil && s.rest() == nil {
	}
}

// rest has a store that rests write its memtables into tables, which takes room on the disk before it gives some back. A store
// that fails says why itself.
func (s *Store) rest() error {
	if !s.enter() {
		return s.stoppedErr()
	}
	defer s.leave()
	if s.space.mark() != Roomy {
		return nil
	}
	return s.engine.Rest()
}
