package raftstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// Liveness is between stores, not shards: one small heartbeat per pair of stores, whatever the number of shards
// (CockroachDB's store liveness). It is what lets idle shards sleep.
const (
	// liveTicks: a store is suspected after an election timeout, so two heartbeats in a row may be lost.
	liveTicks = 3
	// wakeBatch and wakeInterval pace the waking of shards, so that a dead store does not start all elections at once.
	wakeBatch    = 256
	wakeInterval = 50 * time.Millisecond
	// A sleeping leader wakes after backstopLeader, a follower after backstopFollower without contact: whatever edge
	// was missed, this long is the harm.
	backstopLeader   = 5 * time.Minute
	backstopFollower = 12 * time.Minute
	backstopInterval = 10 * time.Second
	// backstopLeaderless is how many election timeouts the other replicas of a new shard sleep while one elects itself, if nobody
	// wakes them. That a store is suspected wakes those that wait for it sooner.
	backstopLeaderless = 10
)

// liveness knows which other stores live, and wakes the shards that must know when one does not.
type liveness struct {
	store       *Store
	incarnation uint64 // of this store; grows at each start

	mu     sync.Mutex
	trips  trips
	peers  map[shard.StoreID]*otherStore
	queue  []shard.ID // to wake, see wakeBatch; each shard at most once
	queued map[shard.ID]struct{}
	wake   env.Event // there is something in queue
}

// otherStore is what is known of another store. It is live while its heartbeats come.
type otherStore struct {
	incarnation uint64
	heard       env.Time
	lastSync    time.Duration // how long ago it finished a sync, as it said
	live        bool
	lowUntil    env.Time // its disk is nearly full, as it said, see space.go
	way         way
}

const incarnationRecord = "incarnation"

func newLiveness(s *Store) (*liveness, error) {
	l := &liveness{store: s, peers: make(map[shard.StoreID]*otherStore), queued: make(map[shard.ID]struct{}),
		wake: s.env.NewEvent("liveness")}
	b, ok, err := s.engine.Record(incarnationRecord)
	if err != nil {
		return nil, err
	}
	if ok {
		d := codec.Decoder{B: b}
		l.incarnation = d.Uvarint()
		if err := d.Done(); err != nil {
			return nil, fmt.Errorf("incarnation record: %w", err)
		}
	}
	l.incarnation++
	l.trips.begin(l.incarnation)
	return l, s.engine.SetRecord(incarnationRecord, codec.AppendUvarint(nil, l.incarnation))
}

// run is the liveness goroutine: it sends heartbeats, suspects, and wakes.
func (l *liveness) run(ctx context.Context) {
	s := l.store
	interval := liveTicks * s.opt.Tick
	var sent, swept env.Time
	// Jittered, so that the stores that miss the same one do not wake its shards in step.
	pause := min(wakeInterval, interval)
	jitter := func() time.Duration { return time.Duration(s.env.Rand() % uint64(pause/4)) }
	for {
		if l.wakeSome() {
			if s.env.Sleep(ctx, pause-pause/8+jitter()) != nil {
				return
			}
		} else if err := l.wake.Wait(ctx, l.untilSuspicion(s.env.Now(), interval)); err != nil && ctx.Err() != nil {
			return
		}
		now := s.env.Now()
		if now.Sub(sent) >= interval {
			sent = now
			l.beat(now)
		}
		l.suspect(now)
		if now.Sub(swept) >= backstopInterval {
			swept = now
			for _, w := range s.workers {
				w.task(w.sweepSleepers)
			}
		}
	}
}

// know makes the stores of a shard's replicas known as stores to watch.
func (l *liveness) know(replicas []shard.Replica) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range replicas {
		if r.Store != l.store.id && l.peers[r.Store] == nil {
			// Live until proven otherwise: it gets one election timeout to be heard.
			now := l.store.env.Now()
			l.peers[r.Store] = &otherStore{heard: now, live: true, way: way{answered: now}}
		}
	}
}

// beat sends this store's heartbeat to all others.
func (l *liveness) beat(now env.Time) {
	head := codec.AppendUvarint(nil, l.incarnation)
	head = codec.AppendUvarint(head, uint64(now.Sub(l.store.sync.finished())))
	l.mu.Lock()
	seq := l.trips.send(now)
	to := slices.Sorted(maps.Keys(l.peers))
	frames := make([][]byte, len(to))
	for i, id := range to {
		frames[i] = append(l.peers[id].way.echo(slices.Clone(head), seq, now), frameLive)
	}
	l.mu.Unlock()
	for i, id := range to {
		l.store.send(id, true, frames[i])
	}
}

