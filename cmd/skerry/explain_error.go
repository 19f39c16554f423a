package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

func (a *app) explainErrorCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain-error [CODE]",
		Short: "say what a code such as SK2003 means and what helps",
		Long: `Errors of the SDK and of this command end with a code in brackets. Explain-error says what
it means, why it happens and what helps; without a code it lists all.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var out []string
			for _, g := range fault.Table() {
				for _, e := range g.Entries {
					out = append(out, string(e.Code)+"\t"+e.Means)
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	format := outputFlag(cmd, false)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return a.listErrors(*format)
		}
		code := strings.ToUpper(strings.Trim(args[0], "[] "))
		if !strings.HasPrefix(code, "SK") {
			code = "SK" + code
		}
		e, ok := fault.Find(fault.Code(code))
		if !ok {
			return fault.Errorf(fault.UnknownFault, "there is no code %q; `%s explain-error` lists all", args[0], a.name)
		}
		if *format == output.JSON {
			return output.WriteJSON(a.out, e)
		}
		fmt.Fprintf(a.out, "%s: %s.\n", e.Code, e.Means)
		if e.Cause != "" {
			fmt.Fprintf(a.out, "Cause:  %s.\n", e.Cause)
		}
		_, err := fmt.Fprintf(a.out, "Remedy: %s.\n", e.Remedy)
		return err
	}
	return cmd
}

func (a *app) listErrors(format output.Format) error {
	if format == output.JSON {
		var all []fault.Entry
		for _, g := range fault.Table() {
			all = append(all, g.Entries...)
		}
		return output.WriteJSON(a.out, all)
	}
	for _, g := range fault.Table() {
		fmt.Fprintf(a.out, "%s\n", g.Title)
		for _, e := range g.Entries {
			fmt.Fprintf(a.out, "  %s  %s\n", e.Code, e.Means)
		}
	}
	return nil
}
