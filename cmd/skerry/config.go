package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

func (a *app) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "look at settings and where they come from",
		Long: `Settings have one name everywhere: split-keys in a TOML or YAML file (--config),
SKERRY_SPLIT_KEYS in the environment, --split-keys as a flag. Flags win over the
environment, the environment over the file, the file over defaults. A name that does not
exist is an error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configPrintCmd(), a.configCheckCmd())
	return cmd
}

func (a *app) configPrintCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "print",
		Short: "print all settings as a TOML file",
		Long: `Print writes all settings in the form of a TOML file, as a command with the same flags,
environment and file would see them. What is left at its default stands as a comment.`,
		Args: cobra.NoArgs,
	}
	origin := cmd.Flags().Bool("origin", false, "say where each value comes from")
	cluster := cmd.Flags().Bool("cluster", false, "as a node of the cluster at --addr goes by them: with what skerry ctl settings says")
	format := outputFlag(cmd, false)
	a.registry.AddFlags(cmd.Flags(), a.registry.Keys()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, err := a.load(cmd)
		if err != nil {
			return err
		}
		if *cluster {
			if err := a.overlayCluster(cmd, v); err != nil {
				return err
			}
		}
		if *format == output.JSON {
			return output.WriteJSON(a.out, struct {
				SchemaVersion int          `json:"schema_version"`
				Settings      []config.Row `json:"settings"`
			}{output.SchemaVersion, v.Rows()})
		}
		t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, r := range v.Rows() {
			line := r.TOML()
			// What nobody set is a comment, because to write a default down may mean more than to leave it out
			// (--bootstrap of a lone server).
			if r.Source == config.FromDefault {
				line = "# " + line
			}
			if *origin {
				line += "\t# " + v.Origin(r.Key).String()
			}
			fmt.Fprintln(t, line)
		}
		return t.Flush()
	}
	return cmd
}

// overlayCluster has the settings of the cluster in place of what a node was told at its start.
func (a *app) overlayCluster(cmd *cobra.Command, v *config.Values) error {
	return a.withDB(cmd, func(ctx context.Context, s *session) error {
		ctx, cancel := s.limit(ctx)
		defer cancel()
		made, err := s.Admin().Settings(ctx)
		for _, m := range made {
			v.Overlay(m.Key, m.Value) // those that are no node's have no place here
		}
		return err
	})
}

func (a *app) configCheckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "check the file and the environment, and say what would run",
		Args:  cobra.NoArgs,
	}
	a.registry.AddFlags(cmd.Flags(), a.registry.Keys()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v, err := a.load(cmd)
		if err != nil {
			return err
		}
		c, err := nodeConfig(roleServer, v)
		if err != nil {
			return fault.Errorf(fault.BadConfig, "all settings can be read, but `skerry server` could not use them: %w", err)
		}
		what := "a store and a placement member"
		if c.Placement == nil {
			what = "a store that joins"
		}
		_, err = fmt.Fprintf(a.out, "ok: `skerry server` would run %s on %s\n", what, c.Listen)
		return err
	}
	return cmd
}
