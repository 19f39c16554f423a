package budget_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/skerrydb/skerry/internal/budget"
)

// TestShares: the shares are a partition: what all kinds may use together is the budget, and little of it is lost.
func TestShares(t *testing.T) {
	for _, bytes := range []int64{0, 1, budget.MinBytes, 100 << 20, 1 << 30, 64 << 30} {
		b := budget.New(bytes)
		sum := int64(0)
		for _, k := range budget.Kinds() {
			sum += b.Share(k)
			if k.String() == "" || b.Share(k) <= 0 {
				t.Errorf("%d: kind %d is called %q and has %d bytes", bytes, k, k, b.Share(k))
			}
		}
		if sum > b.Limit() || sum < b.Limit()-64 {
			t.Errorf("the shares of a budget of %d add up to %d", b.Limit(), sum)
		}
		if want := max(bytes, budget.MinBytes); bytes > 0 && b.Limit() != want {
			t.Errorf("a budget of %d has %d bytes", bytes, b.Limit())
		}
	}
	if n := budget.New(0).Limit(); n != budget.DefaultBytes {
		t.Errorf("the default has %d bytes", n)
	}
}

// TestTake: up to the share and not beyond; what is refused takes nothing; what is given back fits again.
func TestTake(t *testing.T) {
	const k = budget.Writes
	b := budget.New(budget.MinBytes)
	share := b.Share(k)
	steps := []struct {
		what string
		take int64 // below zero: given back
		fits bool
		used int64
	}{
		{"half", share / 2, true, share / 2},
		{"too much", share/2 + 1, false, share / 2},
		{"exactly the rest", share / 2, true, share},
		{"one byte more", 1, false, share},
		{"half comes back", -share / 2, true, share / 2},
		{"and fits again", share / 2, true, share},
		{"all comes back", -share, true, 0},
		{"one piece of any size fits alone", 3 * share, true, 3 * share},
		{"and nothing beside it", 1, false, 3 * share},
		{"it ends", -3 * share, true, 0},
	}
	refused := uint64(0)
	for _, s := range steps {
		fits := true
		if s.take < 0 {
			b.Give(k, -s.take)
		} else {
			fits = b.Take(k, s.take)
		}
		if !fits {
			refused++
		}
		if fits != s.fits || b.Used(k) != s.used || b.Refused(k) != refused {
			t.Fatalf("%s: fits %v, %d used, %d refused; want %v, %d, %d", s.what, fits, b.Used(k), b.Refused(k), s.fits, s.used, refused)
		}
	}
}

// TestKindsApart: a kind that is used up takes nothing from the others.
func TestKindsApart(t *testing.T) {
	b := budget.New(0)
	for _, full := range budget.Kinds() {
		b.Add(full, b.Share(full))
		if b.Room(full) || b.Take(full, 1) {
			t.Errorf("%s has room", full)
		}
		if f := b.Full(); !slices.Equal(f, []budget.Kind{full}) {
			t.Errorf("%s is used up, full are %v", full, f)
		}
		for _, k := range budget.Kinds() {
			if k == full {
				continue
			}
			if !b.Room(k) || !b.Take(k, b.Share(k)) {
				t.Errorf("%s does not fit while %s is used up", k, full)
			}
			b.Give(k, b.Share(k))
		}
		b.Give(full, b.Share(full))
	}
	if f := b.Full(); len(f) != 0 {
		t.Errorf("full are %v", f)
	}
}

// TestManyTakers: whoever comes at the same time does not get more than there is.
func TestManyTakers(t *testing.T) {
	const k, takers, piece = budget.Reads, 8, 1000
	b := budget.New(0)
	var wg sync.WaitGroup
	var got [takers]int64
	for i := range takers {
		wg.Go(func() {
			for range 100_000 {
				if b.Take(k, piece) {
					got[i] += piece
				}
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	for _, n := range got {
		sum += n
	}
	if share := b.Share(k); sum != b.Used(k) || sum > share || sum < share-takers*piece {
		t.Fatalf("%d were taken, %d are used, of %d", sum, b.Used(k), share)
	}
	if b.Refused(k)+uint64(sum/piece) != takers*100_000 {
		t.Fatalf("%d were refused, %d taken", b.Refused(k), sum/piece)
	}
}

// TestNone: without a budget nothing is counted.
func TestNone(t *testing.T) {
	var b *budget.Budget
	b.Add(budget.Reads, 1)
	b.Give(budget.Reads, 1)
	b.Refuse(budget.Reads)
	if !b.Take(budget.Reads, 1<<40) || !b.Room(budget.Reads) {
		t.Fatal("no budget has no room")
	}
}
