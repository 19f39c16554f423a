package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/progress"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// operatorPollInterval is how often a command that waits looks how far it is.
const operatorPollInterval = 300 * time.Millisecond

func (a *app) ctlOpCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "op",
		Short: "operators: what placement has under way",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.opListCmd(format), a.opShowCmd(format), a.opCancelCmd(format))
	return cmd
}

func (a *app) opListCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list what is under way, and with --history what ended lately",
		Args:  cobra.NoArgs,
	}
	history := cmd.Flags().Bool("history", false, "also those that ended, the latest first")
	of := cmd.Flags().String("shard", "", "only those of this `shard`")
	a.completeFlag(cmd, "shard", a.shardIDs)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var id shard.ID
		if *of != "" {
			var err error
			if id, err = parseID[shard.ID]("shard", "s", *of); err != nil {
				return err
			}
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			ops, err := s.Admin().Operators(ctx, id, *history)
			if err != nil {
				return err
			}
			return a.printOperators(ops, *format)
		})
	}
	return cmd
}

func (a *app) opShowCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show OPERATOR",
		Short: "show one operator, under way or ended lately",
		Args:  cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.operatorIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[uint64]("operator", "o", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			op, err := s.Admin().Operator(ctx, id)
			if err != nil {
				return err
			}
			if *format == output.JSON {
				return a.printOperators([]client.OperatorInfo{op}, *format)
			}
			return a.showOperator(&op)
		})
	}
	return cmd
}

func (a *app) opCancelCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel OPERATOR",
		Short: "end an operator; what is half done is undone",
		Args:  cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.operatorIDs)
	w := a.waitFlags(cmd, "wait until what is half done is undone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[uint64]("operator", "o", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.begin(ctx, s, w, *format, "undo", func(ctx context.Context, admin *client.Admin) ([]client.OperatorInfo, error) {
				return admin.CancelOperator(ctx, id)
			})
		})
	}
	return cmd
}

// waitFlags are the flags of commands that begin operators.
type waitFlags struct{ wait, dry *bool }

