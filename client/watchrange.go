package client

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Event is one step of a watch: a change of a key, or, with Progress, the word that everything up to a timestamp was told.
// What it holds is the caller's; a value that is kept keeps its page in memory.
type Event struct {
	Key     []byte
	Value   []byte
	Deleted bool      // the key was removed
	Commit  Timestamp // of the transaction that changed it
	// Before is what the key held before, of a watch WithPrevious.
	Before Found
	// Progress, if not zero, says that this is no change: every change at or below it was told, and none at or below it
	// comes any more. A watch from it goes on without a gap and tells nothing twice.
	Progress Timestamp
}

// WatchOption is for Watch.
type WatchOption interface{ applyWatch(*watchOptions) }

type watchOptions struct {
	readOptions
	previous bool
	keysOnly bool
}

type watchOption func(*watchOptions)

func (f watchOption) applyWatch(o *watchOptions) { f(o) }

// WithPrevious tells with every change what the key held before.
func WithPrevious() WatchOption { return watchOption(func(o *watchOptions) { o.previous = true }) }

// WithoutValues leaves the values of a watch out.
func WithoutValues() WatchOption { return watchOption(func(o *watchOptions) { o.keysOnly = true }) }

func (followerOption) applyWatch(o *watchOptions) { o.follower = true }

const (
	// watchBuffer bounds what a watch asks for at once, over all shards; each is asked for a page of its share, within the
	// bounds below.
	watchBuffer       = 16 << 20
	smallestWatchPage = 64 << 10
	watchPageRows     = 4096
	// watchGap is the time between two questions to a shard while changes come, so that they come in pages; where nothing
	// comes it grows.
	watchGap            = 10 * time.Millisecond
	longestWatchGap     = time.Second
	longestFruitlessGap = 100 * time.Millisecond
	// patientParts is how many shards are asked to keep a question until something changes. A watch over more of them asks
	// again and again, because one change anywhere has all of them asked anew.
	patientParts = 64
)

// Watch yields what is committed in a range of transactional keys after a timestamp: every change exactly once, in the
// order of commits, over all keys; at one commit timestamp in the order of keys. It goes on until the loop is left, the
// context ends, or an error ends it. To list and then watch, without a gap:
//
//	ts, err := db.Timestamp(ctx)
//	for kv, err := range db.At(ts).Scan(ctx, r) { … }
//	for ev, err := range db.Watch(ctx, r, ts) { … }
//
// Nothing is kept for a watch but in its caller: it asks again when its last events were taken, so a slow one is simply
// late. Once it is so late that versions it still has to tell may be collected, it ends with ErrTooOld: list again. To go on
// after any other error, watch from the last Progress. (From the Commit of a change, less one, its commit is told again from
// its first key on; from Commit itself, the rest of that commit would be left out.)
//
// Raw keys, those of Put and Scan, have no commits, and cannot be watched.
func (db *DB) Watch(ctx context.Context, r Range, from Timestamp, opts ...WatchOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := watch{db: db, ctx: ctx, told: from}
		for _, opt := range opts {
			opt.applyWatch(&w.o)
		}
		if err := w.begin(r, from); err != nil {
			yield(Event{}, err)
			return
		}
		for {
			rows, err := w.next()
			if err != nil {
				yield(Event{}, err)
				return
			}
			for i := range rows {
				if !yield(rows[i].event(), nil) {
					return
				}
			}
			if at := w.progress(); at > w.told {
				w.told = at
				if !yield(Event{Progress: at}, nil) {
					return
				}
			}
		}
	}
}

// watch is a watch under way. Between two calls of next no task of it runs.
type watch struct {
	db    *DB
	ctx   context.Context
	o     watchOptions
	parts []*watchPart // in the order of keys; together the range
	told  Timestamp    // the last progress
	began env.Time     // of the last round

	calm      int  // rounds without patience that brought nothing, since something came
	woken     bool // the last round was ended by a change that it was too early to bring
	fruitless int  // such rounds in a row whose change did not come either: a lock holds it back
}

