package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/bug"
)

var errNoBugs = errors.New("this program was built without planted bugs: build it with -tags bugs (make sim-bugs)")

func bugsCommand() *cobra.Command {
	return &cobra.Command{Use: "bugs", Short: "List the bugs that can be planted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, b := range bug.All() {
				fmt.Fprintf(w, "%s\t%s\n", b.Name, b.What)
			}
			return w.Flush()
		}}
}
