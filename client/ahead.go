package client

import (
	"context"
	"iter"

	"github.com/skerrydb/skerry/internal/env"
)

// readAhead yields what fetch returns, one after the other, until that says that there is no more. While its caller looks at
// one, the next is fetched: from the second on, because many scans end with the first. At most one waits. What is fetched and
// not taken is given up.
func readAhead[P any](ctx context.Context, e env.Env, fetch func(ctx context.Context) (page P, more bool, err error)) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var next *fetched[P]
		for first := true; ; first = false {
			got := next
			if got == nil {
				got = &fetched[P]{}
				got.page, got.more, got.err = fetch(ctx)
			} else {
				// fetch returns soon after its context ends, so this wait needs none.
				_ = got.done.Wait(context.Background(), 0)
			}
			next = nil
			if got.err == nil && got.more && !first {
				f := &fetched[P]{done: e.NewEvent("client-ahead")}
				e.Go("client-ahead", func() { f.run(ctx, fetch) })
				next = f
			}
			if !yield(got.page, got.err) || got.err != nil || !got.more {
				return
			}
		}
	}
}

// fetched is a page, once done was woken.
type fetched[P any] struct {
	page P
	more bool
	err  error
	done env.Event
}

func (f *fetched[P]) run(ctx context.Context, fetch func(ctx context.Context) (P, bool, error)) {
	f.page, f.more, f.err = fetch(ctx)
	f.done.Wake()
}
