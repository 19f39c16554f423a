package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/progress"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) storeDrainCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain STORE",
		Short: "move everything away from a store",
		Long: `Drain has placement move all replicas and leaderships away from a store, which serves until then. When it is empty,
` + "`ctl store remove`" + ` takes it out of the cluster. It is refused with the reason if the other stores cannot hold what is on
it. It goes on whether somebody waits or not; ` + "`ctl store undrain`" + ` ends it.`,
		Example: "  skerry ctl store drain st3 --wait && skerry ctl store remove st3 --yes",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.storeIDs)
	force := cmd.Flags().Bool("force", false, "also if the others cannot hold all of it")
	w := a.waitFlags(cmd, "wait until it is empty")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("store", "st", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			one, cancel := s.limit(ctx)
			err := w.admin(s).DrainStore(one, id, *force)
			cancel()
			switch {
			case err != nil:
				return err
			case *w.dry:
				fmt.Fprintf(a.err, "%s would be drained\n", id)
				return a.printPlan(ctx, s, *format, func(ctx context.Context, admin *client.Admin) (*client.PlanInfo, error) {
					return admin.PlanWithout(ctx, id)
				})
			case *w.wait:
				if err := a.awaitEmpty(ctx, s, id); err != nil {
					return err
				}
				fmt.Fprintf(a.err, "%s is empty; `%s ctl store remove %s --yes` takes it out of the cluster\n", id, a.name, id)
			default:
				fmt.Fprintf(a.err, "%s is drained; `%s ctl store list` shows how much is left\n", id, a.name)
			}
			return a.printStore(ctx, s, id, *format)
		})
	}
	return cmd
}

// awaitEmpty shows how far a drain is, until nothing is left.
func (a *app) awaitEmpty(ctx context.Context, s *session, id shard.StoreID) error {
	var p *progress.Progress
	all, last := 0, 0
	for {
		st, err := findStore(ctx, s, id)
		switch {
		case ctx.Err() != nil:
			return goesOnf("%s still holds %d replicas; the drain goes on: %w", id, last, ctx.Err())
		case err == nil && !st.Draining:
			return fault.Errorf(fault.NotReached, "%s is %s and not drained any more: somebody ended that; drain it again", id, st.State)
		case err == nil && p == nil:
			all, last = st.Shards, st.Shards
			p = progress.New(progress.Options{Out: a.err, Terminal: isTerminal(a.err), Verb: "drain " + id.String(), Keys: int64(all), Noun: "replicas"})
			defer p.Done()
		case err == nil:
			p.Add(max(0, last-st.Shards), 0)
			last = st.Shards
		}
		if err == nil && st.Shards == 0 && !st.Unheard {
			return nil
		}
		_ = sleep(ctx, operatorPollInterval)
	}
}

func findStore(ctx context.Context, s *session, id shard.StoreID) (client.StoreInfo, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	stores, err := s.Admin().Stores(ctx)
	if err != nil {
		return client.StoreInfo{}, err
	}
	for _, st := range stores {
		if st.ID == id {
			return st, nil
		}
	}
	return client.StoreInfo{}, fault.Errorf(fault.Invalid, "there is no store %s; `skerry ctl store list` shows them", id)
}

// printStore shows one store as `ctl store list` does.
func (a *app) printStore(ctx context.Context, s *session, id shard.StoreID, format output.Format) error {
	st, err := findStore(ctx, s, id)
	if err != nil {
		return err
	}
	return a.printStores([]client.StoreInfo{st}, format)
}

func (a *app) storeUndrainCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undrain STORE",
		Short: "end a drain",
		Long:  `Undrain ends a drain. What has moved away comes back only as far as balance wants it.`,
		Args:  cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.storeIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("store", "st", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			one, cancel := s.limit(ctx)
			defer cancel()
			if err := s.Admin().UndrainStore(one, id); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s is not drained any more\n", id)
			return a.printStore(ctx, s, id, *format)
		})
	}
	return cmd
}

func (a *app) storeLabelCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "label STORE KEY=VALUE...",
		Short: "give a store labels, which placement rules are about",
		Long: `Label gives a store labels in place of those of the same keys. KEY= takes one away. Rules say which labels keep replicas
apart (zone, rack, host) and which ones a store must have; see ` + "`ctl rules`" + `.`,
		Example: "  skerry ctl store label st3 zone=a disk=ssd",
		Args:    cobra.MinimumNArgs(2),
	}
	cmd.ValidArgsFunction = a.complete(a.storeIDs)
	dry := cmd.Flags().Bool("dry-run", false, "check it, and do nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("store", "st", args[0])
		if err != nil {
			return err
		}
		labels := make(map[string]string)
		for _, text := range args[1:] {
			key, value, ok := strings.Cut(text, "=")
			if !ok || key == "" {
				return usagef("%q is not a label; write zone=a, or zone= to take it away", text)
			}
			if _, twice := labels[key]; twice {
				return usagef("label %q is given twice; give it once", key)
			}
			labels[key] = value
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			one, cancel := s.limit(ctx)
			defer cancel()
			if err := (waitFlags{dry: dry}).admin(s).LabelStore(one, id, labels); err != nil {
				return err
			}
			return a.printStore(ctx, s, id, *format)
		})
	}
	return cmd
}

// labelText is a store's labels in one word.
func labelText(labels []client.Label) string {
	var out []string
	for _, l := range labels {
		out = append(out, l.Key+"="+l.Value)
	}
	return dash(strings.Join(out, ","))
}