// begin cuts the range at the bounds of shards, as far as they are known; where they lie otherwise the answers say so.
func (w *watch) begin(r Range, from Timestamp) error {
	if err := checkRange("watch", r); err != nil {
		return err
	}
	rest := r.wholeTxn()
	if r.empty() || rest.Empty() {
		return refuse("watch", r.Start, ErrInvalid, "the range "+r.String()+" is empty", "give one that has keys")
	}
	e := w.db.begin(w.ctx, "watch", rest.Start)
	now, err := e.stamp()
	if err != nil {
		return err
	}
	if from > now {
		return e.future(from, now)
	}
	for {
		t := target{first: rest.Start}
		rt, stop := e.route(&t)
		if stop != nil {
			return e.stopped(stop)
		}
		w.parts = append(w.parts, &watchPart{rng: rt.desc.Range.Intersect(rest), after: from})
		if rt.desc.Range.CompareEnd(rest.End) >= 0 {
			return nil
		}
		rest.Start = rt.desc.Range.End
	}
}

// next asks the shards once, and returns what can be told now, in order; it may be nothing.
func (w *watch) next() ([]watchRow, error) {
	if err := w.rest(w.began.Add(w.gap()).Sub(w.db.env.Now())); err != nil {
		return nil, err
	}
	patient := w.calm > 0 && !w.woken && len(w.parts) <= patientParts
	w.began = w.db.env.Now()
	woken, err := w.round(patient)
	if err != nil {
		return nil, err
	}
	rows := w.take()
	switch {
	case len(rows) > 0:
		w.calm, w.fruitless = 0, 0
	case patient && !woken:
		w.fruitless = 0
	case !patient:
		w.calm++
		if w.woken {
			w.fruitless++
		}
	}
	w.woken = woken && len(rows) == 0
	return rows, nil
}

// gap is how long after the begin of the last round the next one begins.
func (w *watch) gap() time.Duration {
	switch {
	case w.began == 0 || w.behind() || w.woken:
		return 0
	case w.calm == 0:
		return watchGap
	case len(w.parts) > patientParts:
		return min(watchGap<<min(w.calm, 10), longestWatchGap)
	case w.fruitless > 0:
		return min(watchGap<<min(w.fruitless, 10), longestFruitlessGap)
	}
	return 0
}

func (w *watch) rest(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	ctx, sc := w.db.scopes.enter(w.ctx, 0)
	err := w.db.env.Sleep(ctx, d)
	w.db.scopes.leave(sc)
	if err == nil {
		return nil
	}
	e := w.db.begin(w.ctx, "watch", w.parts[0].rng.Start)
	if stop := e.over(); stop != nil {
		return e.stopped(stop)
	}
	return nil
}

// behind reports whether some shard had more than a page.
func (w *watch) behind() bool {
	return slices.ContainsFunc(w.parts, func(p *watchPart) bool { return p.key != nil })
}

// progress is up to when everything was asked for.
func (w *watch) progress() Timestamp {
	at := mvcc.MaxTimestamp
	for _, p := range w.parts {
		at = min(at, p.reached())
	}
	return at
}

// take takes out what all shards have come past.
//
// INVARIANT: nothing comes before it any more. Each shard has told everything up to its own position, and what is taken lies
// at or before the least of those. So the shard that holds the others back is always emptied, and no buffer has to grow.
func (w *watch) take() []watchRow {
	least := w.parts[0]
	for _, p := range w.parts[1:] {
		if p.less(least) {
			least = p
		}
	}
	var rows []watchRow
	for _, p := range w.parts {
		n := 0
		for n < len(p.rows) && least.covers(&p.rows[n]) {
			n++
		}
		rows = append(rows, p.rows[:n]...)
		if p.rows = p.rows[n:]; len(p.rows) == 0 {
			p.rows, p.bytes = nil, 0
		}
	}
	slices.SortFunc(rows, func(a, b watchRow) int { return a.change().Compare(b.change()) })
	return rows
}
