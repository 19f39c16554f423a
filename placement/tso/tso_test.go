package tso

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestUniqueOverLeaders: whatever clocks, crashes and raises do, no timestamp comes twice and none goes back.
func TestUniqueOverLeaders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var persisted, last uint64
		a := New(persisted)
		clock := uint64(1000)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // the leader is replaced; the new one's clock may be behind
				a = New(persisted)
				clock -= min(clock, uint64(rapid.IntRange(0, 500).Draw(t, "back")))
			case 1: // a raise that is persisted, but whose answer is lost with the leader
				persisted = max(persisted, a.Want(clock))
				a = New(persisted)
			default:
				clock += uint64(rapid.IntRange(0, 50).Draw(t, "ms"))
				n := rapid.IntRange(1, 1<<10).Draw(t, "count")
				first, err := a.Next(clock, n)
				if errors.Is(err, ErrWindow) {
					persisted = max(persisted, a.Want(clock))
					a.Raised(persisted)
					if first, err = a.Next(clock, n); err != nil {
						t.Fatalf("after a raise: %v", err)
					}
				}
				if first%2 != 0 || first < last {
					t.Fatalf("first %d after %d", first, last)
				}
				last = first + 2*uint64(n)
				if last > persisted {
					t.Fatalf("handed out %d beyond the persisted bound %d", last, persisted)
				}
			}
		}
	})
}
