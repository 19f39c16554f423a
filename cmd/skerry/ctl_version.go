package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) ctlVersionCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "the version of the cluster, which ends an upgrade",
		Long: `A cluster has a version, which says what its programs may write and send. Each program knows some versions. While nodes are
upgraded one after the other the cluster stays at the version that all of them know, and every node can go back to the
program that it had. Finalize raises it when the last one was upgraded; it is never lowered.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.versionShowCmd(format), a.versionFinalizeCmd(format))
	return cmd
}

func (a *app) versionShowCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "show the version, and which ones the nodes know",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, s *session) error {
				ctx, cancel := s.limit(ctx)
				defer cancel()
				v, err := s.Admin().Version(ctx)
				if err != nil {
					return err
				}
				return a.printVersion(v, *format)
			})
		},
	}
}

func (a *app) versionFinalizeCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "finalize",
		Short: "raise the version to the newest that all nodes know",
		Long: `Finalize ends an upgrade: what the new programs bring may be used from then on, and no node can go back to the program
that it had before. It is refused, and says which nodes are in the way, unless every store that was not removed and every
placement member is heard and knows the new version. It does nothing if there is nothing to raise.`,
		Args: cobra.NoArgs,
	}
	dry := cmd.Flags().Bool("dry-run", false, "check it, and do nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			before, err := s.Admin().Version(ctx)
			if err != nil {
				return err
			}
			v, err := (waitFlags{dry: dry}).admin(s).FinalizeVersion(ctx)
			if v != nil {
				if err := a.printVersion(v, *format); err != nil {
					return err
				}
			}
			switch {
			case err != nil:
			case before.Version == before.Target:
				fmt.Fprintf(a.err, "there is nothing to finalize: the cluster has version %s, and no node knows a newer one\n", v.Version)
			case *dry:
				fmt.Fprintf(a.err, "the cluster would have version %s in place of %s\n", v.Target, v.Version)
			default:
				fmt.Fprintf(a.err, "the cluster has version %s; its nodes cannot go back to the programs that they had before\n", v.Version)
			}
			return err
		})
	}
	return cmd
}

func (a *app) printVersion(v *client.VersionInfo, format output.Format) error {
	if format == output.JSON {
		return output.WriteJSON(a.out, struct {
			SchemaVersion int `json:"schema_version"`
			*client.VersionInfo
			Finalized bool `json:"finalized"`
		}{output.SchemaVersion, v, v.Version == v.Target})
	}
	rows := make([][]string, 0, len(v.Nodes))
	for _, n := range v.Nodes {
		knows, active := "-", "-"
		if n.Versions.Newest != 0 {
			knows = n.Versions.String()
		}
		if n.Active != 0 {
			active = n.Active.String()
		}
		rows = append(rows, []string{n.Role, strconv.FormatUint(uint64(n.ID), 10), n.Addr, dash(n.Program), knows, active, dash(n.Why)})
	}
	if err := output.WriteTable(a.out, []string{"ROLE", "ID", "ADDRESS", "PROGRAM", "KNOWS", "GOES BY", "IN THE WAY"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.out, "\nthe cluster has version %s, the newest that a node knows is %s\n", v.Version, v.Target)
	return err
}
