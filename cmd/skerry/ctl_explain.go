package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) ctlExplainCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "say why a shard is where it is, or what a store is held for",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	of := &cobra.Command{
		Use:   "shard SHARD",
		Short: "what placement thinks of a shard, and what it did with it lately",
		Args:  cobra.ExactArgs(1),
	}
	of.ValidArgsFunction = a.complete(a.shardIDs)
	of.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.ID]("shard", "s", args[0])
		if err != nil {
			return err
		}
		return a.explainThing(cmd, *format, func(ctx context.Context, admin *client.Admin) (client.Explanation, error) {
			return admin.ExplainShard(ctx, id)
		})
	}
	at := &cobra.Command{
		Use:   "store STORE",
		Short: "what placement thinks of a store, and why it gets replicas or none",
		Args:  cobra.ExactArgs(1),
	}
	at.ValidArgsFunction = a.complete(a.storeIDs)
	at.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("store", "st", args[0])
		if err != nil {
			return err
		}
		return a.explainThing(cmd, *format, func(ctx context.Context, admin *client.Admin) (client.Explanation, error) {
			return admin.ExplainStore(ctx, id)
		})
	}
	cmd.AddCommand(of, at)
	return cmd
}

func (a *app) explainThing(cmd *cobra.Command, format output.Format, f func(ctx context.Context, admin *client.Admin) (client.Explanation, error)) error {
	return a.withDB(cmd, func(ctx context.Context, s *session) error {
		ctx, cancel := s.limit(ctx)
		defer cancel()
		x, err := f(ctx, s.Admin())
		if err != nil {
			return err
		}
		if format == output.JSON {
			doc := struct {
				SchemaVersion int           `json:"schema_version"`
				Lines         []string      `json:"lines"`
				Operators     []operatorRow `json:"operators"`
				Paused        float64       `json:"paused_seconds,omitempty"`
			}{SchemaVersion: output.SchemaVersion, Lines: x.Lines, Operators: []operatorRow{}, Paused: x.Paused.Seconds()}
			for i := range x.Operators {
				doc.Operators = append(doc.Operators, makeOperatorRow(&x.Operators[i]))
			}
			return output.WriteJSON(a.out, doc)
		}
		for _, line := range x.Lines {
			fmt.Fprintln(a.out, line)
		}
		if x.Paused > 0 {
			fmt.Fprintf(a.out, "nothing is scheduled for another %s (`%s ctl resume-scheduling`)\n", output.Duration(x.Paused), a.name)
		}
		if len(x.Operators) == 0 {
			return nil
		}
		fmt.Fprintln(a.out)
		return a.printOperators(x.Operators, format)
	})
}

func (a *app) ctlPlanCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "say what would happen if a store left, or if empty ones came",
		Long: `Plan runs placement's schedulers over a copy of the cluster until they rest, and says how full every store would be.
Nothing is changed. The exit code is 1 if some shards would not stand as they should.`,
		Example: "  skerry ctl plan --without-store st3\n  skerry ctl plan --add-stores 2",
		Args:    cobra.NoArgs,
	}
	without := cmd.Flags().String("without-store", "", "`store` that leaves")
	add := cmd.Flags().Int("add-stores", 0, "how `many` empty stores come")
	size := cmd.Flags().Uint64("capacity", 0, "`bytes` of disk of each; 0: as many as the largest store has")
	cmd.MarkFlagsMutuallyExclusive("without-store", "add-stores")
	cmd.MarkFlagsOneRequired("without-store", "add-stores")
	a.completeFlag(cmd, "without-store", a.storeIDs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var id shard.StoreID
		if *without != "" {
			var err error
			if id, err = parseID[shard.StoreID]("store", "st", *without); err != nil {
				return err
			}
		} else if *add < 1 {
			return usagef("--add-stores must be at least 1")
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.printPlan(ctx, s, *format, func(ctx context.Context, admin *client.Admin) (*client.PlanInfo, error) {
				if id != 0 {
					return admin.PlanWithout(ctx, id)
				}
				return admin.PlanWith(ctx, *add, *size)
			})
		})
	}
	return cmd
}

// printPlan asks for a plan and shows it.
func (a *app) printPlan(ctx context.Context, s *session, format output.Format, f func(ctx context.Context, admin *client.Admin) (*client.PlanInfo, error)) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	p, err := f(ctx, s.Admin())
	if err != nil {
		return err
	}
	if format == output.JSON {
		err = output.WriteJSON(a.out, struct {
			SchemaVersion int              `json:"schema_version"`
			Plan          *client.PlanInfo `json:"plan"`
		}{output.SchemaVersion, p})
	} else {
		err = a.printPlanTable(p)
	}
	if err == nil && !p.Possible {
		return &exitWith{code: exitError}
	}
	return err
}

func (a *app) printPlanTable(p *client.PlanInfo) error {
	rows := make([][]string, 0, len(p.Stores))
	for _, st := range p.Stores {
		name := st.Store.String()
		if st.New {
			name = "new"
		}
		full := "-"
		if st.Capacity > 0 {
			full = strconv.FormatFloat(100*float64(st.BytesAfter)/float64(st.Capacity), 'f', 1, 64) + "%"
		}
		rows = append(rows, []string{name, arrow(st.Shards, st.ShardsAfter), arrow(st.Leaders, st.LeadersAfter),
			output.Bytes(float64(st.Bytes)) + " -> " + output.Bytes(float64(st.BytesAfter)), full})
	}
	if err := output.WriteTable(a.out, []string{"STORE", "SHARDS", "LEADERS", "BYTES", "OF DISK"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	for _, k := range p.Operators {
		fmt.Fprintf(a.out, "%s: %d, copying %s\n", k.Kind, k.Count, output.Bytes(float64(k.Bytes)))
	}
	switch {
	case p.Unfinished:
		fmt.Fprintln(a.out, "it would not come to rest")
	case p.UnplacedCount > 0:
		fmt.Fprintf(a.out, "%d shards would not stand as they should:\n", p.UnplacedCount)
	case len(p.Operators) == 0:
		fmt.Fprintln(a.out, "nothing would be done")
	default:
		fmt.Fprintln(a.out, "every shard would stand as it should")
	}
	for _, u := range p.Unplaced {
		fmt.Fprintf(a.out, "  %s: %s\n", u.Shard, u.Why)
	}
	return nil
}

func arrow(before, after int) string {
	if before == after {
		return strconv.Itoa(after)
	}
	return fmt.Sprintf("%d -> %d", before, after)
}