func (a *app) waitFlags(cmd *cobra.Command, wait string) waitFlags {
	return waitFlags{wait: cmd.Flags().Bool("wait", false, wait), dry: cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")}
}

// admin is the administrator's calls as the flags want them.
func (w waitFlags) admin(s *session) *client.Admin {
	if *w.dry {
		return s.Admin().DryRun()
	}
	return s.Admin()
}

// begin begins operators, prints them, and waits for their end if that is wanted.
func (a *app) begin(ctx context.Context, s *session, w waitFlags, format output.Format, verb string, f func(ctx context.Context, admin *client.Admin) ([]client.OperatorInfo, error)) error {
	one, cancel := s.limit(ctx)
	ops, err := f(one, w.admin(s))
	cancel()
	if err != nil {
		return err
	}
	switch {
	case *w.dry:
		fmt.Fprintln(a.err, "this would be done:")
	case len(ops) == 0:
		fmt.Fprintln(a.err, "nothing is to be done")
	}
	if !*w.wait || *w.dry {
		return a.printOperators(ops, format)
	}
	ended, err := a.await(ctx, s, ops, verb)
	if printErr := a.printOperators(ended, format); printErr != nil {
		return printErr
	}
	return err
}

// await returns operators as they ended. An error says which did not finish.
func (a *app) await(ctx context.Context, s *session, ops []client.OperatorInfo, verb string) ([]client.OperatorInfo, error) {
	p := progress.New(progress.Options{Out: a.err, Terminal: isTerminal(a.err), Verb: verb, Keys: int64(len(ops)), Noun: "operators"})
	defer p.Done()
	out := append([]client.OperatorInfo(nil), ops...)
	var errs []error
	for i := range out {
		if err := awaitOperator(ctx, s, &out[i]); err != nil {
			errs = append(errs, err)
		}
		p.Add(1, 0)
		if ctx.Err() != nil {
			break
		}
	}
	return out, errors.Join(errs...)
}

// awaitOperator polls one operator until its end.
func awaitOperator(ctx context.Context, s *session, op *client.OperatorInfo) error {
	for over(op) == "" {
		if err := sleep(ctx, operatorPollInterval); err != nil {
			return goesOnf("o%d goes on; see `skerry ctl op show o%d`: %w", op.ID, op.ID, err)
		}
		one, cancel := s.limit(ctx)
		now, err := s.Admin().Operator(one, op.ID)
		cancel()
		switch {
		case errors.Is(err, client.ErrInvalid): // its placement leader is gone, and it with it
			return awaitForgotten(ctx, s, op)
		case err != nil && ctx.Err() == nil:
			continue // nobody leads placement at the moment
		case err == nil:
			*op = now
		}
	}
	if op.State == "cancelled" || op.State == "finished" {
		return nil
	}
	return fault.Errorf(fault.NotReached, "%s was not brought to its goal: o%d %s: %s", op.Shard, op.ID, op.State, op.Reason)
}

// awaitForgotten decides from the shard what became of an operator that was forgotten.
func awaitForgotten(ctx context.Context, s *session, op *client.OperatorInfo) error {
	op.State, op.Reason = "forgotten", "the leader of placement changed"
	one, cancel := s.limit(ctx)
	defer cancel()
	sh, err := s.Admin().ShardByID(one, op.Shard)
	if err == nil && atGoal(&sh, op) {
		op.State = "finished"
		return nil
	}
	return fault.Errorf(fault.NotReached, "o%d for %s was forgotten when the leader of placement changed; look at the shard, and ask again", op.ID, op.Shard)
}

// atGoal reports whether a shard is where an operator was to bring it.
func atGoal(sh *client.ShardInfo, op *client.OperatorInfo) bool {
	if op.Leader != 0 && sh.Leader.Store != op.Leader || len(op.Voters) > 0 && len(op.Voters) != len(sh.Replicas) {
		return false
	}
	for _, st := range op.Voters {
		found := false
		for _, r := range sh.Replicas {
			found = found || r.Store == st && r.Role == shard.Voter
		}
		if !found {
			return false
		}
	}
	return true
}

// over is the state of an operator that has ended, "" of one that has not.
func over(op *client.OperatorInfo) string {
	if op.ID == 0 || op.State == "planned" || op.State == "running" {
		return ""
	}
	return op.State
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// operatorRow is an operator in JSON.
type operatorRow struct {
	ID      uint64   `json:"id,omitempty"`
	Kind    string   `json:"kind"`
	Shard   uint64   `json:"shard"`
	State   string   `json:"state"`
	Voters  []uint64 `json:"voters,omitempty"`
	Leader  uint64   `json:"leader_store,omitempty"`
	Why     string   `json:"why"`
	Step    string   `json:"step,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Bytes   uint64   `json:"bytes,omitempty"`
	ByHand  bool     `json:"by_hand,omitempty"`
	Seconds float64  `json:"age_seconds"`
	Took    float64  `json:"took_seconds,omitempty"`
}

func makeOperatorRow(o *client.OperatorInfo) operatorRow {
	row := operatorRow{ID: o.ID, Kind: o.Kind, Shard: uint64(o.Shard), State: o.State, Leader: uint64(o.Leader), Why: o.Why, Step: o.Step,
		Reason: o.Reason, Bytes: o.Bytes, ByHand: o.ByHand, Seconds: o.Age.Seconds(), Took: o.Took.Seconds()}
	for _, st := range o.Voters {
		row.Voters = append(row.Voters, uint64(st))
	}
	return row
}

func (a *app) printOperators(ops []client.OperatorInfo, format output.Format) error {
	if format == output.JSON {
		rows := make([]operatorRow, 0, len(ops))
		for i := range ops {
			rows = append(rows, makeOperatorRow(&ops[i]))
		}
		return output.WriteJSON(a.out, struct {
			SchemaVersion int           `json:"schema_version"`
			Operators     []operatorRow `json:"operators"`
		}{output.SchemaVersion, rows})
	}
	rows := make([][]string, 0, len(ops))
	for i := range ops {
		o := &ops[i]
		next := o.Step
		if over(o) != "" {
			next = o.Reason
		}
		rows = append(rows, []string{operatorID(o.ID), o.Kind, o.Shard.String(), o.State, goalText(o), output.Duration(o.Age), dash(next), o.Why})
	}
	return output.WriteTable(a.out, []string{"OPERATOR", "KIND", "SHARD", "STATE", "GOAL", "AGE", "NEXT", "WHY"}, rows)
}

func operatorID(id uint64) string {
	if id == 0 {
		return "-"
	}
	return fmt.Sprintf("o%d", id)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// goalText is where an operator wants a shard.
func goalText(o *client.OperatorInfo) string {
	var parts []string
	for _, st := range o.Voters {
		text := st.String()
		if st == o.Leader {
			text += "*"
		}
		parts = append(parts, text)
	}
	switch {
	case len(parts) == 0 && o.Leader != 0:
		return "lead " + o.Leader.String()
	case len(parts) == 0:
		return "as it is"
	}
	return strings.Join(parts, ",")
}

func (a *app) showOperator(o *client.OperatorInfo) error {
	fmt.Fprintf(a.out, "operator  %s\nkind      %s\nshard     %s\nstate     %s\ngoal      %s\nwhy       %s\n", operatorID(o.ID), o.Kind, o.Shard, o.State, goalText(o), o.Why)
	if o.Bytes > 0 {
		fmt.Fprintf(a.out, "copies    %s\n", output.Bytes(float64(o.Bytes)))
	}
	if over(o) != "" {
		_, err := fmt.Fprintf(a.out, "ended     %s ago, after %s\nbecause   %s\n", output.Duration(o.Age-o.Took), output.Duration(o.Took), dash(o.Reason))
		return err
	}
	_, err := fmt.Fprintf(a.out, "age       %s\nnext      %s\n", output.Duration(o.Age), dash(o.Step))
	return err
}
