package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

// What administrators see of transactions: timestamps, locks, and the collection of old versions.

func (a *app) ctlTSCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "ts",
		Short: "fetch a timestamp",
		Long:  `Ts fetches a timestamp, as every transaction does. Reading at it sees all that was committed before.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, s *session) error {
				ctx, cancel := s.limit(ctx)
				defer cancel()
				ts, err := s.Timestamp(ctx)
				if err != nil {
					return err
				}
				if *format == output.JSON {
					return output.WriteJSON(a.out, struct {
						SchemaVersion int              `json:"schema_version"`
						Timestamp     client.Timestamp `json:"timestamp"`
						Time          time.Time        `json:"time"`
					}{output.SchemaVersion, ts, timeOf(ts)})
				}
				_, err = fmt.Fprintln(a.out, uint64(ts))
				return err
			})
		},
	}
}

func timeOf(ts client.Timestamp) time.Time { return time.UnixMilli(int64(ts.Millis())).UTC() }

func parseTS(text string) (client.Timestamp, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is no timestamp; fetch one with `skerry ctl ts`", text)
	}
	return client.Timestamp(n), nil
}

func (a *app) ctlLockCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "locks of unfinished transactions",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.lockListCmd(format), a.lockResolveCmd())
	return cmd
}

// locks yields the locks that the arguments and flags of a command name.
func (a *app) locks(cmd *cobra.Command, use func(ctx context.Context, s *session, l client.Lock) error) func(args []string) error {
	var form byteForm
	form.flag(cmd)
	prefix := cmd.Flags().String("prefix", "", "all keys that begin with this `text`")
	return func(args []string) error {
		r, err := scanRange(args, *prefix, &form)
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			now, err := s.Timestamp(ctx)
			if err != nil {
				return err
			}
			for l, err := range s.Admin().Locks(ctx, r, now) {
				if err == nil {
					err = use(ctx, s, l)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (a *app) lockListCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [START [END]]",
		Short: "list the locks of a range",
		Args:  cobra.MaximumNArgs(2),
	}
	var all []client.LockInfo
	run := a.locks(cmd, func(_ context.Context, _ *session, l client.Lock) error {
		all = append(all, l.LockInfo)
		return nil
	})
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := run(args); err != nil {
			return err
		}
		return a.printLocks(all, *format)
	}
	return cmd
}

func (a *app) printLocks(all []client.LockInfo, format output.Format) error {
	if format == output.JSON {
		type lock struct {
			Key     output.Binary    `json:"key"`
			Primary output.Binary    `json:"primary"`
			Start   client.Timestamp `json:"start_ts"`
			Kind    string           `json:"kind"`
			Async   bool             `json:"async"`
			Expires time.Time        `json:"expires"`
		}
		locks := []lock{}
		for _, l := range all {
			locks = append(locks, lock{output.MakeBinary(l.Key), output.MakeBinary(l.Primary), l.StartTS, l.Kind, l.Async, l.ExpiresAt.UTC()})
		}
		return output.WriteJSON(a.out, struct {
			SchemaVersion int    `json:"schema_version"`
			Locks         []lock `json:"locks"`
		}{output.SchemaVersion, locks})
	}
	var rows [][]string
	for _, l := range all {
		kind := l.Kind
		if l.Async {
			kind += ", async"
		}
		rows = append(rows, []string{output.Escape(l.Key), kind, fmt.Sprint(uint64(l.StartTS)), output.Escape(l.Primary), l.ExpiresAt.UTC().Format(time.RFC3339)})
	}
	return output.WriteTable(a.out, []string{"KEY", "KIND", "START", "PRIMARY", "EXPIRES"}, rows)
}

func (a *app) lockResolveCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resolve [START [END]]",
		Short: "finish the transactions whose locks stand in a range",
		Long: `Resolve asks the primary key of each lock what became of its transaction and finishes it. Transactions whose client is
