package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

// memberRemoved is the state of a member that is gone.
const memberRemoved = "removed"

// transferPatience is how long a handover may take before it is asked for again.
const transferPatience = 3 * time.Second

func (a *app) ctlMemberCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "placement members: list and remove them, let one lead",
		Long: `Members are the nodes that decide where shards are. A new one joins when a node is started with
--join (see ` + "`skerry placement --help`" + ` and ` + "`skerry server --help`" + `); with --replace it comes in the
place of another, whose disk or machine is lost.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.memberListCmd(format), a.memberRemoveCmd(format), a.memberTransferCmd(format))
	return cmd
}

func (a *app) memberListCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the members",
		Args:  cobra.NoArgs,
	}
	all := cmd.Flags().Bool("all", false, "also those that were removed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error { return a.printMembers(ctx, s, *all, *format) })
	}
	return cmd
}

// memberRow is a member in JSON.
type memberRow struct {
	Member uint64 `json:"member"`
	Addr   string `json:"addr"`
	State  string `json:"state"`
	Leader bool   `json:"leader"`
	Heard  bool   `json:"heard"`
	Step   string `json:"step,omitempty"`
}

func (a *app) printMembers(ctx context.Context, s *session, all bool, format output.Format) error {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	members, warnings, err := s.Admin().MemberStatus(ctx)
	if err != nil {
		return err
	}
	var rows [][]string
	out := make([]memberRow, 0, len(members))
	for _, m := range members {
		if m.State == memberRemoved && !all {
			continue
		}
		out = append(out, memberRow{Member: uint64(m.Member), Addr: m.Addr, State: m.State, Leader: m.Leader, Heard: m.Live, Step: m.Step})
		heard := "no"
		switch {
		case m.State == memberRemoved:
			heard = "-"
		case m.Leader:
			heard = "leads"
		case m.Live:
			heard = "yes"
		}
		step := m.Step
		if step == "" {
			step = "-"
		}
		rows = append(rows, []string{strconv.FormatUint(uint64(m.Member), 10), m.Addr, m.State, heard, step})
	}
	if format == output.JSON {
		return output.WriteJSON(a.out, struct {
			SchemaVersion int         `json:"schema_version"`
			Members       []memberRow `json:"members"`
			Warnings      []string    `json:"warnings,omitempty"`
		}{output.SchemaVersion, out, warnings})
	}
	a.warn(warnings)
	return output.WriteTable(a.out, []string{"MEMBER", "ADDRESS", "STATE", "HEARD", "STEP"}, rows)
}

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(a.err, "note: %s\n", w)
	}
}

func (a *app) memberRemoveCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove MEMBER",
		Short: "take a member out for good",
		Long: `Remove takes a member out of placement. It hands over if it leads, destroys what it holds, and ends;
its number never comes back. It is refused if those that remain could not decide anything. A member
whose disk or machine is lost is replaced best by starting a new one with --replace: then there is
never one too few.`,
		Example: "  skerry ctl member remove 2 --yes --wait",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.memberIDs)
	yes := cmd.Flags().Bool("yes", false, "it is really to go")
	w := a.waitFlags(cmd, "wait until it is out")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("member", "m", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			one, cancel := s.limit(ctx)
			defer cancel()
			admin := w.admin(s)
			if !*yes {
				admin = s.Admin().DryRun()
			}
			warnings, err := admin.RemoveMember(one, id)
			if err != nil {
				return err
			}
			switch {
			case *w.dry:
				a.warn(warnings)
				fmt.Fprintf(a.err, "member %d would be removed\n", uint64(id))
				return nil
			case !*yes:
				a.warn(warnings)
				return unconfirmedf("member %d would destroy what it holds, and its number would never come back; say --yes if it is to go", uint64(id))
			case *w.wait:
				if err := awaitMember(ctx, s, id, func(m client.MemberStatus) bool { return m.State == memberRemoved }); err != nil {
					return goesOnf("member %d is not out yet; it goes on, `%s ctl member list` shows how far: %w", uint64(id), a.name, err)
				}
				fmt.Fprintf(a.err, "member %d is removed\n", uint64(id))
			default:
				fmt.Fprintf(a.err, "member %d is being removed; `%s ctl member list` shows how far it is\n", uint64(id), a.name)
			}
			return a.printMembers(ctx, s, false, *format)
		})
	}
	return cmd
}

// awaitMember returns when a member is as it shall be.
func awaitMember(ctx context.Context, s *session, id shard.StoreID, done func(client.MemberStatus) bool) error {
	for {
		one, cancel := s.limit(ctx)
		members, _, err := s.Admin().MemberStatus(one)
		cancel()
		for _, m := range members {
			if err == nil && m.Member == id && done(m) {
				return nil
			}
		}
		if err := sleep(ctx, operatorPollInterval); err != nil {
			return err
		}
	}
}

func (a *app) memberTransferCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "transfer-leader MEMBER",
		Short:   "let a member lead",
		Long:    `Transfer-leader has the leader of placement hand over to another member, and waits until that leads.`,
		Example: "  skerry ctl member transfer-leader 2",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.memberIDs)
	w := waitFlags{wait: cmd.Flags().Bool("wait", true, "wait until it leads"), dry: cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("member", "m", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			switch err := a.transferMember(ctx, s, id, w); {
			case err != nil:
				return err
			case *w.dry:
				fmt.Fprintf(a.err, "member %d would lead\n", uint64(id))
				return nil
			}
			return a.printMembers(ctx, s, false, *format)
		})
	}
	return cmd
}

// transferMember asks for a handover, again and again if it is to be waited for: an election may come between.
func (a *app) transferMember(ctx context.Context, s *session, id shard.StoreID, w waitFlags) error {
	for {
		one, cancel := s.limit(ctx)
		err := w.admin(s).TransferMember(one, id)
		cancel()
		if err != nil || *w.dry || !*w.wait {
			return err
		}
		patience, end := context.WithTimeout(ctx, transferPatience)
		err = awaitMember(patience, s, id, func(m client.MemberStatus) bool { return m.Leader })
		end()
		if err == nil {
			fmt.Fprintf(a.err, "member %d leads\n", uint64(id))
			return nil
		}
		if ctx.Err() != nil {
			return goesOnf("member %d does not lead yet; ask again: %w", uint64(id), ctx.Err())
		}
	}
}
