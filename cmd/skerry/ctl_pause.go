package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) ctlPauseCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pause-scheduling",
		Short: "keep placement from moving anything for a time",
		Long: `Pause-scheduling keeps placement from beginning anything by itself: neither balance nor drains nor the repair of lost
stores. What is under way goes on, what is half done is ended, and what is asked for by hand is done. It ends by itself.`,
		Example: "  skerry ctl pause-scheduling --for 10m",
		Args:    cobra.NoArgs,
	}
	length := cmd.Flags().Duration("for", 0, "how long; at most 24h")
	_ = cmd.MarkFlagRequired("for")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *length <= 0 {
			return usagef("--for must be above zero; `%s ctl resume-scheduling` ends a pause", a.name)
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			if err := s.Admin().PauseScheduling(ctx, *length); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "nothing is scheduled for %s; lost stores are not repaired meanwhile\n", output.Duration(*length))
			return a.printPause(*length, *format)
		})
	}
	return cmd
}

func (a *app) ctlResumeCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "resume-scheduling",
		Short: "end a pause",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, s *session) error {
				ctx, cancel := s.limit(ctx)
				defer cancel()
				if err := s.Admin().PauseScheduling(ctx, 0); err != nil {
					return err
				}
				fmt.Fprintln(a.err, "placement schedules again")
				return a.printPause(0, *format)
			})
		},
	}
}

// printPause says in JSON how long nothing is scheduled.
func (a *app) printPause(length time.Duration, format output.Format) error {
	if format != output.JSON {
		return nil
	}
	return output.WriteJSON(a.out, struct {
		SchemaVersion int     `json:"schema_version"`
		Paused        float64 `json:"paused_seconds"`
	}{output.SchemaVersion, length.Seconds()})
}
