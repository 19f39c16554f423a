package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// What a side puts off falls into the other's turn: Skerry merges tables for seconds after it was written to, and etcd collects the
// garbage of its index for up to forty, by the look of it. Either is a third of two cores and more. So nothing is measured before the other side is at rest, and what
// that one spends until then is counted as its own.

const (
	// restful is how much of the machine servers at rest take, in percent of all cores; with 10,000 shards it is 3.
	restful = 5.0
	// restLooks are that many looks in a row, restEvery apart, that find a side at rest.
	restLooks = 3
	restEvery = time.Second
	// maxSettle ends the waiting; what the other side takes then stands beside the row.
	maxSettle = 3 * time.Minute
)

// owing is the last measurement, whose side may still have work to do for it.
type owing struct {
	side   rival
	sample *sample
	rows   int64
	spent  time.Duration // CPU of its servers up to the end of the measurement
}

// settle waits until a side is at rest.
func (b *bench) settle(ctx context.Context, side rival) error {
	begun := time.Now()
	for calm := 0; calm < restLooks; {
		if time.Since(begun) > maxSettle {
			fmt.Fprintf(os.Stderr, "%s is not at rest after %s\n", side.name(), maxSettle)
			break
		}
		spent, before := cpu(side.servers()), machine()
		if err := sleep(ctx, restEvery); err != nil {
			return err
		}
		if percent((cpu(side.servers())-spent).Seconds()*100, machine().since(before).all) > restful {
			calm = 0
		} else {
			calm++
		}
	}
	if o := &b.owing; o.sample != nil && o.side == side {
		o.sample.after = float64((cpu(side.servers()) - o.spent).Microseconds()) / float64(o.rows)
		*o = owing{}
	}
	return nil
}
