package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// PlaygroundConfig says what a playground is: a whole cluster in one process.
type PlaygroundConfig struct {
	Stores    int    // default 3
	Listen    string // of the first node; the others take the ports after it, or any if it is 0
	DataDir   string
	Memory    bool
	Replicas  int // default min(3, Stores)
	SplitKeys []string
	Logger    *slog.Logger
	LogLevel  *slog.LevelVar // see Config
	Version   string
	TLS       *TLS // of all nodes; nil is plain text
	// Store is every node's store; its zero value will do.
	Store StoreConfig
	// Placement is the member's; id, members, replicas, split keys and stores are filled in.
	Placement PlacementConfig
}

// Playground is a running cluster of nodes, each with a store; the first holds the placement member as well.
type Playground struct {
	Nodes []*Node
}

// StartPlayground starts the nodes. Ready waits until they serve.
func StartPlayground(ctx context.Context, c PlaygroundConfig) (*Playground, error) {
	if c.Stores <= 0 {
		c.Stores = 3
	}
	if c.Replicas <= 0 {
		c.Replicas = min(3, c.Stores)
	}
	if c.Replicas > c.Stores {
		return nil, fault.Errorf(fault.BadConfig, "%d replicas need as many stores, there are %d; start more (--stores), or ask for fewer (--replicas)", c.Replicas, c.Stores)
	}
	p := &Playground{}
	for i := range c.Stores {
		n, err := p.startNode(ctx, &c, i)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.Nodes = append(p.Nodes, n)
	}
	return p, nil
}

func (p *Playground) startNode(ctx context.Context, c *PlaygroundConfig, i int) (*Node, error) {
	store := c.Store
	cfg := Config{Memory: c.Memory, Version: c.Version, Logger: c.Logger, LogLevel: c.LogLevel, Store: &store, TLS: c.TLS}
	if c.DataDir != "" {
		cfg.DataDir = filepath.Join(c.DataDir, fmt.Sprintf("node%d", i+1))
	}
	listen, err := nthAddr(c.Listen, i)
	if err != nil {
		return nil, err
	}
	cfg.Listen = listen
	if i == 0 {
		pc := c.Placement
		pc.ID, pc.Members, pc.Bootstrap = 1, nil, true
		pc.Replicas, pc.SplitKeys, pc.Stores = c.Replicas, c.SplitKeys, c.Stores
		cfg.Placement = &pc
	} else {
		cfg.Join = []string{p.Nodes[0].Addr()}
	}
	return Start(ctx, cfg)
}

// nthAddr is the i-th address from a first one: the following ports, or any free one for port 0.
func nthAddr(first string, i int) (string, error) {
	host, port, err := net.SplitHostPort(first)
	if err != nil {
		return "", fault.Errorf(fault.BadConfig, "address %q: %w", first, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return "", fault.Errorf(fault.BadConfig, "address %q: the port must be a number", first)
	}
	if n != 0 {
		n += i
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// Addr is the first node's address.
func (p *Playground) Addr() string { return p.Nodes[0].Addr() }

// Addrs are all nodes' addresses.
func (p *Playground) Addrs() []string {
	var out []string
	for _, n := range p.Nodes {
		out = append(out, n.Addr())
	}
	return out
}

// Ready waits until every first shard has a leader.
func (p *Playground) Ready(ctx context.Context) error {
	for _, n := range p.Nodes {
		if err := n.Ready(ctx); err != nil {
			return err
		}
	}
	for {
		routes, err := p.Nodes[0].Placement().Locate(ctx, shard.Key{}, 0)
		if err == nil {
			led := 0
			for _, r := range routes.Routes {
				if r.Leader != 0 {
					led++
				}
			}
			if led == len(routes.Routes) {
				return nil
			}
		}
		if err := p.Nodes[0].env.Sleep(ctx, agentPoll/4); err != nil {
			return fmt.Errorf("the playground is not ready: %w", err)
		}
	}
}

// Close stops all nodes.
func (p *Playground) Close() error {
	errs := make([]error, len(p.Nodes))
	var wg sync.WaitGroup
	for i, n := range p.Nodes {
		wg.Go(func() { errs[i] = n.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
