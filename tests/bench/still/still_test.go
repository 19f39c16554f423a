package still

import (
	"os"
	"reflect"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func spells(ms ...int64) []Spell {
	var out []Spell
	for i := 0; i < len(ms); i += 2 {
		out = append(out, Spell{time.UnixMilli(ms[i]), time.UnixMilli(ms[i+1])})
	}
	return out
}

// TestCommon: the machine stands still while all its processors do.
func TestCommon(t *testing.T) {
	for _, c := range []struct {
		of   [][]Spell
		want []Spell
	}{
		{nil, nil},
		{[][]Spell{spells(1, 3)}, spells(1, 3)},
		{[][]Spell{spells(1, 3), nil}, nil},
		{[][]Spell{spells(0, 10, 20, 30, 40, 50), spells(5, 25, 45, 60)}, spells(5, 10, 20, 25, 45, 50)},
		{[][]Spell{spells(0, 10, 20, 30), spells(10, 20), spells(0, 30)}, nil},
		{[][]Spell{spells(0, 10, 20, 30), spells(2, 4, 6, 28), spells(3, 22)}, spells(3, 4, 6, 10, 20, 22)},
	} {
		if got := common(c.of); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, not %v", c.of, got, c.want)
		}
	}
}

func TestWithin(t *testing.T) {
	all := spells(10, 20, 30, 40)
	for _, c := range []struct{ from, to, want int64 }{
		{0, 10, 0}, {0, 15, 5}, {12, 14, 2}, {15, 35, 10}, {20, 30, 0}, {0, 100, 20}, {40, 50, 0}, {39, 41, 1},
	} {
		if got := Within(all, time.UnixMilli(c.from), time.UnixMilli(c.to)); got.Milliseconds() != c.want {
			t.Errorf("%d to %d: %s, not %d ms", c.from, c.to, got, c.want)
		}
	}
}
