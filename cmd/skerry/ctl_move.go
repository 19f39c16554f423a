package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) shardMoveCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "move SHARD",
		Short: "move a replica of a shard from one store to another",
		Long: `Move has placement put the replica of a shard that is on one store onto another, which must hold none of it. The shard
is served all the time. A shard that something more urgent is under way for is refused; see ` + "`ctl op list`" + `.`,
		Example: "  skerry ctl shard move s1001 --from st3 --to st4 --wait",
		Args:    cobra.ExactArgs(1),
	}
	from := cmd.Flags().String("from", "", "`store` that has the replica")
	to := cmd.Flags().String("to", "", "`store` that shall have it")
	_ = cmd.MarkFlagRequired("from")
	_ = cmd.MarkFlagRequired("to")
	w := a.waitFlags(cmd, "wait until it has moved")
	cmd.ValidArgsFunction = a.complete(a.shardIDs)
	a.completeFlag(cmd, "from", a.storeIDs)
	a.completeFlag(cmd, "to", a.storeIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.ID]("shard", "s", args[0])
		if err != nil {
			return err
		}
		src, err := parseID[shard.StoreID]("store", "st", *from)
		if err != nil {
			return err
		}
		dst, err := parseID[shard.StoreID]("store", "st", *to)
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.begin(ctx, s, w, *format, "move "+id.String(), func(ctx context.Context, admin *client.Admin) ([]client.OperatorInfo, error) {
				op, err := admin.MoveShard(ctx, id, src, dst)
				return []client.OperatorInfo{op}, err
			})
		})
	}
	return cmd
}

func (a *app) shardScatterCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scatter [SHARD...]",
		Short: "spread shards over the stores as if there were no others",
		Long: `Scatter spreads shards, and who leads them, evenly over all stores: those that are named, or those that hold keys of a
range. Balance looks at the whole cluster and may well leave the parts of one table together.`,
		Example: "  skerry ctl shard scatter --start user/ --end user0 --wait",
	}
	var form byteForm
	form.flag(cmd)
	start := cmd.Flags().String("start", "", "first `key` of a range")
	end := cmd.Flags().String("end", "", "first `key` behind it; empty: to the end")
	all := cmd.Flags().Bool("all", false, "all shards")
	w := a.waitFlags(cmd, "wait until all have moved")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeWord(cmd, a.shardIDs, word), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ranged := *all || *start != "" || *end != ""
		if ranged == (len(args) > 0) || *all && (*start != "" || *end != "") {
			return usagef("name shards, or a range with --start and --end, or --all")
		}
		var ids []shard.ID
		for _, text := range args {
			id, err := parseID[shard.ID]("shard", "s", text)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		r, err := parseRange(&form, *start, *end)
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.begin(ctx, s, w, *format, "scatter", func(ctx context.Context, admin *client.Admin) ([]client.OperatorInfo, error) {
				if ranged {
					return admin.ScatterRange(ctx, r)
				}
				return admin.ScatterShards(ctx, ids...)
			})
		})
	}
	return cmd
}

func parseRange(form *byteForm, start, end string) (r client.Range, err error) {
	if start != "" {
		if r.Start, err = form.key(start); err != nil {
			return r, err
		}
	}
	if end != "" {
		if r.End, err = form.key(end); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (a *app) shardTransferCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transfer-leader SHARD [STORE]",
		Short: "let the replica on another store lead",
		Long: `Transfer-leader has placement hand a shard's leadership to its replica on a store, and waits until that leads. A shard
that something more urgent is under way for is refused; see ` + "`ctl op list`" + `.`,
		Example: "  skerry ctl shard transfer-leader s1001 --to st2",
		Args:    cobra.RangeArgs(1, 2),
	}
	to := cmd.Flags().String("to", "", "`store` that shall lead")
	a.completeFlag(cmd, "to", a.storeIDs)
	cmd.ValidArgsFunction = a.complete(a.shardIDs, a.storeIDs)
	w := waitFlags{wait: cmd.Flags().Bool("wait", true, "wait until it has happened"), dry: cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 2) == (*to != "") {
			return usagef("name one store that shall lead: --to STORE")
		}
		if len(args) == 2 {
			*to = args[1]
		}
		id, err := parseID[shard.ID]("shard", "s", args[0])
		if err != nil {
			return err
		}
		dst, err := parseID[shard.StoreID]("store", "st", *to)
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error { return a.transferLeader(ctx, s, id, dst, w, *format) })
	}
	return cmd
}

func (a *app) transferLeader(ctx context.Context, s *session, id shard.ID, to shard.StoreID, w waitFlags, format output.Format) error {
	one, cancel := s.limit(ctx)
	op, err := w.admin(s).PlaceLeader(one, id, to)
	cancel()
	switch {
	case err != nil:
		return err
	case op.Kind == "": // it leads
	case *w.dry:
		fmt.Fprintln(a.err, "this would be done:")
		return a.printOperators([]client.OperatorInfo{op}, format)
	case !*w.wait:
		return a.printOperators([]client.OperatorInfo{op}, format)
	default:
		if err := awaitOperator(ctx, s, &op); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.err, "%s is led by %s\n", id, to)
	if format == output.JSON {
		ops := []client.OperatorInfo{op}
		if op.Kind == "" {
			ops = nil
		}
		return a.printOperators(ops, format)
	}
	return nil
}
