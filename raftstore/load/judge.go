package load

import (
	"math"
	"time"

	"github.com/skerrydb/skerry/shard"
)

// Policy says when a shard has too much to do.
type Policy struct {
	// Work from which on a shard is split; see beat.Rates. 0: never.
	Work float64
}

// Bounds of splits by load.
const (
	// warmParts: keys are sampled from this part of Policy.Work on.
	warmParts = 2
	// hotTurns is how many looks in a row a shard must be sampled before it is split. What is split begins anew.
	hotTurns = 10
	// maxParts bounds the parts of one split by load: the samples do not say more, and each part is measured anew.
	maxParts = 8
	// fullWork is how much of Policy.Work a part should have at most.
	fullWork = 0.75
	// helped is what the busiest part may have, of the work of the shard that it was cut from, if that helped.
	helped = 0.8
	// A shard that no key relieves rests for restTime, and twice as long each time again, up to maxRest. One whose split
	// was asked for rests for askTime: if it comes to nothing, it is looked at anew.
	restTime = time.Minute
	maxRest  = time.Hour
	askTime  = 20 * time.Second
)

// Judge decides when a shard is to be split by load. The time that it is given only grows.
type Judge struct {
	turns uint8 // looks in a row in which keys were sampled
	// strikes are how many times in a row it was looked at in vain.
	strikes uint8
	// until is when it is looked at again, in nanoseconds on the caller's clock.
	until int64
	// before is the work of the shard that this one was cut from, until it is known whether that helped.
	before float32
}

// Verdict is what a look at a shard says.
type Verdict struct {
	// Sample: keep the keys of some of its requests, or go on with that.
	Sample bool
	// Cut: it is to be split here.
	Cut []shard.Key
	// Rests is set if it has too much to do and nothing can be done, and says for how long that is taken for given.
	Rests time.Duration
	Why   string
}

// Look decides after a turn of the meter. samples are those that were kept so far.
func (j *Judge) Look(p Policy, m *Meter, samples []Sample, rng shard.Range, now int64) Verdict {
	work := m.rates.Work()
	if p.Work <= 0 || now < j.until || work < p.Work/warmParts {
		j.turns = 0
		if m.Settled() && work < p.Work/warmParts {
			j.before, j.strikes = 0, 0
		}
		return Verdict{}
	}
	j.turns = min(j.turns+1, hotTurns)
	if j.turns < hotTurns || work < p.Work || len(samples) < minSamples {
		return Verdict{Sample: true}
	}
	j.turns = 0
	if before := float64(j.before); before > 0 {
		j.before = 0
		if work > helped*before {
			return j.rest(now, "it was split, and one part has all the load again")
		}
		j.strikes = 0
	}
	cut := Cuts(samples, rng, int(min(maxParts, max(2, math.Ceil(work/(fullWork*p.Work))))))
	if len(cut) == 0 {
		return j.rest(now, "no key would part its requests")
	}
	j.until = now + int64(askTime)
	return Verdict{Cut: cut}
}

func (j *Judge) rest(now int64, why string) Verdict {
	rest := min(restTime<<min(j.strikes, 10), maxRest)
	j.strikes = min(j.strikes+1, 10)
	j.until = now + int64(rest)
	return Verdict{Rests: rest, Why: why}
}

// Part is the meter with which a part of a split shard begins: it knows no rates, and what the whole had to do. Of the left
// one placement holds what it was told of the whole, of the others nothing.
func (m *Meter) Part(left bool) *Meter {
	p := &Meter{Judge: Judge{strikes: m.Judge.strikes, before: float32(m.rates.Work())}}
	if left {
		p.Told = m.Told
	}
	return p
}
