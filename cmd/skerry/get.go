package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) getCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "read a key",
		Long: `Get prints the value of a key, with \xNN for what cannot be printed and \\ for a
backslash. --raw writes the value's bytes and nothing else, for files and pipes. Keys are
written in the same form. If there is no such key the exit code is 3.`,
		Args: cobra.ExactArgs(1),
	}
	var form byteForm
	form.flag(cmd)
	raw := cmd.Flags().Bool("raw", false, "write the bytes of the value as they are")
	ttl := cmd.Flags().Bool("ttl", false, "print how long the key has to live instead, 0s for ever")
	trace := traceFlag(cmd)
	format := outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.MarkFlagsMutuallyExclusive("raw", "hex", "ttl")
	cmd.MarkFlagsMutuallyExclusive("raw", "output")
	cmd.MarkFlagsMutuallyExclusive("ttl", "output")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		key, err := form.key(args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			return a.traced(ctx, *trace, *format, func(ctx context.Context) error {
				if *ttl {
					left, err := s.GetTTL(ctx, key)
					if err != nil {
						return notFound(err)
					}
					_, err = fmt.Fprintln(a.out, left)
					return err
				}
				value, err := s.Get(ctx, key)
				if err != nil {
					return notFound(err)
				}
				return a.printValue(key, value, &form, *raw, *format)
			})
		})
	}
	return cmd
}

func (a *app) printValue(key, value []byte, form *byteForm, raw bool, format output.Format) error {
	var err error
	switch {
	case raw:
		_, err = a.out.Write(value)
	case format == output.JSON:
		err = output.WriteJSON(a.out, struct {
			SchemaVersion int `json:"schema_version"`
			pair
		}{output.SchemaVersion, makePair(key, value, false)})
	default:
		_, err = fmt.Fprintln(a.out, form.show(value))
	}
	return err
}

// notFound gives the error of a key that does not exist its exit code.
func notFound(err error) error {
	if errors.Is(err, client.ErrNotFound) {
		return &exitWith{code: exitNotFound, err: err}
	}
	return err
}
