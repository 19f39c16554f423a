// Package load decides from what a shard is asked for whether it should be split, and where: a meter of its rates, the
// keys of some of its requests, and a judge over both. All of it is pure; raftstore counts and samples.
//
// The ideas are those of TiKV's load-base split and CockroachDB's load splitter: sample keys only while a shard is busy,
// and choose a key that parts the requests evenly and that few scans cross. Writes count here as well.
package load

import "github.com/skerrydb/skerry/shard/beat"

// Count is what a shard was asked for since the last look.
type Count struct {
	Reads, ReadBytes, Writes, WriteBytes uint64
}

// Meter knows the rates of one shard: the mean of the looks since it began, and later one in which a look counts an eighth.
// It exists only while there is something to know.
type Meter struct {
	rates beat.Rates
	turns uint8 // looks, up to meterTurns
	// Told is what placement was last told.
	Told  beat.Rates
	Judge Judge
}

const (
	// meterTurns is how many looks back the rates reach, about.
	meterTurns = 8
	// settleTurns is how many looks make a rate that is worth telling: a leader that has just begun knows nothing yet,
	// and what was known of the shard before is better.
	settleTurns = 5
	// idleWork is so little that there is nothing to know.
	idleWork = 0.1
	// A rate is told again when it is other than it was told by a quarter, and by tellWork.
	tellParts = 4
	tellWork  = 16
)

// Turn takes one look: what was counted in so many seconds.
func (m *Meter) Turn(c Count, seconds float64) {
	m.turns = min(m.turns+1, meterTurns)
	part := 1 / float32(m.turns)
	move := func(rate *float32, n uint64) { *rate += (float32(float64(n)/seconds) - *rate) * part }
	move(&m.rates.Reads, c.Reads)
	move(&m.rates.Writes, c.Writes)
	move(&m.rates.ReadBytes, c.ReadBytes)
	move(&m.rates.WriteBytes, c.WriteBytes)
}

// Rates are those of now.
func (m *Meter) Rates() beat.Rates { return m.rates }

// Settled reports whether the rates are worth telling.
func (m *Meter) Settled() bool { return m.turns >= settleTurns }

// Idle reports whether the shard is not asked for anything any more.
func (m *Meter) Idle() bool { return m.turns == meterTurns && m.rates.Work() < idleWork }

// News reports whether placement should be told.
func (m *Meter) News() bool {
	if !m.Settled() {
		return false
	}
	moved := dist(m.rates.Reads, m.Told.Reads) + dist(m.rates.Writes, m.Told.Writes) +
		(dist(m.rates.ReadBytes, m.Told.ReadBytes)+dist(m.rates.WriteBytes, m.Told.WriteBytes))/beat.WorkBytes
	return moved > max(m.Told.Work()/tellParts, tellWork)
}

func dist(a, b float32) float64 { return float64(max(a, b) - min(a, b)) }
