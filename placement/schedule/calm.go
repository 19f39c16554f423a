package schedule

import (
	"encoding/binary"
	"hash/fnv"
)

// A cluster at rest is looked at all the same, because sizes and loads change without being told one by one; but nothing is
// gained by looking at ten thousand shards each second.
const (
	// calmRounds is how many rounds have to find nothing: to balance takes two calls where to repair takes one.
	calmRounds = 4
	// calmCalls is how many calls a round takes then, where it took fewer.
	calmCalls = 16
	// calmLeast is how many shards a call examines at least.
	calmLeast = 256
)

// calm is how long there was nothing to do. Its zero value is ready.
type calm struct {
	examined int    // shards, since something was done or heard of
	heard    uint64 // a hash of what is known of stores beside what they hold
}

// hears takes what is said of stores and rules (View.news, and what changes faster), and reports whether it is new.
func (c *calm) hears(news uint64, v *View) bool {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, news))
	for i := range v.Stores {
		s := &v.Stores[i]
		b := []byte{byte(s.State), 0}
		for bit, is := range []bool{s.SlowDisk, s.SlowNet, s.Leaving, s.Evicting} {
			if is {
				b[1] |= 1 << bit
			}
		}
		_, _ = h.Write(b)
	}
	sum := h.Sum64()
	if sum == c.heard {
		return false
	}
	c.examined, c.heard = 0, sum
	return true
}

// note takes the result of a call that examined n shards.
func (c *calm) note(n int, stirred bool) {
	if c.examined += n; stirred {
		c.examined = 0
	}
}

// pace is how many of count shards a call examines that may examine up to most.
func (c *calm) pace(most, count int) int {
	if c.examined < calmRounds*count {
		return most
	}
	return min(most, max(calmLeast, (count+calmCalls-1)/calmCalls))
}
