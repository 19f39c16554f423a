package rate

import (
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	var r Recent
	for i, c := range []struct {
		ended int64
		want  float64
	}{{5, 10}, {20, 40}, {1, 40}, {2, 40}, {3, 40}, {4, 8}, {0, 8}} {
		if got := r.Add(c.ended, time.Second/2); got != c.want {
			t.Errorf("look %d: %g a second, want %g", i, got, c.want)
		}
	}
}
