package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// A store never asks another shard about a lock, so what must happen between the two numbers of the cluster's safe point is
// a client's work: that of an agent in the node whose placement member leads (cmd/node), or of `skerry ctl gc run`.

// SafePoints are the cluster's: below Safe nothing begins and nothing is read; up to Collect versions that nobody can see
// are being collected.
type SafePoints struct{ Safe, Collect Timestamp }

// GCSettings say how the safe point moves by itself.
type GCSettings struct {
	Keep   time.Duration // how far back reads stay possible
	Paused bool          // it does not move by itself
}

// GC asks placement.
func (a *Admin) GC(ctx context.Context) (GCSettings, error) { return a.setGC(ctx, beat.GCOrder{}) }

// SetGCKeep says how far back reads stay possible, and so how long overwritten versions are kept.
func (a *Admin) SetGCKeep(ctx context.Context, keep time.Duration) (GCSettings, error) {
	if keep < 0 {
		return GCSettings{}, refuse("set how long versions are kept", nil, ErrInvalid, fmt.Sprintf("versions are to be kept for %s", keep), "give at least a second")
	}
	ms := uint64(keep.Milliseconds())
	return a.setGC(ctx, beat.GCOrder{KeepMillis: &ms})
}

// PauseGC stops the safe point where it is, or lets it go on.
func (a *Admin) PauseGC(ctx context.Context, paused bool) (GCSettings, error) {
	return a.setGC(ctx, beat.GCOrder{Paused: &paused})
}

func (a *Admin) setGC(ctx context.Context, o beat.GCOrder) (GCSettings, error) {
	out, err := a.order(ctx, "set how long versions are kept", &beat.Order{GC: &o})
	if err != nil {
		return GCSettings{}, err
	}
	if out.GC == nil {
		return GCSettings{}, refuse("set how long versions are kept", nil, ErrInvalid, "placement does not know of it", "upgrade it")
	}
	return GCSettings{Keep: time.Duration(out.GC.KeepMillis) * time.Millisecond, Paused: out.GC.Paused}, nil
}

// LockInfo is the lock of an unfinished transaction.
type LockInfo struct {
	Key, Primary []byte // users' keys
	StartTS      Timestamp
	Kind         string // what it stands for
	Async        bool
	MinCommitTS  Timestamp
	ExpiresAt    time.Time // by placement's clock; others may roll it back from then on
}

// SafePoints asks placement.
func (a *Admin) SafePoints(ctx context.Context) (SafePoints, error) {
	return a.moveSafePoints(ctx, beat.SafePoints{})
}

// SetSafePoint moves the safe point forward: transactions and reads below it are refused from when the stores hear of it. It
// never moves back. Nothing is collected until CollectGarbage.
func (a *Admin) SetSafePoint(ctx context.Context, ts Timestamp) (SafePoints, error) {
	e := a.db.begin(ctx, "set the safe point", nil)
	now, err := e.stamp()
	if err != nil {
		return SafePoints{}, err
	}
	if ts > now {
		return SafePoints{}, e.future(ts, now)
	}
	return a.moveSafePoints(ctx, beat.SafePoints{Safe: uint64(ts)})
}

func (a *Admin) moveSafePoints(ctx context.Context, to beat.SafePoints) (SafePoints, error) {
	out, err := a.order(ctx, "move the safe points", &beat.Order{SafePoints: &to})
	if err != nil {
		return SafePoints{}, err
	}
	if out.SafePoints == nil {
		return SafePoints{}, refuse("move the safe points", nil, ErrInvalid, "placement does not know them", "upgrade it")
	}
	return SafePoints{Safe: Timestamp(out.SafePoints.Safe), Collect: Timestamp(out.SafePoints.Collect)}, nil
}

// CollectGarbage gives up all versions that only reads older than keep could see. In this order: the safe point moves, in
// placement and in every shard; the locks of transactions below it are resolved, everywhere; and only then the stores are
// told to collect, which they do in the background. A transaction that is that old and still alive stops it, with an error
// that names a key of it; what was done by then harms nothing, and the next run goes on.
func (a *Admin) CollectGarbage(ctx context.Context, keep time.Duration) (SafePoints, error) {
	e := a.db.begin(ctx, "collect garbage", nil)
	now, err := e.stamp()
	if err != nil {
		return SafePoints{}, err
	}
	back := shard.Millis(keep.Milliseconds())
	if keep < 0 || back >= now.Millis() {
		return SafePoints{}, e.refuse(fmt.Sprintf("versions are to be kept for %s", keep), "give zero or more, and not more than the cluster's clock shows")
	}
	// Issued timestamps are even, and now is one.
	p, err := a.moveSafePoints(ctx, beat.SafePoints{Safe: uint64(min(now, mvcc.AtMillis(now.Millis()-back)) &^ 1)})
	if err != nil {
		return SafePoints{}, err
	}
	if err := a.tellShards(ctx, p.Safe); err != nil {
		return p, err
	}
	for l, err := range a.Locks(ctx, Range{}, p.Safe) {
		if err != nil {
			return p, err
		}
		if err := a.settleLock(ctx, &l.info); err != nil {
			return p, err
		}
	}
	return a.moveSafePoints(ctx, beat.SafePoints{Collect: uint64(p.Safe)})
}

