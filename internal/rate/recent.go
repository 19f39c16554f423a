// Package rate knows how fast something ended lately. By Little's law, what is under way takes as long as it is much times as fast as it
// ends: who wants a bound on the time bounds the length by this.
package rate

import "time"

// looks is how many rates are remembered.
const looks = 4

// Recent are the rates of the last four looks. The largest counts: who once paused, or had less to do, is not slower. The zero value has
// seen nothing. Used by one task at a time.
type Recent struct {
	rates [looks]float64 // per second
	next  int
}

// Add notes what ended in a look, which took as long as passed, and returns the largest rate, per second.
func (r *Recent) Add(ended int64, passed time.Duration) float64 {
	r.rates[r.next] = float64(ended) / passed.Seconds()
	r.next = (r.next + 1) % looks
	most := 0.0
	for _, v := range r.rates {
		most = max(most, v)
	}
	return most
}
