package fsm

import "slices"

// Coverage counts which rows were taken, for whoever owns it: a simulated world. Production has none (nil).
//
// It is safe for concurrent use if it has a Guard. In a simulated world one task runs at a time, and it needs none.
type Coverage struct {
	Guard interface { // such as a mutex; a leaf
		Lock()
		Unlock()
	}
	tables map[string][]int // by the name of the table, then by the number of the row
	faults []string
}

// Fault notes that something was not where its life says, or met what its table does not know. c may be nil.
func (c *Coverage) Fault(err error) {
	if c != nil {
		defer c.lock()()
		c.faults = append(c.faults, err.Error())
	}
}

// lock returns what unlocks.
func (c *Coverage) lock() func() {
	if c.Guard == nil {
		return func() {}
	}
	c.Guard.Lock()
	return c.Guard.Unlock
}

// Faults are what was noted, in the order in which it happened.
func (c *Coverage) Faults() []string {
	defer c.lock()()
	return slices.Clone(c.faults)
}

func (c *Coverage) note(table string, row int) {
	defer c.lock()()
	if c.tables == nil {
		c.tables = make(map[string][]int)
	}
	n := c.tables[table]
	for len(n) <= row {
		n = append(n, 0)
	}
	n[row]++
	c.tables[table] = n
}

// Taken is how often each row of a table was taken, by its number.
func (c *Coverage) Taken(t *Chart) []int {
	defer c.lock()()
	out := make([]int, len(t.Rows))
	copy(out, c.tables[t.Name])
	return out
}
