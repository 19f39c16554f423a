// Command skerry-sim runs Skerry clusters in simulated worlds, each of which a seed decides. It is apart from the release
// binary, which holds nothing of it.
//
// Exit codes: 0 nothing was violated, 1 something was, 2 a wrong call.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "skerry-sim", Short: "Clusters in simulated worlds, replayed from a seed", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(runCommand(), replayCommand(), verifyCommand(), bugsCommand(), huntCommand(), exploreCommand(), reportCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		if err != errViolated {
			fmt.Fprintln(os.Stderr, "skerry-sim:", err)
			os.Exit(2)
		}
		os.Exit(1)
	}
}
