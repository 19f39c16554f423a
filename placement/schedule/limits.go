package schedule

import "time"

// Limits bound what Propose begins at once. A field that is zero takes the value of DefaultLimits.
type Limits struct {
	// Receiving is how many snapshots and learners a store takes at once. Balancing uses half of it, so that a repair
	// never waits behind a move that could as well be made later.
	Receiving int
	// Sending is how many snapshots a store sends at once. The leader of a shard is the sender.
	Sending int
	// Leaders is how many leaderships one call takes from a store, and how many it gives to one.
	Leaders int
	// ReserveFraction and ReserveBytes say when a disk is nearly full: when less than the smaller of ReserveFraction of
	// its capacity and ReserveBytes would be free. The engine needs room to compact, which does not grow without end
	// with the disk.
	ReserveFraction float64
	ReserveBytes    uint64
	// ToleranceFraction and ToleranceShards say how far a store may be from the mean before something is moved to or
	// from it: by the larger of ToleranceFraction of the mean and ToleranceShards shards of average weight.
	ToleranceFraction float64
	ToleranceShards   float64
	// LeaderToleranceFraction and LeaderTolerance say the same of the number of leaders.
	LeaderToleranceFraction float64
	LeaderTolerance         float64
	// WorkToleranceFraction and WorkTolerance say the same of what a store has to do in a second, above the mean.
	WorkToleranceFraction float64
	WorkTolerance         float64
	// Cooldown is how long a replica that was moved to balance is not moved on to balance, nor another to its old place.
	Cooldown time.Duration
}

// DefaultLimits are what Propose uses where nothing else is said.
func DefaultLimits() Limits {
	return Limits{Receiving: 4, Sending: 4, Leaders: 8, ReserveFraction: 0.1, ReserveBytes: 64 << 30,
		ToleranceFraction: 0.03, ToleranceShards: 2, LeaderToleranceFraction: 0.05, LeaderTolerance: 2,
		WorkToleranceFraction: 0.15, WorkTolerance: 500,
		Cooldown: 10 * time.Minute}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orFloat := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	or(&l.Receiving, d.Receiving)
	or(&l.Sending, d.Sending)
	or(&l.Leaders, d.Leaders)
	orFloat(&l.ReserveFraction, d.ReserveFraction)
	orFloat(&l.ToleranceFraction, d.ToleranceFraction)
	orFloat(&l.ToleranceShards, d.ToleranceShards)
	orFloat(&l.LeaderToleranceFraction, d.LeaderToleranceFraction)
	orFloat(&l.LeaderTolerance, d.LeaderTolerance)
	orFloat(&l.WorkToleranceFraction, d.WorkToleranceFraction)
	orFloat(&l.WorkTolerance, d.WorkTolerance)
	if l.ReserveBytes == 0 {
		l.ReserveBytes = d.ReserveBytes
	}
	if l.Cooldown == 0 {
		l.Cooldown = d.Cooldown
	}
	return l
}

// balanceReceiving is the part of Receiving that balancing may fill.
func (l *Limits) balanceReceiving() int { return (l.Receiving + 1) / 2 }

// reserve is how many bytes of a disk stay free.
func (l *Limits) reserve(capacity uint64) uint64 {
	return min(uint64(l.ReserveFraction*float64(capacity)), l.ReserveBytes)
}

// What one call of Propose costs at most.
const (
	// scanShards is how many shards a call examines for something to repair: about a millisecond.
	scanShards = 8192
	// backlogShards is how many shards of which something is known, touched or waiting, a call examines besides.
	backlogShards = 2048
	// balanceShards is how many shards a call examines for something to balance.
	balanceShards = 4096
	// placeLooks is how many times a call looks at one store as a place for one replica, and as often again to
	// balance. With a thousand stores these are 256 replicas.
	placeLooks = 256 << 10
	// waitsInRow is how many shards in succession may have to wait for a limit before a call gives up: what holds them
	// back most likely holds back the next as well.
	waitsInRow = 64
	// maxBacklog bounds the ids that a Scheduler keeps. What falls off is found again in the next round.
	maxBacklog = 64 << 10
)
