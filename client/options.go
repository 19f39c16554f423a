package client

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
)

// defaultRetryBudget is how long one part of a call is tried if the context does not end earlier. It outlasts an
// election, a restart of a store and a move of a shard.
const defaultRetryBudget = 20 * time.Second

type config struct {
	env    env.Env
	conn   Conn
	tls    *tls.Config
	budget time.Duration
	room   int
	log    *slog.Logger
	cover  *fsm.Coverage
}

// Option changes how Open makes a DB.
type Option interface{ applyOpen(*config) }

type openOption func(*config)

func (f openOption) applyOpen(c *config) { f(c) }

// WithTLS secures all connections; without it, or with nil, they are plain text. RootCAs are whom servers' certificates
// must be signed by, Certificates what servers that ask for one are shown. Unless it has a ServerName, a server's
// certificate must be valid for the host of its address. Open says what is wrong if the two sides do not agree.
func WithTLS(cfg *tls.Config) Option {
	return openOption(func(c *config) { c.tls = cfg })
}

// WithRetryBudget bounds how long one part of a call (one shard's keys, one page of a scan) is tried when the context
// has no earlier deadline. The default is 20 s.
func WithRetryBudget(d time.Duration) Option {
	return openOption(func(c *config) { c.budget = d })
}

// WithWriteBuffer bounds the bytes of raw puts and deletes of this DB that are under way to one store; mostly it is less, namely what
// the store gets done in some 50 ms. What comes on top waits its turn without having been sent; one write of any size goes if there is
// no other. The default is 4 MiB.
func WithWriteBuffer(bytes int) Option {
	return openOption(func(c *config) { c.room = bytes })
}

// WithLogger receives what a DB has to say about its background work. The default says nothing.
func WithLogger(l *slog.Logger) Option {
	return openOption(func(c *config) { c.log = l })
}

// WithWorld replaces the world: time, tasks and the way to the cluster. It is for the simulator, tests and the embedded
// cluster of this module.
func WithWorld(e env.Env, conn Conn) Option {
	return openOption(func(c *config) { c.env, c.conn = e, conn })
}

// WithCoverage counts which rows of the tables of states a DB takes. It is for the simulator.
func WithCoverage(c *fsm.Coverage) Option {
	return openOption(func(o *config) { o.cover = c })
}

// An option has a type per kind of call, so that none can be given to a call that would ignore it.
type (
	// PutOption is for Put, PutMany, PutIfAbsent, CompareAndSwap and Batch.Put.
	PutOption interface{ applyPut(*putOptions) }
	// ReadOption is for Get, GetMany, GetTTL and Checksum.
	ReadOption interface{ applyRead(*readOptions) }
	// ScanOption is for Scan and ReverseScan.
	ScanOption interface{ applyScan(*scanOptions) }
	// AnyReadOption is for all reads, and for Watch.
	AnyReadOption interface {
		ReadOption
		ScanOption
		WatchOption
	}
)

type putOptions struct {
	ttl    time.Duration
	hasTTL bool
}

type readOptions struct{ follower bool }

type scanOptions struct {
	readOptions
	limit     int
	keysOnly  bool
	reuse     bool
	pageBytes int
}

type ttlOption time.Duration

func (d ttlOption) applyPut(o *putOptions) { o.ttl, o.hasTTL = time.Duration(d), true }

// TTL lets the key live for d, counted in the shard's own time from the moment of the write. It is rounded up to whole
// milliseconds.
func TTL(d time.Duration) PutOption { return ttlOption(d) }

type followerOption struct{}

func (followerOption) applyRead(o *readOptions) { o.follower = true }
func (followerOption) applyScan(o *scanOptions) { o.follower = true }

// ReadFromFollower lets a replica that does not lead answer. The read is as fresh as the leader's: the replica asks the
// leader up to where it must have come, which costs a small round trip between stores and spares the leader the work. Of a
// read at a timestamp (At, Stale) it need not ask if it has asked at a later one.
func ReadFromFollower() AnyReadOption { return followerOption{} }

type scanOption func(*scanOptions)

func (f scanOption) applyScan(o *scanOptions) { f(o) }

// Limit ends a scan after n keys; zero is no limit.
func Limit(n int) ScanOption { return scanOption(func(o *scanOptions) { o.limit = n }) }

// KeysOnly leaves the values of a scan out.
func KeysOnly() ScanOption { return scanOption(func(o *scanOptions) { o.keysOnly = true }) }

// ReuseRows has a scan use the memory of its rows again: a key or value is valid until the next row is asked for, as with an iterator of
// an embedded database. A long scan that keeps no row then leaves nothing to the garbage collector, and costs its caller half of the time.
func ReuseRows() ScanOption { return scanOption(func(o *scanOptions) { o.reuse = true }) }

// PageBytes bounds the keys and values that one page of a scan brings; the default is 1 MiB. A page holds at least one
// key.
func PageBytes(n int) ScanOption { return scanOption(func(o *scanOptions) { o.pageBytes = n }) }

func putOptionsOf(opts []PutOption) (o putOptions) {
	for _, opt := range opts {
		opt.applyPut(&o)
	}
	return o
}

func readOptionsOf(opts []ReadOption) (o readOptions) {
	for _, opt := range opts {
		opt.applyRead(&o)
	}
	return o
}
