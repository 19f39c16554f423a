package version

import "testing"

// TestRange: a program that says nothing takes part in the first version and no other.
func TestRange(t *testing.T) {
	for _, c := range []struct {
		r    Range
		n    Number
		want bool
	}{
		{Range{}, First, true}, {Range{}, First + 1, false},
		{Range{2, 3}, 1, false}, {Range{2, 3}, 2, true}, {Range{2, 3}, 3, true}, {Range{2, 3}, 4, false},
		{Ours(), Newest(), true}, {Ours(), Oldest, true}, {Ours(), Newest() + 1, false},
	} {
		if c.r.Has(c.n) != c.want {
			t.Errorf("%s has %s: %v", c.r, c.n, !c.want)
		}
	}
}

// TestEvalGrows: a newer version allows no older evaluation, and this program knows what its newest version allows.
func TestEvalGrows(t *testing.T) {
	for n := Oldest; n < Newest()+3; n++ {
		if n.Eval() > (n + 1).Eval() {
			t.Errorf("version %s has evaluation %d, the one after it %d", n, n.Eval(), (n + 1).Eval())
		}
	}
	if got := Newest().Eval(); got != evalBuilt+uint64(len(next)) {
		t.Errorf("the newest version has evaluation %d", got)
	}
}
