package sim

import "github.com/skerrydb/skerry/raftstore"

// Compared implements raftstore.Observer.
//
// It demands that replicas which sum up their data at one applied index come to the same. There is no fault of a world that
// explains another verdict: a disk that spoils what it was given is found by checksums before a sum is made of it.
func (o *observer) Compared(c *raftstore.Comparison) {
	m := o.m
	switch c.Verdict {
	case raftstore.Equal:
		m.seen["compare"]++
	case raftstore.Unfinished:
		m.seen["compare: unfinished"]++
	default:
		m.violated("compare", "%s", c)
	}
}
