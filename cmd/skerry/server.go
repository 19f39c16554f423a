package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/fault"
)

// brokenCloseTimeout bounds how long a node that broke may take to close what still works before the process ends.
const brokenCloseTimeout = 5 * time.Second

func (a *app) serverCmd() *cobra.Command {
	cmd := a.nodeCmd(roleServer, slices.Concat(nodeKeys, placementKeys, storeKeys))
	cmd.Short = "run a node with a store and, unless it only joins, a placement member"
	cmd.Long = `Server runs a node as most people want it: a store, and a member of the placement
driver that decides where shards are.

Without --members and --join it is a cluster of its own that begins by itself: one
store, one replica of each shard, on ` + defaultAddr + `, with its data in ./` + defaultDataDir + `.
Such a node loses its data with its disk.

Three nodes that survive the loss of any one, each started with its own --member-id,
--listen and --data:

  skerry server --bootstrap --member-id 1 --members 1=a:4400,2=b:4400,3=c:4400 \
      --listen a:4400

--bootstrap lets an empty directory begin the cluster. Leave it out afterwards: a member
that lost its directory must not begin again. More stores join with --join alone:

  skerry server --join a:4400,b:4400,c:4400 --listen d:4400

With --member a node that joins also brings a new placement member, which gets a number of
its own, and with --replace 2 one in the place of member 2, whose disk or machine is lost:

  skerry server --join a:4400,c:4400 --replace 2 --listen b:4400

SIGTERM and SIGINT stop it in order: it gives what it leads to other stores, answers what it
was asked, and ends, after --stop-timeout at the latest; a second signal ends it at once. If
its disk fails, or going on could damage data, it ends with exit code 1 and says why.`
	return cmd
}

func (a *app) storeCmd() *cobra.Command {
	cmd := a.nodeCmd(roleStore, slices.Concat(nodeKeys, storeKeys))
	cmd.Short = "run a node with a store only"
	cmd.Long = `Store runs a node that holds shards and joins a cluster whose placement members run
elsewhere:

  skerry store --join a:4400,b:4400,c:4400 --listen d:4400`
	return cmd
}

func (a *app) placementCmd() *cobra.Command {
	cmd := a.nodeCmd(rolePlacement, slices.Concat(nodeKeys, placementKeys))
	cmd.Short = "run a node with a placement member only"
	cmd.Long = `Placement runs a node that decides where shards are and holds none. There are 1, 3 or 5
of them in a cluster:

  skerry placement --bootstrap --member-id 1 --members 1=a:4400,2=b:4400,3=c:4400 \
      --listen a:4400

A new member joins those that run, and gets a number of its own; with --replace 2 it comes in
the place of member 2:

  skerry placement --join a:4400,c:4400 --replace 2 --listen b:4400`
	return cmd
}

// nodeCmd is what the three commands that run a node have in common.
func (a *app) nodeCmd(r role, keys []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:         string(r),
		Args:        cobra.NoArgs,
		Annotations: map[string]string{runsNode: ""},
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := a.load(cmd)
			if err != nil {
				return err
			}
			c, err := nodeConfig(r, v)
			if err != nil {
				return err
			}
			return a.runNode(cmd.Context(), c, v)
		},
	}
	a.registry.AddFlags(cmd.Flags(), keys...)
	return cmd
}

// runsNode is the annotation of commands whose process is there for one node.
const runsNode = "node"

// coarsen makes the timers of this process coarse if it is to run a node; see node.CoarseTimers.
func (a *app) coarsen(args []string) error {
	cmd, _, err := a.root().Find(args)
	if err != nil {
		return nil // whoever runs the command says so
	}
	if _, ok := cmd.Annotations[runsNode]; !ok {
		return nil
	}
	return node.CoarseTimers()
}

// runNode runs a node until ctx ends or it breaks.
func (a *app) runNode(ctx context.Context, c node.Config, v *config.Values) error {
	log, level := logger(a.err, v.Text(keyLogLevel), v.Text(keyLogFormat))
	c.Logger, c.LogLevel, c.Version = log, level, version().Version
	if a.fineTimers != nil {
		log.Warn("timers are as fine as the system has them, which costs processor time", "err", a.fineTimers)
	}
	c.TuneRuntime()
	n, err := node.Start(ctx, c)
	if err != nil {
		return err
	}
	go node.PaceCollector(ctx)
	admin, err := startAdmin(v.Text(keyAdmin), n, log)
	if err != nil {
		_ = n.Close()
		return err
	}
	defer admin.close()
	log.Info("listening", "addr", n.Addr(), "data", c.DataDir, "version", c.Version)
	notify("READY=1", "STATUS=listening on "+n.Addr())
	go announce(ctx, n, log)
	select {
	case <-ctx.Done():
		return stop(n, v.Duration(keyStopTimeout), log)
	case <-n.Done():
		closeWithin(n.Close, brokenCloseTimeout)
		if fault.Of(n.Err()) == fault.StoreRemoved { // somebody wanted that
			return fmt.Errorf("the node has ended: %w", n.Err())
		}
		return fault.With(fault.StoreStopped, fmt.Errorf("the node stopped because going on could damage data: %w; see the log, and do not delete anything before the cause is known", n.Err()))
	}
}

// stop ends a node in order: what it leads is led elsewhere first, for at most limit. A second signal ends the process at
// once, see main.
func stop(n *node.Node, limit time.Duration, log *slog.Logger) error {
	log.Info("stopping", "limit", limit)
	notify("STOPPING=1", "STATUS=giving leaderships away")
	if limit > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := n.Leave(ctx); err != nil {
			log.Warn("stops with leaderships: what is led here has no leader for about a second", "err", err)
		}
	}
	err := n.Close()
	log.Info("stopped")
	return err
}

// announce says when the node serves.
func announce(ctx context.Context, n *node.Node, log *slog.Logger) {
	if n.Ready(ctx) == nil {
		log.Info("ready", "addr", n.Addr())
		notify("STATUS=serving on " + n.Addr())
	}
}

// closeWithin gives stop some time and then goes on without it.
func closeWithin(stop func() error, d time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = stop() // the reason for stopping is the error to report
	}()
	select {
	case <-done:
	case <-time.After(d):
	}
}