// tellShards raises the safe point of every shard that holds transactional keys.
//
// INVARIANT: a shard that was split off meanwhile has copied its parent's, and one that is met late is told as well.
func (a *Admin) tellShards(ctx context.Context, safe Timestamp) error {
	all := shard.ModeRange(shard.ModeTxn)
	for from := all.Start; ; {
		e := a.db.begin(ctx, "move the safe point of a shard", from)
		t := target{first: from}
		rt, stop := e.route(&t)
		if stop != nil {
			return e.stopped(stop)
		}
		var at attempt
		// The whole of the shard must be where it was: a part of it that went elsewhere may not have heard.
		end := rt.desc.Range.End
		whole := target{first: from, end: end}
		if len(end) == 0 {
			whole.end = nil
		}
		if _, err := e.command(&whole, &mvcc.GC{SafePoint: safe}, &at); errors.Is(err, errOutgrown) {
			continue
		} else if err != nil {
			return err
		}
		now, ok := a.db.routes.find(&t)
		if !ok || now.desc.ID != rt.desc.ID || now.desc.Epoch.Version != rt.desc.Epoch.Version {
			continue
		}
		if all.CompareEnd(end) <= 0 {
			return nil
		}
		from = end
	}
}

// Lock is one lock, as Locks yields it.
type Lock struct {
	LockInfo
	info mvcc.LockInfo
}

// Locks yields the locks in a range whose transactions began at or before a timestamp.
func (a *Admin) Locks(ctx context.Context, r Range, before Timestamp) iter.Seq2[Lock, error] {
	return func(yield func(Lock, error) bool) {
		const op = "list locks"
		if err := checkRange(op, r); err != nil {
			yield(Lock{}, err)
			return
		}
		c := cursor[mvcc.LockInfo]{db: a.db, from: lockRows{before}, op: op, rest: r.wholeTxn(), rows: maxPageRows}
		for l, err := range rowsOf(c.pages(ctx)) {
			if err != nil {
				yield(Lock{}, err)
				return
			}
			if !yield(lockOf(*l), nil) {
				return
			}
		}
	}
}

// lockRows is the source of locks of transactions that began at or before a timestamp.
type lockRows struct{ before Timestamp }

func (l lockRows) read(e *effort, t *target, q *query) (page[mvcc.LockInfo], error) {
	body, err := e.read(t, (&mvcc.Query{Kind: mvcc.ScanLocks, TS: l.before, Range: q.in, Limit: q.limit}).Append(nil), false)
	if err != nil {
		return page[mvcc.LockInfo]{}, err
	}
	a, err := mvcc.DecodeAnswer(body)
	if err != nil {
		return page[mvcc.LockInfo]{}, e.unreadable(err)
	}
	return page[mvcc.LockInfo]{rows: a.Locks, more: a.More, next: a.Next}, nil
}

func lockOf(l mvcc.LockInfo) Lock {
	return Lock{info: l, LockInfo: LockInfo{Key: userOf(l.Key), Primary: userOf(l.Primary), StartTS: l.StartTS, Kind: l.Kind.String(),
		Async: l.Async, MinCommitTS: l.MinCommitTS, ExpiresAt: time.UnixMilli(int64(l.ExpireAt))}}
}

// ResolveLock finishes a lock's transaction if it is decided or its life is over; it waits for that as long as the retry
// budget lasts.
func (a *Admin) ResolveLock(ctx context.Context, l Lock) error {
	if len(l.info.Key) == 0 {
		return refuse("resolve a lock", nil, ErrInvalid, "it is none that Locks gave", "take it from Locks")
	}
	return a.settleLock(ctx, &l.info)
}

func (a *Admin) settleLock(ctx context.Context, l *mvcc.LockInfo) error {
	e := a.db.begin(ctx, "resolve a lock", l.Key)
	for {
		_, wait, err := e.settle([]mvcc.LockInfo{*l}, 0)
		if err != nil || wait == nil {
			return err
		}
		if stop := e.pause(lockedOut, errors.New(wait.String()), 0); stop != nil {
			err := e.stopped(stop)
			err.Hint = "its transaction is alive; it ends by itself, or with its client"
			return err
		}
	}
}
