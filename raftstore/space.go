package raftstore

import (
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// A store whose disk fills up must not get to the end of it: a write that fails stops the store for good, and one that is
// full cannot even compact what was deleted. So there are two marks. Below the low one it takes no commands any more that
// add data, but everything by which there will be more room: deletes, and moves of shards to other stores. Below the
// reserve, which is for the engine's own work, it does not take such entries from other leaders either, nor snapshots: it
// falls behind, as if it were away, and its shards go on without it.
//
// So that shards of which most replicas are on full disks do not come to a halt with an entry that cannot be replicated,
// stores that are low tell the others, and a leader adds nothing while fewer than a majority of the voters have room.

// Level is how much room a store's disk has.
type Level int32

// The levels.
const (
	Roomy   Level = 0
	Low     Level = 1
	Reserve Level = 2
)

func (l Level) String() string {
	switch l {
	case Roomy:
		return "roomy"
	case Low:
		return "low"
	}
	return "reserve"
}

// Defaults of the low mark: this part of the disk, within these bounds. It is always below what placement keeps free
// (a tenth of the disk, at most 64 GiB), so that a store stops to receive shards before it stops to take writes.
const (
	lowPart     = 20       // a twentieth
	lowMinBytes = 2 << 30  // small disks: a tenth of the disk, at most this
	lowMaxBytes = 32 << 30 // what the engine needs to compact does not grow without end with the disk
	// reservePart of the low mark is the reserve.
	reservePart = 4
	// backPart is how much more than the low mark must be free before the store takes data again, as a part of it:
	// otherwise every compaction would turn it to and fro.
	backPart = 4
)

// lowMark is the low mark of a disk, where nobody chose one.
func lowMark(total uint64) uint64 {
	return max(min(total/lowPart, lowMaxBytes), min(total/10, lowMinBytes))
}

// levelOf is the level of a disk after was. low zero: the disk is never low.
func levelOf(was Level, free, low uint64) Level {
	reserve := low / reservePart
	switch {
	case free < reserve:
		return Reserve
	case was == Reserve && free < reserve+reserve/backPart:
		return Reserve
	case free < low:
		return Low
	case was != Roomy && free < low+low/backPart:
		return Low
	}
	return Roomy
}

// Room is what a store knows of its disk. Zero: it cannot tell.
type Room struct {
	Level           Level
	Free, Low       uint64 // bytes; below Low nothing is added
	RefusedCommands uint64
}

// space watches the disk, and what the other stores say of theirs.
type space struct {
	store *Store
	level atomic.Int32
	free  atomic.Uint64
	low   atomic.Uint64
	// others is how many other stores are low, so that admission need not ask for each write.
	others  atomic.Int32
	refused atomic.Uint64
}

// spaceTicks is how often the disk is looked at. A disk of 500 MB/s fills half a gigabyte meanwhile, a sixth of the way
// between the two marks.
const spaceTicks = 10

// run is the space goroutine.
func (sp *space) run() {
	s := sp.store
	for s.env.Sleep(s.ctx, spaceTicks*s.opt.Tick) == nil {
		s.env.Call("free space", sp.look)
		sp.tell()
	}
}

// look asks the filesystem. One that cannot tell has room.
func (sp *space) look() {
	s := sp.store
	if s.opt.LowSpace < 0 || !s.enter() {
		return
	}
	defer s.leave()
	free, total, ok := s.engine.Free()
	if !ok {
		sp.level.Store(int32(Roomy))
		sp.free.Store(0)
		sp.low.Store(0)
		return
	}
	low := uint64(s.opt.LowSpace)
	if low == 0 {
		low = lowMark(total)
	}
	was := Level(sp.level.Load())
	now := levelOf(was, free, low)
	sp.free.Store(free)
	sp.low.Store(low)
	sp.level.Store(int32(now))
	if was != now {
		s.logger.Warn("room on the disk", "level", now.String(), "was", was.String(), "free", free, "low", low)
	}
}

// mark is the level as of the last look.
func (sp *space) mark() Level { return Level(sp.level.Load()) }

// refuse is why a shard takes no more data now, nil if it does.
//
// INVARIANT: a leader proposes what adds data only while its own disk and those of a majority of the voters have room, so
// that no such entry waits for a quorum that will not take it, with deletes behind it.
func (r *replica) refuseGrowth() error {
	sp := &r.w.store.space
	if sp.mark() != Roomy {
		return sp.full()
	}
	if sp.others.Load() == 0 {
		return nil
	}
	voters, room := 0, 0
	var low shard.StoreID
	for _, p := range r.machine.Desc.Replicas {
		if p.Role == shard.Learner {
			continue
		}
		voters++
		if r.w.store.live.isLow(p.Store) {
			low = p.Store
		} else {
			room++
		}
	}
	if room > voters/2 || low == 0 {
		return nil
	}
	sp.refused.Add(1)
	return &shard.DiskFullError{Store: low}
}

// full is this store's own refusal.
func (sp *space) full() error {
	sp.refused.Add(1)
	return &shard.DiskFullError{Store: sp.store.id, Free: sp.free.Load(), Low: sp.low.Load()}
}

// dropsGrowth reports whether a message brings entries for which there is no room left. It is lost, as others are; what
// comes after it is refused by raft, and its leader begins again from what is here.
func (w *worker) dropsGrowth(m *raftpb.Message) bool {
	return len(m.GetEntries()) > 0 && w.store.space.mark() == Reserve && entriesGrow(m.GetEntries())
}

// refuseSnapshot is why a snapshot is not taken now, nil if it is: below the low mark no new replica, below the reserve
// none at all.
func (w *worker) refuseSnapshot(r *replica) error {
	sp := &w.store.space
	if m := sp.mark(); m == Reserve || m == Low && !r.born() {
		return &shard.ServerBusyError{Store: w.store.id, Why: "the disk is nearly full", Wait: time.Second}
	}
	return nil
}

// tell says to the others that this store is low, again and again while it is. A store of an older version drops the frame.
func (sp *space) tell() {
	s := sp.store
	if sp.mark() == Roomy {
		return
	}
	for _, id := range s.live.known() {
		s.send(id, true, append(codec.AppendUvarint(nil, uint64(sp.mark())), frameSpace))
	}
}

// hearSpace takes another store's word.
func (l *liveness) hearSpace(from shard.StoreID, b []byte) error {
	d := codec.Decoder{B: b}
	low := Level(d.Uvarint()) != Roomy
	if err := d.Done(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.peers[from]; p != nil && low {
		now := l.store.env.Now()
		p.lowUntil = now.Add(lowWordTicks * l.store.opt.Tick)
		l.countLowLocked(now)
	}
	return nil
}

// lowWordTicks is how long a store that said that it is low is believed: two more of its words may be lost.
const lowWordTicks = 3*spaceTicks + 5

// countLowLocked counts the stores that are low.
func (l *liveness) countLowLocked(now env.Time) {
	n := int32(0)
	for _, p := range l.peers { // in any order: they are counted
		if p.lowUntil > now {
			n++
		}
	}
	l.store.space.others.Store(n)
}

// isLow reports whether another store said lately that its disk is nearly full.
func (l *liveness) isLow(id shard.StoreID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[id]
	return p != nil && p.lowUntil > l.store.env.Now()
}

// Room is how much room this store's disk has.
func (s *Store) Room() Room {
	sp := &s.space
	return Room{Level: Level(sp.level.Load()), Free: sp.free.Load(), Low: sp.low.Load(), RefusedCommands: sp.refused.Load()}
}
