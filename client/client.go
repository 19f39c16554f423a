package client

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// DB is a client of one cluster. Safe for concurrent use; make one and share it.
type DB struct {
	env    env.Env
	conn   Conn
	log    *slog.Logger
	budget time.Duration

	routes *routes
	place  *place
	scopes *scopes
	tokens *tokens
	lanes  *lanes
	stamps *stamps
	fates  *fates
	keeper *keeper
	laters laters

	coverage *fsm.Coverage // nil in production

	// client and seq name this client's attempts: no two of them, of any client, are the same (rule 9).
	client uint64
	seq    atomic.Uint64

	closing atomic.Bool        // Close was called
	closed  atomic.Bool        // nothing is sent any more
	cancel  context.CancelFunc // ends the background tasks
	tasks   atomic.Int64
	ended   env.Event // the last background task has ended
}

// Open connects to a cluster by the addresses of any of its nodes, separated by commas, and learns the others from them.
// It returns when placement has answered, or with ErrUnavailable.
func Open(ctx context.Context, addrs string, opts ...Option) (*DB, error) {
	c := config{env: env.Real{}, budget: defaultRetryBudget, room: defaultWriteBuffer, log: slog.New(slog.DiscardHandler)}
	for _, o := range opts {
		o.applyOpen(&c)
	}
	seeds := strings.FieldsFunc(addrs, func(r rune) bool { return r == ',' || r == ' ' })
	if len(seeds) == 0 {
		return nil, refuse("open", nil, ErrInvalid, "no address", "give the address of any node, such as 127.0.0.1:4400")
	}
	if c.budget <= 0 {
		return nil, refuse("open", nil, ErrInvalid, "the retry budget is not above zero", "leave the option out")
	}
	if c.room <= 0 {
		return nil, refuse("open", nil, ErrInvalid, "the write buffer is not above zero", "leave the option out")
	}
	if c.conn == nil {
		c.conn = newRPCConn(c.env, c.tls)
	}
	db := &DB{env: c.env, conn: c.conn, log: c.log, budget: c.budget, routes: newRoutes(), scopes: newScopes(c.env),
		tokens: newTokens(c.env.Now()), lanes: newLanes(c.env, c.room), client: c.env.Rand(), ended: c.env.NewEvent("client-ended"),
		coverage: c.cover}
	db.place = &place{db: db, seeds: seeds}
	db.stamps = &stamps{db: db}
	db.fates = newFates()
	db.keeper = newKeeper(db)
	var background context.Context
	background, db.cancel = context.WithCancel(context.Background())
	db.start("client-scopes", func() { db.scopes.run(background) })
	if err := db.connect(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	db.start("client-watch", func() { db.watch(background) })
	db.start("client-keeper", func() { db.keeper.run(background) })
	return db, nil
}

// connect learns who the placement members are and the first routes.
func (db *DB) connect(ctx context.Context) error {
	e := db.begin(ctx, "open", nil)
	stop := e.over()
	for stop == nil {
		err := db.place.discover(ctx)
		if err == nil {
			if err = db.place.load(&e, shard.RawKey(nil)); err == nil {
				return nil
			}
		}
		if as[*shard.WrongClusterError](err) {
			return e.rejected(err)
		}
		var insecure *rpc.SecurityError
		if errors.As(err, &insecure) { // trying again would not help, and would hide why
			err := e.fail(ErrUnavailable, insecure)
			err.Hint = ""
			return err
		}
		stop = e.pause(noRoute, err, 0)
	}
	err := e.stopped(stop)
	err.Hint = "check the addresses, and that the nodes run: `skerry ctl status`"
	return err
}

// start runs a background task, for which Close waits.
func (db *DB) start(name string, f func()) {
	db.tasks.Add(1)
	db.env.Go(name, func() {
		f()
		if db.tasks.Add(-1) == 0 {
			db.ended.Wake()
		}
	})
}

// Close ends the background tasks and the connections. Calls under way end with ErrClosed, or with ErrAmbiguous if they
// are writes whose fate is not known. The second Close returns ErrClosed.
func (db *DB) Close() error {
	if db.closing.Swap(true) {
		return ErrClosed
	}
	db.settleDown()
	db.closed.Store(true)
	db.scopes.close()
	db.cancel()
	err := db.conn.Close()
	for db.tasks.Load() > 0 {
		_ = db.ended.Wait(context.Background(), 0)
	}
	return err
}
