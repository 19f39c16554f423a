package client

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// maxLater bounds the work that is done behind callers' backs: committing what is decided, taking locks away. Above it
	// callers do their own.
	maxLater = 128
	// closePatience is how long Close waits for it. Others can do it as well: it only spares them the questions.
	closePatience = 2 * time.Second
)

// laters counts tasks of that kind.
type laters struct{ n atomic.Int64 }

// later does f in a task of its own ("client-later"), or at once if there are too many of them.
func (db *DB) later(f func(e *effort)) {
	do := func() {
		e := db.begin(context.Background(), "finish a transaction", nil)
		f(&e)
	}
	if db.laters.n.Add(1) > maxLater {
		do()
		db.laters.n.Add(-1)
		return
	}
	db.start("client-later", func() {
		do()
		db.laters.n.Add(-1)
	})
}

// settleDown waits for what is still to be done.
func (db *DB) settleDown() {
	for end := db.env.Now().Add(closePatience); db.laters.n.Load() > 0 && db.env.Now() < end; {
		if db.env.Sleep(context.Background(), closePatience/1000) != nil {
			return
		}
	}
}