gone are rolled back when their locks' life is over, within seconds; one that is alive is waited for, and then an error.
Readers and writers do the same when they meet a lock, so this is needed for none.`,
		Args: cobra.MaximumNArgs(2),
	}
	n := 0
	run := a.locks(cmd, func(ctx context.Context, s *session, l client.Lock) error {
		ctx, cancel := s.limit(ctx)
		defer cancel()
		n++
		return s.Admin().ResolveLock(ctx, l)
	})
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := run(args); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.err, "%d lock(s) resolved\n", n)
		return err
	}
	return cmd
}

// defaultKeep is how long `ctl gc run` keeps versions that were overwritten.
const defaultKeep = 10 * time.Minute

func (a *app) ctlGCCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "old versions of transactional keys",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.gcRunCmd(format), a.gcSetCmd(format), a.gcStatusCmd(format))
	return cmd
}

// safePoints makes the command's RunE of a function that returns them.
func (a *app) safePoints(format *output.Format, f func(ctx context.Context, s *session, args []string) (client.SafePoints, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			p, err := f(ctx, s, args)
			if err != nil {
				return err
			}
			g, err := s.Admin().GC(ctx)
			if err != nil {
				return err
			}
			return a.printSafePoints(p, g, *format)
		})
	}
}

func (a *app) printSafePoints(p client.SafePoints, g client.GCSettings, format output.Format) error {
	if format == output.JSON {
		return output.WriteJSON(a.out, struct {
			SchemaVersion int              `json:"schema_version"`
			Safe          client.Timestamp `json:"safe"`
			Collect       client.Timestamp `json:"collect"`
			KeepSeconds   float64          `json:"keep_seconds"`
			Paused        bool             `json:"paused"`
		}{output.SchemaVersion, p.Safe, p.Collect, g.Keep.Seconds(), g.Paused})
	}
	paused := ""
	if g.Paused {
		paused = "; paused: the safe point does not move by itself"
	}
	if _, err := fmt.Fprintf(a.out, "versions are kept for %s%s\n\n", g.Keep, paused); err != nil {
		return err
	}
	row := func(name string, ts client.Timestamp) []string {
		if ts == 0 {
			return []string{name, "0", "never"}
		}
		return []string{name, fmt.Sprint(uint64(ts)), timeOf(ts).Format(time.RFC3339)}
	}
	return output.WriteTable(a.out, []string{"POINT", "TIMESTAMP", "TIME"}, [][]string{row("safe", p.Safe), row("collect", p.Collect)})
}

func (a *app) gcRunCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "move the safe point, resolve the locks below it, and have old versions collected",
		Long: `Run gives up the versions that only reads older than --keep could see, now. The cluster does that by itself every
5 minutes or more often, unless it was paused (` + "`skerry ctl gc set --pause`" + `). A transaction that is older and still alive
stops it; nothing is lost by that, and the next run goes on.`,
		Args: cobra.NoArgs,
	}
	keep := cmd.Flags().Duration("keep", defaultKeep, "how far back reads stay possible")
	cmd.RunE = a.safePoints(format, func(ctx context.Context, s *session, _ []string) (client.SafePoints, error) {
		return s.Admin().CollectGarbage(ctx, *keep)
	})
	return cmd
}

func (a *app) gcSetCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set [TIMESTAMP]",
		Short: "say how long versions are kept, pause their collection, or move the safe point",
		Long: `Set changes how the safe point moves by itself. With a TIMESTAMP it moves it there, and does nothing else: reads and
transactions below it are refused from then on.`,
		Args: cobra.MaximumNArgs(1),
	}
	keep := cmd.Flags().Duration("keep", defaultKeep, "how far back reads stay possible")
	pause := cmd.Flags().Bool("pause", false, "the safe point stays where it is")
	resume := cmd.Flags().Bool("resume", false, "it moves by itself again")
	cmd.MarkFlagsMutuallyExclusive("pause", "resume")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kept := cmd.Flags().Changed("keep")
		if len(args) == 0 && !kept && !*pause && !*resume {
			return usagef("say what to set: a timestamp, --keep, --pause or --resume")
		}
		return a.safePoints(format, func(ctx context.Context, s *session, args []string) (p client.SafePoints, err error) {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			if kept {
				if _, err = s.Admin().SetGCKeep(ctx, *keep); err != nil {
					return p, err
				}
			}
			if *pause || *resume {
				if _, err = s.Admin().PauseGC(ctx, *pause); err != nil {
					return p, err
				}
			}
			if len(args) == 0 {
				return s.Admin().SafePoints(ctx)
			}
			ts, err := parseTS(args[0])
			if err != nil {
				return p, err
			}
			return s.Admin().SetSafePoint(ctx, ts)
		})(cmd, args)
	}
	return cmd
}

func (a *app) gcStatusCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "show the safe points, and how long versions are kept",
		Args:  cobra.NoArgs,
		RunE: a.safePoints(format, func(ctx context.Context, s *session, _ []string) (client.SafePoints, error) {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			return s.Admin().SafePoints(ctx)
		}),
	}
}
