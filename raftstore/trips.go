package raftstore

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard/beat"
)

// How long messages between stores are on the way is measured with the heartbeats that they send each other anyway: each
// carries a number, the last number that was heard from the receiver, and for how long that was kept. Placement compares
// the stores: what is slow against the others is one store's network, not everybody's.

const (
	// keptSends is how many heartbeats back an echo may reach: ten seconds of them.
	keptSends = 32
	// tripParts is the weight of one trip in the average.
	tripParts = 2
	// missedBeats without an answer are no news; what comes beyond counts as time on the way.
	missedBeats = 4
	// maxTrips bounds those of one report. In a cluster with more stores each report has others.
	maxTrips = 64
)

// trips remembers when heartbeats were sent. Guarded by liveness.mu, as way is.
type trips struct {
	seq  uint64 // of the last one; begins anew above all that an earlier life sent
	sent [keptSends]env.Time
	next int // where the next report begins
}

func (t *trips) begin(incarnation uint64) { t.seq = incarnation << 32 }

// send numbers the heartbeats that leave now.
func (t *trips) send(now env.Time) uint64 {
	t.seq++
	t.sent[t.seq%keptSends] = now
	return t.seq
}

// way is what is known of the way to another store and back.
type way struct {
	seq      uint64 // of its last heartbeat
	seqAt    env.Time
	echoed   uint64        // the last of ours that it heard
	answered env.Time      // when its last answer to a new one came
	trip     time.Duration // there and back, about; 0: not known
}

// echo writes the part of a heartbeat that measures.
func (w *way) echo(b []byte, seq uint64, now env.Time) []byte {
	b = codec.AppendUvarint(b, seq)
	b = codec.AppendUvarint(b, w.seq)
	return codec.AppendUvarint(b, uint64(max(0, now.Sub(w.seqAt))))
}

// heard takes the part of another store's heartbeat that measures: its number, the last of ours that it heard, and for how
// long it has kept that.
func (w *way) heard(t *trips, seq, echo uint64, kept time.Duration, now env.Time) {
	if seq > w.seq {
		w.seq, w.seqAt = seq, now
	}
	if echo <= w.echoed || echo > t.seq || t.seq-echo >= keptSends || t.sent[echo%keptSends] == 0 {
		return
	}
	trip := max(now.Sub(t.sent[echo%keptSends])-kept, 1)
	if w.trip == 0 {
		w.trip = trip
	}
	w.trip += (trip - w.trip) / tripParts
	w.echoed, w.answered = echo, now
}

// now is how long a message and its answer take, or for how long there was no answer.
func (w *way) now(now env.Time, interval time.Duration) time.Duration {
	return max(w.trip, now.Sub(w.answered)-missedBeats*interval)
}

// tell adds the ways to other stores to a report.
func (l *liveness) tell(out *beat.Report) {
	now, interval := l.store.env.Now(), liveTicks*l.store.opt.Tick
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := slices.Sorted(maps.Keys(l.peers))
	for i := range min(len(ids), maxTrips) {
		id := ids[(l.trips.next+i)%len(ids)]
		if d := l.peers[id].way.now(now, interval); d > 0 {
			out.Trips = append(out.Trips, beat.Trip{Store: id, Micros: uint64(d.Microseconds())})
		}
	}
	if len(ids) > maxTrips {
		l.trips.next = (l.trips.next + maxTrips) % len(ids)
	}
	slices.SortFunc(out.Trips, func(a, b beat.Trip) int { return cmp.Compare(a.Store, b.Store) })
}
