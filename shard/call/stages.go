package call

import (
	"math"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
)

// Stage is one of the things that an operation spends its time in a store with. An operation is in one stage at a time, so
// its stages together are all of its time there. They are part of the wire format.
type Stage uint8

// The stages.
const (
	// StageQueue waits for the shard's worker, for room in the shard's log, or for a reader.
	StageQueue Stage = iota
	// StageLock waits for another transaction to give a lock back.
	StageLock
	// StageTimestamp waits for a timestamp of placement's; or, reading at a timestamp, for what may commit below it.
	StageTimestamp
	// StageFsync is a write that is appended to the leader's own log, which is synced.
	StageFsync
	// StageReplication waits, with the entry on the leader's disk, until a majority has it on theirs. Entries leave for the
	// others before they are on the leader's own: what it waits for them longer than for itself counts, and no more.
	StageReplication
	// StageApply executes the command and makes its effect visible.
	StageApply
	// StageConfirm is a read for which a leader has itself confirmed, or a follower asks its leader: there was no lease.
	StageConfirm
	// StageCatchUp waits until everything is applied that the read must show.
	StageCatchUp
	// StageRead reads.
	StageRead

	NumStages = iota
)

var stageNames = [NumStages]string{"queue", "lock", "timestamp", "fsync", "replication", "apply", "confirm", "catchup", "read"}

func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "unknown"
}

// Stages is how long an operation was in each stage.
type Stages [NumStages]time.Duration

// Total is the time in the store.
func (s *Stages) Total() (sum time.Duration) {
	for _, d := range s {
		sum += d
	}
	return sum
}

// append appends the stages in their order, in microseconds.
func (s *Stages) append(b []byte) []byte {
	for _, d := range s {
		b = codec.AppendUvarint(b, uint64(max(d, 0)/time.Microsecond))
	}
	return b
}

// readStages reads what append wrote. A newer program may know more stages, which are left out, an older one fewer.
func readStages(b []byte) (*Stages, error) {
	d, out := codec.Decoder{B: b}, new(Stages)
	for i := 0; len(d.B) > 0 && d.Err() == nil; i++ {
		us := d.Uvarint()
		if us > math.MaxInt64/uint64(time.Microsecond)/NumStages {
			fail(&d)
		} else if i < NumStages {
			out[i] = time.Duration(us) * time.Microsecond
		}
	}
	return out, d.Err()
}
