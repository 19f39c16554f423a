package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/tests/history"
	"github.com/skerrydb/skerry/tests/history/txn"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// txnPlaces are the parts of the keyspace of transactions. Each has a list, an account, a counter, and half a pair; shards
// are cut between places, so that most transactions are about several of them.
const txnPlaces = 6

// maxListed is how long a list may grow before another one takes its place.
const maxListed = 40

// txnWork is what all transactional clients of a world do together, and what came of it.
type txnWork struct {
	clients     []*txnClient
	txns        []txn.Txn
	looks       [txnPlaces][]txn.Look
	adds        [txnPlaces][]txn.Added
	pairs       []txn.Pair
	looked      []client.Timestamp // at which all accounts were read
	generations [txnPlaces]int
	lastOK      [txnPlaces]int64 // time of the history at which a list was last written
	died        int              // clients, in the middle of something
}

// txnClient is a client program that runs transactions: the real SDK on a machine of its own. It may die at any moment.
type txnClient struct {
	c       *cluster
	id      int
	lives   int
	machine *world.Machine
	host    *simnet.Host
	env     env.Env
	db      *client.DB
	seq     int
	stop    bool
	done    bool
	open    *txn.Txn // the transaction on lists that is under way
}

func (c *cluster) newTxnClient(id int) *txnClient {
	x := &txnClient{c: c, id: id}
	x.start()
	return x
}

// start begins a life.
func (x *txnClient) start() {
	name := fmt.Sprintf("t%d", x.id)
	x.lives++
	m := x.c.w.NewMachine(name)
	x.machine, x.env, x.host, x.db, x.done = m, m.Env(), x.c.net.Host(m, name), nil, false
	m.Env().Go("transactions", x.run)
}

// die ends the process where it stands. What it was doing may be done, or not, and its locks stand.
func (x *txnClient) die() {
	if x.done {
		return
	}
	x.machine.Log("crash")
	x.machine.Kill()
	x.host.Down()
	x.done = true
	if x.open != nil {
		x.open.Fate = history.Open
		x.c.txn.txns = append(x.c.txn.txns, *x.open)
		x.c.txn.died++
		x.c.faults["client-died"]++
	}
	x.open = nil // what was being added stays Maybe
}

// perish has clients die now and then, and others take their place.
func (c *cluster) perish(until time.Duration) {
	if c.knobs.Perish == 0 || c.knobs.Txns == 0 {
		return
	}
	c.env.Go("perish", func() {
		for c.w.Now() < until {
			_ = c.env.Sleep(context.Background(), c.w.Between(c.knobs.Perish/4, c.knobs.Perish))
			x := c.txn.clients[c.w.IntN(len(c.txn.clients))]
			if x.done || c.calm {
				continue
			}
			x.die()
			back := c.w.Scale(10*time.Millisecond, 2*time.Second)
			c.env.Go("back", func() { // also in the next phase, which nobody else brings it into
				_ = c.env.Sleep(context.Background(), back)
				x.start()
			})
		}
	})
}

// openDB opens the SDK on a client's machine, again and again; nil if it should stop before that.
func (c *cluster) openDB(m *world.Machine, host *simnet.Host, stop func() bool) *client.DB {
	for !stop() {
		ctx, cancel := m.Env().WithTimeout(context.Background(), 5*time.Second)
		db, err := client.Open(ctx, c.addrs(), client.WithWorld(m.Env(), host.Conn()), client.WithRetryBudget(c.knobs.Budget), client.WithCoverage(&c.rows))
		cancel()
		if err == nil {
			return db
		}
		m.Log("open: %v", err)
	}
	return nil
}

func (x *txnClient) run() {
	defer func() { x.done = true }()
	ctx := context.Background()
	if x.db = x.c.openDB(x.machine, x.host, func() bool { return x.stop }); x.db == nil {
		return
	}
	for !x.stop {
		switch n := x.c.w.IntN(20); {
		case n < 10:
			hurried, cancel := x.hurry(ctx)
			x.lists(hurried)
			cancel()
		case n < 13:
			x.transfer(ctx)
		case n < 15:
			x.balances(ctx)
		case n < 16:
			x.past(ctx)
		case n < 17:
			if x.c.w.Chance(0.3) && !x.c.calm {
				x.crowd(ctx)
			} else {
				x.add(ctx)
			}
		case n < 18:
			x.look(ctx, x.c.w.IntN(txnPlaces))
		default:
			x.withdraw(ctx)
		}
		_ = x.env.Sleep(ctx, x.c.w.Between(0, x.c.think()))
	}
	_ = x.db.Close()
}

// hurry is the patience of who asked for a transaction: now and then it ends at any moment of one.
func (x *txnClient) hurry(ctx context.Context) (context.Context, func()) {
	if !x.c.w.Chance(x.c.knobs.Hurry) || x.c.calm {
		return ctx, func() {}
	}
	return x.env.WithTimeout(ctx, x.c.w.Scale(time.Millisecond, 400*time.Millisecond))
}

// options draws how a transaction runs. Serializable is a promise among those that ask for it, so in a world that asks for
// it all do.
func (x *txnClient) options() (opts []client.TxnOption) {
	if x.c.knobs.level() == txn.Serializable {
		opts = append(opts, client.Serializable())
	}
	if x.c.w.Chance(0.3) {
		opts = append(opts, client.Pessimistic())
	}
	return opts
}

// fate is what a client knows of a transaction by its error.
func fate(err error) history.Fate {
	switch {
	case err == nil:
		return history.Done
	case errors.Is(err, client.ErrAmbiguous):
		return history.Open
	}
	return history.Refused
}

// endTxns lets the transactional clients finish what they are doing.
func (c *cluster) endTxns() error {
	for _, x := range c.txn.clients {
		x.stop = true
	}
	return c.until("end of all transactions", clientsLimit, func() bool {
		for _, x := range c.txn.clients {
			if !x.done {
				return false
			}
		}
		return true
	})
}

// level is what the transactions of a world ask for.
func (k *Knobs) level() txn.Level {
	if k.Serializable {
		return txn.Serializable
	}
	return txn.Snapshot
}

// txnsProgress reports whether a list of every place was written since a time of the history.
func (c *cluster) txnsProgress(since int64) bool {
	for _, at := range c.txn.lastOK {
		if c.knobs.Txns > 0 && at <= since {
			return false
		}
	}
	return true
}
