package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) shardSplitCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "split SHARD",
		Short: "cut a shard at keys, or into parts of about equal size",
		Long: `Split cuts a shard and prints its parts, once that is done where the shard is led. Each KEY becomes the first key of a
new shard. With --half or --into the store finds the keys: it reads those of the whole shard.

Cutting at keys may be repeated without harm: keys at which a shard begins already are left out.`,
		Example: "  skerry ctl shard split s1001 --key user/5 --key user/7\n  skerry ctl shard split s1001 --half",
		Args:    cobra.ExactArgs(1),
	}
	var form byteForm
	form.flag(cmd)
	texts := cmd.Flags().StringArray("key", nil, `first key of a new shard; \xNN for any byte; may be given several times`)
	half := cmd.Flags().Bool("half", false, "in the middle, by size")
	into := cmd.Flags().Int("into", 0, "into so many parts of about equal size")
	cmd.MarkFlagsMutuallyExclusive("key", "half", "into")
	cmd.MarkFlagsOneRequired("key", "half", "into")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.ID]("shard", "s", args[0])
		if err != nil {
			return err
		}
		var keys [][]byte
		for _, text := range *texts {
			k, err := form.key(text)
			if err != nil {
				return err
			}
			keys = append(keys, k)
		}
		if *half {
			*into = 2
		}
		if len(keys) == 0 && *into < 2 {
			return usagef("--into needs at least 2 parts")
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			parts, err := split(ctx, s, id, keys, *into)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s is %d shards now\n", id, len(parts))
			return a.printShards(func(yield func(client.ShardInfo, error) bool) {
				for _, p := range parts {
					if !yield(p, nil) {
						return
					}
				}
			}, *format)
		})
	}
	return cmd
}

func split(ctx context.Context, s *session, id shard.ID, keys [][]byte, into int) ([]client.ShardInfo, error) {
	if len(keys) > 0 {
		return s.Admin().Split(ctx, id, keys...)
	}
	return s.Admin().SplitInto(ctx, id, into)
}
