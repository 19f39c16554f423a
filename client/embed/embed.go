// Package embed starts a whole cluster inside a Go program or test: real stores, real Raft, real gRPC over loopback,
// with everything in memory. It is the cluster that production runs, only small and forgetful.
//
//	func TestMine(t *testing.T) {
//		c, err := embed.Open(t.Context())
//		if err != nil { t.Fatal(err) }
//		defer c.Close()
//		err = c.DB.Put(t.Context(), []byte("user/42"), []byte("ada"))
//		...
//	}
package embed

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
)

// Cluster is a running cluster and a client of it.
type Cluster struct {
	*client.DB
	playground *node.Playground
}

type options struct {
	stores int
	split  []string
	dir    string
	logger *slog.Logger
	tick   time.Duration
}

// Option changes what Open starts.
type Option func(*options)

// Stores sets the number of stores; the default is 3, each shard with up to three replicas.
func Stores(n int) Option { return func(o *options) { o.stores = n } }

// SplitKeys cuts the keyspace into shards at these keys, which must ascend. The default is one shard.
func SplitKeys(keys ...string) Option { return func(o *options) { o.split = keys } }

// Dir keeps the data in a directory instead of in memory; it can be opened again.
func Dir(dir string) Option { return func(o *options) { o.dir = dir } }

// Logger receives the nodes' logs.
func Logger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// Tick sets the length of a Raft tick; elections take ten to twenty of them. The default is 100 ms.
func Tick(d time.Duration) Option { return func(o *options) { o.tick = d } }

// Open starts a cluster and returns when it serves, usually within two seconds.
func Open(ctx context.Context, opts ...Option) (*Cluster, error) {
	o := options{stores: 3}
	for _, f := range opts {
		f(&o)
	}
	p, err := node.StartPlayground(ctx, node.PlaygroundConfig{Stores: o.stores, Listen: "127.0.0.1:0", DataDir: o.dir,
		Memory: o.dir == "", SplitKeys: o.split, Logger: o.logger, Version: "embedded",
		Store: node.StoreConfig{Tick: o.tick}, Placement: node.PlacementConfig{Tick: o.tick}})
	if err != nil {
		return nil, err
	}
	if err := p.Ready(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	db, err := client.Open(ctx, p.Addr())
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return &Cluster{DB: db, playground: p}, nil
}

// Addrs are the addresses of the nodes, for further clients and for the command line.
func (c *Cluster) Addrs() []string { return c.playground.Addrs() }

// Close stops the client and the cluster. What was in memory is gone.
func (c *Cluster) Close() error { return errors.Join(c.DB.Close(), c.playground.Close()) }
