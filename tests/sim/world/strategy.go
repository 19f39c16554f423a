package world

import "math/rand/v2"

// Strategy decides which of the tasks that can run does. All draw from the world's seed.
type Strategy interface {
	begin(r *rand.Rand)
	// born is told of every new task.
	born(t *Task)
	// pick chooses from tasks in the order in which they became runnable. There is at least one.
	pick(runnable []*Task) int
}

// Uniform picks any.
func Uniform() Strategy { return &uniform{} }

type uniform struct{ rng *rand.Rand }

func (s *uniform) begin(r *rand.Rand) { s.rng = r }
func (s *uniform) born(*Task)         {}
func (s *uniform) pick(runnable []*Task) int {
	if len(runnable) == 1 {
		return 0
	}
	return s.rng.IntN(len(runnable))
}

// PCT gives every task a random priority and runs the highest; at depth random steps among the next length ones, the
// one that would run falls to the lowest priority. It finds bugs that need few orderings but at far places (Burckhardt
// et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010). So that nobody starves, the
// change points go on for ever at the same density.
func PCT(depth, length int) Strategy { return &pct{depth: depth, length: max(length, 1)} }

type pct struct {
	rng           *rand.Rand
	depth, length int
	low           uint64
}

func (s *pct) begin(r *rand.Rand) { s.rng, s.low = r, 1<<32 }
func (s *pct) born(t *Task)       { t.priority = 1<<32 + s.rng.Uint64()>>32 }
func (s *pct) pick(runnable []*Task) int {
	best := 0
	for i, t := range runnable {
		if t.priority > runnable[best].priority {
			best = i
		}
	}
	if len(runnable) > 1 && s.rng.IntN(s.length) < s.depth {
		s.low--
		runnable[best].priority = s.low
	}
	return best
}

// DelayBounded runs tasks in the order in which they became runnable, but for a few deviations: with probability
// deviations/length a step passes over the first task (Emmi, Qadeer, Rakamarić, "Delay-Bounded Scheduling", 2011).
func DelayBounded(deviations, length int) Strategy {
	return &delayBounded{deviations: deviations, length: max(length, 1)}
}

type delayBounded struct {
	rng                *rand.Rand
	deviations, length int
}

func (s *delayBounded) begin(r *rand.Rand) { s.rng = r }
func (s *delayBounded) born(*Task)         {}
func (s *delayBounded) pick(runnable []*Task) int {
	if len(runnable) > 1 && s.rng.IntN(s.length) < s.deviations {
		return 1
	}
	return 0
}

// Mix changes from one strategy to the next every so many steps.
func Mix(steps int, of ...Strategy) Strategy { return &mix{every: max(steps, 1), of: of} }

type mix struct {
	every, steps int
	of           []Strategy
}

func (s *mix) begin(r *rand.Rand) {
	for _, o := range s.of {
		o.begin(r)
	}
}

func (s *mix) born(t *Task) {
	for _, o := range s.of {
		o.born(t)
	}
}

func (s *mix) pick(runnable []*Task) int {
	s.steps++
	return s.of[s.steps/s.every%len(s.of)].pick(runnable)
}
