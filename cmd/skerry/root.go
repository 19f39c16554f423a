package main

import (
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

// configEnv is the variable that names the file of settings.
const configEnv = config.EnvPrefix + "CONFIG"

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "skerry",
		Short: "a range-sharded, replicated key-value database",
		Long: `Skerry is a key-value database whose keyspace is cut into shards, each replicated by
Raft. This is all of it: nodes, a client, and the administrator's tools.

  skerry playground          a whole cluster in this process, for trying things out
  skerry server              a node as most people run it`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.Errorf(fault.BadUsage, "%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.PersistentFlags().String(config.FileKey, "", "TOML or YAML `file` of settings ("+configEnv+")")
	root.AddGroup(&cobra.Group{ID: "nodes", Title: "Nodes:"}, &cobra.Group{ID: "data", Title: "Data:"},
		&cobra.Group{ID: "admin", Title: "Administration:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("nodes", a.playgroundCmd(), a.serverCmd(), a.storeCmd(), a.placementCmd())
	add("data", a.getCmd(), a.putCmd(), a.delCmd(), a.scanCmd(), a.txnCmd(), a.watchCmd(), a.importCmd(), a.exportCmd(), a.benchCmd())
	add("admin", a.ctlCmd(), a.configCmd(), a.explainErrorCmd(), a.grafanaCmd(), a.alertsCmd(), a.debugCmd())
	root.AddCommand(a.versionCmd())
	root.InitDefaultCompletionCmd() // so that it takes part in what follows
	explainArgs(root)
	return root
}

// explainArgs makes errors about arguments say what would be right, for a command and those below it.
func explainArgs(cmd *cobra.Command) {
	cmd.SuggestionsMinimumDistance = 2
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && cmd.HasSubCommands() {
			return unknownCommand(cmd, args[0])
		}
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return fault.Errorf(fault.BadUsage, "%w; usage: %s", err, cmd.UseLine())
		}
		return nil
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return checkFlags(cmd) }
	for _, c := range cmd.Commands() {
		explainArgs(c)
	}
}

// flagGroup is how cobra names flags that exclude each other, or of which one is needed.
var flagGroup = regexp.MustCompile(`\[([^]]+)\] (were all set|is required)`)

// checkFlags says in our words what cobra would say right after it.
func checkFlags(cmd *cobra.Command) error {
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return fault.Errorf(fault.BadUsage, "%w; see `%s --help`", err, cmd.CommandPath())
	}
	err := cmd.ValidateFlagGroups()
	if err == nil {
		return nil
	}
	m := flagGroup.FindStringSubmatch(err.Error())
	if m == nil {
		return fault.Errorf(fault.BadUsage, "%w; see `%s --help`", err, cmd.CommandPath())
	}
	flags := "--" + strings.Join(strings.Fields(m[1]), ", --")
	if m[2] == "is required" {
		return usagef("give one of %s; see `%s --help`", flags, cmd.CommandPath())
	}
	return usagef("%s exclude each other; give one of them", flags)
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return fault.Errorf(fault.BadUsage, "there is no command %q; did you mean `%s %s`?", name, cmd.CommandPath(), config.Nearest(name, near))
	}
	return fault.Errorf(fault.BadUsage, "there is no command %q; see `%s --help`", name, cmd.CommandPath())
}

// load reads the settings as this command line sees them.
func (a *app) load(cmd *cobra.Command) (*config.Values, error) {
	file, err := cmd.Flags().GetString(config.FileKey)
	if err != nil {
		return nil, err
	}
	if file == "" {
		file = os.Getenv(configEnv)
	}
	return a.registry.Load(cmd.Flags(), file, os.Environ())
}

// outputFlag adds -o to a command and, if persistent, to those below it.
func outputFlag(cmd *cobra.Command, persistent bool) *output.Format {
	f := output.Table
	fs := cmd.Flags()
	if persistent {
		fs = cmd.PersistentFlags()
	}
	fs.VarP(&f, "output", "o", "table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return &f
}
