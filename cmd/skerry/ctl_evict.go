package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) storeEvictCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evict-leaders STORE",
		Short: "move all leaderships away from a store, and keep them away",
		Long: `Evict-leaders has a store lead nothing: its leaderships move to other replicas of their shards, and none comes back, also
not after a restart, until ` + "`ctl store allow-leaders`" + `. It keeps its replicas. A shard that no other store can lead stays where it
is. A node that is stopped gives its leaderships away by itself.`,
		Example: "  skerry ctl store evict-leaders st3 --wait",
		Args:    cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.storeIDs)
	w := a.waitFlags(cmd, "wait until it leads nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withStore(cmd, args[0], *format, func(ctx context.Context, s *session, id shard.StoreID) error {
			one, cancel := s.limit(ctx)
			err := w.admin(s).EvictLeaders(one, id)
			cancel()
			switch {
			case err != nil:
				return err
			case *w.dry:
				fmt.Fprintf(a.err, "%s would lead nothing\n", id)
			case *w.wait:
				return awaitLeaders(ctx, s, id, func(st client.StoreInfo) bool { return st.Leaders == 0 && !st.Unheard })
			}
			return nil
		})
	}
	return cmd
}

func (a *app) storeAllowCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "allow-leaders STORE",
		Short: "let a store lead again",
		Long:  `Allow-leaders ends ` + "`ctl store evict-leaders`" + `. Leaderships come back as balance wants them.`,
		Args:  cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.storeIDs)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withStore(cmd, args[0], *format, func(ctx context.Context, s *session, id shard.StoreID) error {
			one, cancel := s.limit(ctx)
			defer cancel()
			return s.Admin().AllowLeaders(one, id)
		})
	}
	return cmd
}

// withStore does something about a store, and shows it then.
func (a *app) withStore(cmd *cobra.Command, text string, format output.Format, do func(context.Context, *session, shard.StoreID) error) error {
	id, err := parseID[shard.StoreID]("store", "st", text)
	if err != nil {
		return err
	}
	return a.withDB(cmd, func(ctx context.Context, s *session) error {
		if err := do(ctx, s, id); err != nil {
			return err
		}
		return a.printStore(ctx, s, id, format)
	})
}

// awaitLeaders waits until a store leads as it should, by what it last reported.
func awaitLeaders(ctx context.Context, s *session, id shard.StoreID, done func(client.StoreInfo) bool) error {
	for last := 0; ; {
		st, err := findStore(ctx, s, id)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s still leads %d shards; they go on moving: %w", id, last, ctx.Err())
		case err == nil && done(st):
			return nil
		case err == nil:
			last = st.Leaders
		}
		_ = sleep(ctx, operatorPollInterval)
	}
}
