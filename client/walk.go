package client

import (
	"context"
	"iter"
)

// longScan is how many legs of a long scan are read at once, and how many pages of each may wait.
const longScan = 3

// walk is a scan from page to page. What the first page leaves is read in legs, each what lies in one shard, as far as is known
// when it begins.
type walk[R any] struct {
	cursor[R] // INVARIANT: its rest is what no leg has
	legs      []*ahead[page[R]]
	taken     int // rows
}

func walkOf[R any](c *cursor[R]) *walk[R] { return &walk[R]{cursor: *c} }

// pages yields the pages in order. While its caller looks at one, further ones are fetched: from the second on, because many scans
// end with the first. What is fetched and not taken is given up.
func (w *walk[R]) pages(ctx context.Context) iter.Seq2[page[R], error] {
	return func(yield func(page[R], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if w.rest.Empty() {
			return
		}
		p, more, err := w.page(ctx)
		w.taken = len(p.rows)
		if !yield(p, err) || err != nil || !more {
			return
		}
		for w.begin(ctx); len(w.legs) > 0; {
			p, more, err := w.legs[0].next(w.wide())
			w.taken += len(p.rows)
			if !more {
				w.legs = w.legs[1:]
			}
			if err == nil {
				w.begin(ctx)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// wide is how many legs there may be, and pages of each: one until the scan is known to be long. One with a limit goes through one leg
// to its end, and one with larger pages has enough of one.
func (w *walk[R]) wide() int {
	if w.o.limit > 0 || w.o.pageBytes > pageBytes || w.taken < maxPageRows {
		return 1
	}
	return longScan
}

// begin begins further legs.
func (w *walk[R]) begin(ctx context.Context) {
	for len(w.legs) < w.wide() && !w.rest.Empty() {
		w.legs = append(w.legs, fetchAhead(ctx, w.db.env, w.wide(), w.cut().page))
	}
}

// cut makes a leg of what lies in the shard with which the rest begins; of all, if that shard is not known, or the rows are counted.
func (w *walk[R]) cut() *cursor[R] {
	c := w.cursor
	c.rows = min(max(c.rows, w.taken), maxPageRows)
	if t := w.target(); w.o.limit == 0 {
		if rt, ok := w.db.routes.find(&t); ok {
			c.rest = w.rest.Intersect(rt.desc.Range)
		}
	}
	if w.reverse {
		w.rest.End = c.rest.Start
	} else {
		w.rest.Start = c.rest.End
	}
	return &c
}