// receive takes another store's heartbeat.
func (l *liveness) receive(from shard.StoreID, b []byte) error {
	d := codec.Decoder{B: b}
	inc, sync := d.Uvarint(), time.Duration(d.Uvarint())
	seq, echo, kept := d.Uvarint(), d.Uvarint(), time.Duration(d.Uvarint())
	if err := d.Done(); err != nil {
		return err
	}
	now := l.store.env.Now()
	l.mu.Lock()
	p := l.peers[from]
	if p == nil {
		p = &otherStore{live: true, way: way{answered: now}}
		l.peers[from] = p
	}
	if inc < p.incarnation {
		l.mu.Unlock()
		return nil // sent by an earlier life
	}
	begun := inc != p.incarnation
	restarted := begun && p.incarnation != 0
	back := !p.live
	p.incarnation, p.heard, p.lastSync, p.live = inc, now, sync, true
	p.way.heard(&l.trips, seq, echo, kept, now)
	l.mu.Unlock()
	if back || begun {
		l.store.opt.Transport.Reached(from)
	}
	if restarted {
		l.wakeLedBy(from)
	}
	if back || restarted {
		l.wakeLeadersWithout(from)
	}
	return nil
}

// suspect finds the stores that were not heard for an election timeout.
func (l *liveness) suspect(now env.Time) {
	var gone []shard.StoreID
	l.mu.Lock()
	for _, id := range slices.Sorted(maps.Keys(l.peers)) {
		if p := l.peers[id]; p.live && now.Sub(p.heard) > l.store.opt.electionTimeout() {
			p.live = false
			gone = append(gone, id)
		}
	}
	l.countLowLocked(now)
	l.mu.Unlock()
	for _, id := range gone {
		l.store.logger.Warn("another store is suspected", "other", id)
		l.wakeLedBy(id)
	}
}

// isLive reports whether a store is live, and its incarnation. This store is always live to itself.
func (l *liveness) isLive(id shard.StoreID) (live bool, incarnation uint64) {
	if id == l.store.id {
		return true, l.incarnation
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.peers[id]; p != nil {
		return p.live, p.incarnation
	}
	return false, 0
}

// wakeLedBy wakes every shard that this store believes to be led there, and those without a leader.
func (l *liveness) wakeLedBy(id shard.StoreID) {
	for _, w := range l.store.workers {
		w.task(func() {
			for _, sid := range slices.Sorted(maps.Keys(w.replicas)) {
				if lead := w.replicas[sid].leader(); lead.Store == id || lead.ID == 0 {
					l.queueWake(sid)
				}
			}
		})
	}
}

// wakeLeadersWithout wakes the leaders that went to sleep while a store was away: its replicas must catch up.
func (l *liveness) wakeLeadersWithout(id shard.StoreID) {
	for _, w := range l.store.workers {
		w.task(func() {
			for _, sid := range slices.Sorted(maps.Keys(w.replicas)) {
				r := w.replicas[sid]
				if r.group.Leading() && r.asleep() && slices.Contains(r.sleep.without, id) {
					l.queueWake(sid)
				}
			}
		})
	}
}

func (l *liveness) queueWake(id shard.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.queued[id]; !ok {
		l.queued[id] = struct{}{}
		l.queue = append(l.queue, id)
		l.wake.Wake()
	}
}

// wakeSome wakes the next few of the queue, and reports whether there were any.
func (l *liveness) wakeSome() bool {
	l.mu.Lock()
	n := min(len(l.queue), wakeBatch)
	batch := l.queue[:n]
	l.queue = l.queue[n:]
	for _, id := range batch {
		delete(l.queued, id)
	}
	if len(l.queue) == 0 {
		l.queue, l.queued = nil, make(map[shard.ID]struct{})
	}
	l.mu.Unlock()
	for _, id := range batch {
		w := l.store.worker(id)
		w.task(func() {
			if r := w.replicas[id]; r != nil {
				r.wakeUp(wakeQueue)
				r.maybeElect()
			}
		})
	}
	return n > 0
}

// known are all stores that this one has to do with, by id.
func (l *liveness) known() []shard.StoreID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.peers))
}
