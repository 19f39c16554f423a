package client

import (
	"context"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

const (
	// lockTTL is how long others respect the locks of a transaction after its last sign of life.
	lockTTL = 3 * time.Second
	// keepInterval is how often a transaction whose locks stand gives one: two may be lost.
	keepInterval = lockTTL / 3
	// maxTxnLife is how long the locks of a transaction are kept alive at most: one that was forgotten must not hold others up
	// for ever.
	maxTxnLife = time.Hour
)

// keeper keeps the locks of this client's transactions alive, by heartbeats on their primaries. One task does it for all; it
// rests while there are none.
type keeper struct {
	db   *DB
	wake env.Event

	mu      sync.Mutex
	txns    []*kept
	resting bool
}

// kept is a transaction with locks. Guarded by keeper.mu.
type kept struct {
	start   Timestamp
	primary shard.Key
	due     env.Time // of the next heartbeat
	until   env.Time
	busy    bool // a heartbeat is under way
}

func newKeeper(db *DB) *keeper { return &keeper{db: db, wake: db.env.NewEvent("client-keeper")} }

// add keeps a transaction's locks alive until drop.
func (k *keeper) add(start Timestamp, primary shard.Key) *kept {
	now := k.db.env.Now()
	x := &kept{start: start, primary: primary, due: now.Add(keepInterval), until: now.Add(maxTxnLife)}
	k.mu.Lock()
	k.txns = append(k.txns, x)
	wake := k.resting
	k.resting = false
	k.mu.Unlock()
	if wake {
		k.wake.Wake()
	}
	return x
}

func (k *keeper) drop(x *kept) {
	if x == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, o := range k.txns {
		if o == x {
			k.txns = append(k.txns[:i], k.txns[i+1:]...)
			return
		}
	}
}

func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		due, any := k.look(k.db.env.Now())
		for _, x := range due {
			k.db.start("client-heartbeat", func() { k.beat(ctx, x) })
		}
		if any {
			_ = k.db.env.Sleep(ctx, keepInterval/4)
		} else {
			_ = k.wake.Wait(ctx, 0)
		}
	}
}

// look returns whose heartbeat is due, and whether there is anything to keep.
func (k *keeper) look(now env.Time) (due []*kept, any bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, x := range k.txns {
		if !x.busy && x.due <= now && now < x.until {
			x.busy, x.due = true, now.Add(keepInterval)
			due = append(due, x)
		}
	}
	k.resting = len(k.txns) == 0
	return due, !k.resting
}

// beat sends one heartbeat. What becomes of it the transaction learns when it commits.
func (k *keeper) beat(ctx context.Context, x *kept) {
	e := k.db.begin(ctx, "keep locks alive", x.primary)
	e.end = min(e.end, e.now.Add(lockTTL))
	t := keyTarget(x.primary)
	var a attempt
	_, _ = e.command(&t, &mvcc.Heartbeat{Primary: x.primary, StartTS: x.start, TTLMillis: uint64(lockTTL.Milliseconds())}, &a)
	k.mu.Lock()
	x.busy = false
	k.mu.Unlock()
}
