package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

// playgroundReadyTimeout is how long a playground may take to begin; it usually takes a second.
const playgroundReadyTimeout = 60 * time.Second

// playgroundLogLevel keeps the log away from what the playground says to people.
const playgroundLogLevel = "error"

func (a *app) playgroundCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "playground",
		Short: "a whole cluster in this process, for trying things out",
		Long: `Playground starts a cluster in one process: --stores nodes with a store each, of which
the first holds the placement driver, on ports from that of --addr upwards. It keeps
everything in memory unless --data names a directory, and ends on Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.load(cmd)
			if err != nil {
				return err
			}
			return a.playground(cmd.Context(), v)
		},
	}
	a.registry.AddFlags(cmd.Flags(), keyAddr, keyData, keyMemory, keyStores, keyReplicas, keyTLS, keySplitKeys, keySplitKeysFile, keyLogLevel, keyLogFormat)
	flag := func(key, usage string) { cmd.Flags().Lookup(key).Usage = usage }
	cmd.Flags().Lookup(keyLogLevel).DefValue = playgroundLogLevel
	flag(keyAddr, "address of the first node; the others take the ports after it")
	flag(keyData, "directory to keep the data in (default none: in memory)")
	flag(keyTLS, "make certificates and speak TLS with them; they are in the directory tls below that of --data")
	flag(keyStores, "number of stores (default 3)")
	flag(keyReplicas, "copies of each shard (default 3, or as many as there are stores)")
	return cmd
}

func playgroundConfig(v *config.Values) (node.PlaygroundConfig, error) {
	c := node.PlaygroundConfig{Stores: v.Number(keyStores), DataDir: v.Text(keyData), Replicas: v.Number(keyReplicas), Version: version().Version,
		Store:     node.StoreConfig{CheckEvery: v.Duration(keyCheckEvery), CheckBytesPerSecond: v.Size(keyCheckRate)},
		Placement: node.PlacementConfig{CollectGarbage: true, CheckEvery: v.Duration(keyCheckEvery), CheckBytesPerSecond: v.Size(keyCheckRate)}}
	if c.DataDir != "" && v.Bool(keyMemory) {
		return c, settingsf("--memory and --data exclude each other; give one of them")
	}
	c.Memory = c.DataDir == ""
	if c.Stores == 0 {
		c.Stores = 3
	}
	if addrs := v.List(keyAddr); len(addrs) == 1 {
		c.Listen = addrs[0]
	} else {
		return c, settingsf("a playground listens from one address on, not from %d (%s); name one with --addr", len(addrs), v.Origin(keyAddr))
	}
	var err error
	c.SplitKeys, err = splitKeys(v)
	return c, err
}

func (a *app) playground(ctx context.Context, v *config.Values) error {
	c, err := playgroundConfig(v)
	if err != nil {
		return err
	}
	level := v.Text(keyLogLevel)
	if !v.Given(keyLogLevel) {
		level = playgroundLogLevel
	}
	var certs *node.Certificates
	if v.Bool(keyTLS) {
		var remove func()
		if certs, remove, err = playgroundCerts(&c); err != nil {
			return err
		}
		defer remove()
		c.TLS = &certs.Node
	}
	c.Logger, c.LogLevel = logger(a.err, level, v.Text(keyLogFormat))
	start := time.Now()
	p, err := node.StartPlayground(ctx, c)
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, playgroundReadyTimeout)
	defer cancel()
	if err := p.Ready(ready); err != nil {
		return errors.Join(err, p.Close())
	}
	welcome(a.out, a.name, p, &c, certs, time.Since(start))
	if err := waitPlayground(ctx, p); err != nil {
		closeWithin(p.Close, brokenCloseTimeout)
		return err
	}
	fmt.Fprintln(a.err, "stopping")
	return p.Close()
}

// playgroundCerts makes the certificates of a playground, below its data directory or, without one, in a directory that
// remove ends.
func playgroundCerts(c *node.PlaygroundConfig) (certs *node.Certificates, remove func(), err error) {
	remove = func() {}
	dir := filepath.Join(c.DataDir, "tls")
	if c.DataDir == "" {
		if dir, err = os.MkdirTemp("", "skerry-tls-"); err != nil {
			return nil, nil, fault.Errorf(fault.CertFiles, "make a directory for certificates: %w; make room, or name a directory that can be written with --data", err)
		}
		remove = func() { _ = os.RemoveAll(dir) }
	} else if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	hosts, err := certificateHosts(c.Listen)
	if err == nil {
		certs, err = node.MakeCertificates(dir, hosts)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return certs, remove, nil
}

// waitPlayground returns nil when ctx ends and an error when a node breaks.
func waitPlayground(ctx context.Context, p *node.Playground) error {
	broken := make(chan error, len(p.Nodes))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, n := range p.Nodes {
		go func() {
			select {
			case <-n.Done():
				broken <- fault.With(fault.StoreStopped, fmt.Errorf("the node at %s stopped: %w", n.Addr(), n.Err()))
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-broken:
		return err
	case <-ctx.Done():
		return nil
	}
}

// welcome says where the playground is and what to type next.
func welcome(w io.Writer, name string, p *node.Playground, c *node.PlaygroundConfig, certs *node.Certificates, took time.Duration) {
	where := "everything is in memory and lost at the end"
	if !c.Memory {
		where = "the data is in " + c.DataDir
	}
	fmt.Fprintf(w, "ready after %s: %d stores in this process; %s\n\n", output.Duration(took), len(p.Nodes), where)
	fmt.Fprintf(w, "  address  %s\n  stores   %s\n\n", p.Addr(), strings.Join(p.Addrs(), " "))
	fmt.Fprintf(w, "Try in another terminal:\n\n")
	if p.Addr() != defaultAddr {
		fmt.Fprintf(w, "  export SKERRY_ADDR=%s\n", p.Addr())
	}
	if certs != nil {
		t := &certs.Client
		fmt.Fprintf(w, "  export SKERRY_TLS_CA=%s SKERRY_TLS_CERT=%s SKERRY_TLS_KEY=%s\n", t.CA, t.Cert, t.Key)
	}
	for _, line := range []string{"put user/42 ada", "get user/42", "scan --prefix user/", "ctl status", "bench ycsb-a --duration 10s"} {
		fmt.Fprintf(w, "  %s %s\n", name, line)
	}
	fmt.Fprintf(w, "\nCtrl-C ends it.\n")
}
