package client

import (
	"context"
	"sync"
	"time"

	"github.com/skerrydb/skerry/shard/mvcc"
)

// round asks every part that has room, once, all at one fresh timestamp. A patient round lets the shards keep the question
// until something changes; the first one that has something ends it for the others, because nothing can be told before they
// were asked at a later timestamp. woken reports whether that happened.
func (w *watch) round(patient bool) (woken bool, err error) {
	e := w.db.begin(w.ctx, "watch", w.parts[0].rng.Start)
	ts, err := e.stamp()
	if err != nil {
		return false, err
	}
	var todo []*watchPart
	for _, p := range w.parts {
		if len(p.rows) == 0 || p.bytes < smallestWatchPage {
			todo = append(todo, p)
		}
	}
	r := watchRound{w: w, ts: ts}
	if patient {
		woken = r.patient(todo)
	} else {
		parallel(w.db.env, len(todo), func(i int) { r.ask(w.ctx, todo[i], 0) })
	}
	w.insert(r.more)
	return woken, r.err // if the context has ended, the next round says so
}

// watchRound is one round under way.
type watchRound struct {
	w  *watch
	ts Timestamp

	mu   sync.Mutex
	err  error
	more []*watchPart // made by splits
}

// ask asks one part, and the parts that it turns out to consist of.
func (r *watchRound) ask(ctx context.Context, p *watchPart, wait time.Duration) {
	for p != nil {
		e := r.w.db.begin(ctx, "watch", p.rng.Start)
		rest, err := r.w.ask(&e, p, r.ts, wait)
		r.mu.Lock()
		if rest != nil {
			r.more = append(r.more, rest)
		}
		if err != nil && ctx.Err() == nil && r.err == nil {
			r.err = err
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
		p, wait = rest, 0
	}
}

// patience is how long a shard keeps a question.
const patience = mvcc.MaxWaitMillis * time.Millisecond

// patient asks parts that may keep the question, each in a task of its own.
func (r *watchRound) patient(parts []*watchPart) (woken bool) {
	w := r.w
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	began := w.db.env.Now()
	done := w.db.env.NewEvent("client-watch")
	running := len(parts)
	one := func(p *watchPart) {
		r.ask(ctx, p, patience)
		if w.db.env.Now().Sub(began) < patience*9/10 {
			r.mu.Lock()
			woken = true
			r.mu.Unlock()
			cancel() // something changed
		}
	}
	for _, p := range parts[1:] {
		w.db.env.Go("client-watch", func() {
			one(p)
			r.mu.Lock()
			running--
			r.mu.Unlock()
			done.Wake()
		})
	}
	one(parts[0])
	r.mu.Lock()
	defer r.mu.Unlock()
	for running--; running > 0; {
		r.mu.Unlock()
		// The others return soon after their context ends, so this wait needs none.
		_ = done.Wait(context.Background(), 0)
		r.mu.Lock()
	}
	return woken
}

// insert puts the parts that splits made in their places.
func (w *watch) insert(more []*watchPart) {
	for _, n := range more {
		at := 0
		for at < len(w.parts) && w.parts[at].rng.Start.Compare(n.rng.Start) < 0 {
			at++
		}
		w.parts = append(w.parts[:at], append([]*watchPart{n}, w.parts[at:]...)...)
	}
}
