package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/setting"
)

func (a *app) ctlSettingsCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "settings of the whole cluster, changed while it runs",
		Long: `Settings of the cluster are kept by placement and told to every node: they hold on all of them within two seconds or so,
without a restart, and on nodes that join later. They win over what a node was told at its start by file, environment or
flag, which holds again after a reset.`,
		Example: "  skerry ctl settings set down-after 2h\n  skerry ctl settings set log-level debug\n  skerry ctl settings reset log-level",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.settingsListCmd(format), a.settingsGetCmd(format), a.settingsSetCmd(format), a.settingsResetCmd(format))
	return cmd
}

// settingRow is a setting as people see it.
type settingRow struct {
	Key string `json:"key"`
	// Value is the cluster's; absent: each node goes by what it was told at its start.
	Value   *string `json:"value,omitempty"`
	Origin  string  `json:"origin"` // cluster or node
	For     string  `json:"for"`
	Default string  `json:"default"`
	Usage   string  `json:"usage"`
}

func settingRows(made []client.Setting) []settingRow {
	var rows []settingRow
	for _, s := range setting.Table() {
		r := settingRow{Key: s.Key, Origin: "node", For: s.For, Default: s.Default, Usage: s.Usage}
		if i := slices.IndexFunc(made, func(m client.Setting) bool { return m.Key == s.Key }); i >= 0 {
			r.Value, r.Origin = &made[i].Value, string(config.FromCluster)
		}
		rows = append(rows, r)
	}
	for i, m := range made {
		if _, ok := setting.Find(m.Key); !ok {
			rows = append(rows, settingRow{Key: m.Key, Value: &made[i].Value, Origin: string(config.FromCluster), Usage: "not known to this program, which is older than the cluster's"})
		}
	}
	return rows
}

func (a *app) printSettings(rows []settingRow, format output.Format) error {
	if format == output.JSON {
		return output.WriteJSON(a.out, struct {
			SchemaVersion int          `json:"schema_version"`
			Settings      []settingRow `json:"settings"`
		}{output.SchemaVersion, rows})
	}
	table := make([][]string, 0, len(rows))
	for _, r := range rows {
		value := "-"
		if r.Value != nil {
			value = *r.Value
		}
		table = append(table, []string{r.Key, value, r.Origin, dash(r.For), dash(r.Default), r.Usage})
	}
	return output.WriteTable(a.out, []string{"SETTING", "VALUE", "ORIGIN", "FOR", "DEFAULT", ""}, table)
}

// checkSetting refuses a setting, or a value of it, as a node would.
func checkSetting(key string, value *string) error {
	s, ok := setting.Find(key)
	if !ok {
		return fault.Errorf(fault.UnknownKey, "there is no setting %q of the cluster; did you mean %q? `skerry ctl settings list` shows them", key, config.Nearest(key, setting.Keys()))
	}
	if value == nil {
		return nil
	}
	if err := s.Check(*value); err != nil {
		return fault.Errorf(fault.BadValue, "%s: %w", key, err)
	}
	return nil
}

func (a *app) settingsListCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the settings that a cluster can have",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSettings(cmd, format, "", func(ctx context.Context, admin *client.Admin) ([]client.Setting, error) { return admin.Settings(ctx) }, nil)
		},
	}
}

func (a *app) settingsGetCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "show one setting",
		Args:  cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = completeSettings
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkSetting(args[0], nil); err != nil {
			return err
		}
		return a.withSettings(cmd, format, args[0], func(ctx context.Context, admin *client.Admin) ([]client.Setting, error) { return admin.Settings(ctx) }, nil)
	}
	return cmd
}

func (a *app) settingsSetCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "make a setting for the whole cluster",
		Args:  cobra.ExactArgs(2),
	}
	cmd.ValidArgsFunction = completeSettings
	dry := cmd.Flags().Bool("dry-run", false, "check it, and do nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkSetting(args[0], &args[1]); err != nil {
			return err
		}
		return a.withSettings(cmd, format, args[0], func(ctx context.Context, admin *client.Admin) ([]client.Setting, error) {
			return admin.SetSettings(ctx, client.Setting{Key: args[0], Value: args[1]})
		}, dry)
	}
	return cmd
}

func (a *app) settingsResetCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset KEY",
		Short: "have every node go by what it was told at its start again",
		Args:  cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = completeSettings
	dry := cmd.Flags().Bool("dry-run", false, "check it, and do nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withSettings(cmd, format, args[0], func(ctx context.Context, admin *client.Admin) ([]client.Setting, error) {
			return admin.ResetSettings(ctx, args[0])
		}, dry)
	}
	return cmd
}

// withSettings does something about settings, and shows those that are then, or the one that is named.
func (a *app) withSettings(cmd *cobra.Command, format *output.Format, key string, do func(context.Context, *client.Admin) ([]client.Setting, error), dry *bool) error {
	return a.withDB(cmd, func(ctx context.Context, s *session) error {
		ctx, cancel := s.limit(ctx)
		defer cancel()
		if dry == nil {
			dry = new(bool)
		}
		made, err := do(ctx, (waitFlags{dry: dry}).admin(s))
		if err != nil {
			return err
		}
		rows := settingRows(made)
		if key != "" {
			rows = slices.DeleteFunc(rows, func(r settingRow) bool { return r.Key != key })
		}
		if *dry {
			fmt.Fprintln(a.err, "it would be so:")
		}
		return a.printSettings(rows, *format)
	})
}

func completeSettings(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, s := range setting.Table() {
		if strings.HasPrefix(s.Key, word) {
			out = append(out, s.Key+"\t"+s.Usage)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
