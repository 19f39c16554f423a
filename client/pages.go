package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// pages reads a range of a view, a page at a time.
type pages struct {
	v       *view
	ctx     context.Context
	o       scanOptions
	reverse bool
	rest    shard.Range // INVARIANT: holds exactly the keys that were not yet looked at
	more    bool
	size    int // rows of the next page at most
	left    int // rows that are still wanted; negative: all
	// seen is told of every page: the part of the range that it covers, whole, and its rows. nil: nobody wants to know.
	seen func(part shard.Range, rows []mvcc.Row)
}

func newPages(ctx context.Context, v *view, r Range, reverse bool, opts []ScanOption) (*pages, error) {
	p := &pages{v: v, ctx: ctx, reverse: reverse, rest: r.wholeTxn(), size: firstPageRows, left: -1}
	for _, opt := range opts {
		opt.applyScan(&p.o)
	}
	if p.o.limit < 0 || p.o.pageBytes < 0 {
		return nil, refuse(p.name(), nil, ErrInvalid, fmt.Sprintf("limit %d, page of %d bytes", p.o.limit, p.o.pageBytes), "give positive ones, or none")
	}
	if err := checkRange(p.name(), r); err != nil {
		return nil, err
	}
	if p.o.limit > 0 {
		p.left = p.o.limit
	}
	p.more = !r.empty() && !p.rest.Empty()
	return p, nil
}

func (p *pages) name() string {
	if p.reverse {
		return "reverse scan"
	}
	return "scan"
}

// rows yields the rows of the range in order. An error ends it.
func (p *pages) rows() iter.Seq2[mvcc.Row, error] {
	return func(yield func(mvcc.Row, error) bool) {
		for p.more && p.left != 0 {
			rows, err := p.page()
			if err != nil {
				yield(mvcc.Row{}, err)
				return
			}
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
		}
	}
}

// page reads the next page and moves on.
func (p *pages) page() ([]mvcc.Row, error) {
	q := mvcc.Query{Kind: mvcc.Scan, Range: p.rest, Reverse: p.reverse, KeysOnly: p.o.keysOnly, Limit: p.size, MaxBytes: pageBytes}
	if p.o.pageBytes > 0 {
		q.MaxBytes = p.o.pageBytes
	}
	if p.left > 0 {
		q.Limit = min(q.Limit, p.left)
	}
	t := target{first: p.rest.Start}
	if p.reverse {
		t = target{first: p.rest.End, before: true}
	}
	e := p.v.db.begin(p.ctx, p.name(), t.first)
	a, err := p.v.ask(&e, &t, &q)
	if err != nil {
		return nil, err
	}
	if err := p.advance(a); err != nil {
		return nil, e.fail(ErrInvalid, err)
	}
	if p.seen != nil {
		p.seen(a.Range, a.Rows)
	}
	p.size = min(2*p.size, maxPageRows)
	if p.left > 0 {
		p.left = max(0, p.left-len(a.Rows))
	}
	return a.Rows, nil
}

// advance cuts what a page covers off the rest. A page that covers nothing would be asked for again for ever.
func (p *pages) advance(a *mvcc.Answer) error {
	p.more = a.More
	if !a.More {
		return nil
	}
	next := a.Next.Clone()
	if !p.reverse {
		if next.Compare(p.rest.Start) <= 0 {
			return fmt.Errorf("the scan does not move on from %s", p.rest.Start)
		}
		p.rest.Start = next
	} else {
		if next.Compare(p.rest.End) >= 0 {
			return fmt.Errorf("the reverse scan does not move on from %s", p.rest.End)
		}
		p.rest.End = next
	}
	p.more = !p.rest.Empty()
	return nil
}
