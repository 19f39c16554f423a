package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) delCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "del KEY... | --prefix P --yes",
		Short: "delete keys",
		Long: `Del deletes keys; one that does not exist is no error. With --prefix it deletes every
key that begins with it, shard by shard.`,
	}
	var form byteForm
	form.flag(cmd)
	prefix := cmd.Flags().String("prefix", "", "delete all keys that begin with this `key`")
	yes := cmd.Flags().Bool("yes", false, "do not ask whether --prefix is meant")
	trace := traceFlag(cmd)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		byPrefix := cmd.Flags().Changed("prefix")
		switch {
		case byPrefix == (len(args) > 0):
			return usagef("name keys to delete, or --prefix")
		case byPrefix && !*yes:
			return unconfirmedf("this deletes every key with that prefix; say --yes if it is meant")
		}
		keys := make([][]byte, len(args))
		for i, arg := range args {
			var err error
			if keys[i], err = form.key(arg); err != nil {
				return err
			}
		}
		start, err := form.key(*prefix)
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.traced(ctx, *trace, output.Table, func(ctx context.Context) error {
				if byPrefix {
					return s.DeleteRange(ctx, client.Prefix(start))
				}
				ctx, cancel := s.limit(ctx)
				defer cancel()
				if len(keys) == 1 {
					return s.Delete(ctx, keys[0])
				}
				return s.DeleteMany(ctx, keys)
			})
		})
	}
	return cmd
}
