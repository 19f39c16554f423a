package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) putCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "put KEY VALUE|-",
		Short: "write a key",
		Long: `Put writes a key. A value of - is read from standard input as it is. Values on the
command line are taken as they are typed; in keys, \xNN stands for a byte and \\ for a
backslash.`,
		Args: cobra.ExactArgs(2),
	}
	var form byteForm
	form.flag(cmd)
	var ttl time.Duration
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "let the key live that long")
	ifAbsent := cmd.Flags().Bool("if-absent", false, "only if the key does not exist")
	ifValue := cmd.Flags().String("if-value", "", "only if the key exists with this `value`")
	trace := traceFlag(cmd)
	a.clientFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("if-absent", "if-value")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, err := form.key(args[0])
		if err != nil {
			return err
		}
		value, err := a.readValue(args[1], &form)
		if err != nil {
			return err
		}
		old, err := form.value(*ifValue)
		if err != nil {
			return err
		}
		var opts []client.PutOption
		if cmd.Flags().Changed("ttl") {
			opts = append(opts, client.TTL(ttl))
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			return a.traced(ctx, *trace, output.Table, func(ctx context.Context) error {
				switch {
				case *ifAbsent:
					return s.PutIfAbsent(ctx, key, value, opts...)
				case cmd.Flags().Changed("if-value"):
					return s.CompareAndSwap(ctx, key, old, value, opts...)
				}
				return s.Put(ctx, key, value, opts...)
			})
		})
	}
	return cmd
}

// readValue takes a value from the command line or, for -, from standard input.
func (a *app) readValue(arg string, form *byteForm) ([]byte, error) {
	if arg != "-" {
		return form.value(arg)
	}
	b, err := io.ReadAll(io.LimitReader(a.in, shard.MaxValueBytes+1))
	if err != nil {
		return nil, fault.Errorf(fault.BadSource, "read the value from standard input: %w; nothing was sent", err)
	}
	if len(b) > shard.MaxValueBytes {
		return nil, fault.Errorf(fault.ValueTooLarge, "the value on standard input has more than %d bytes; cut it into several keys", shard.MaxValueBytes)
	}
	return b, nil
}
