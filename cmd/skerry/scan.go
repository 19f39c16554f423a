package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) scanCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scan [START [END]]",
		Short: "list keys in order",
		Long: `Scan prints the keys from START up to, but not including, END, or those that begin with
--prefix: a line each, key and value separated by a tab. -o json prints one JSON object
per line, which ` + "`skerry import`" + ` reads.

A key that exists throughout the scan is there exactly once. The whole is no view of one
moment.`,
		Args: cobra.MaximumNArgs(2),
	}
	var form byteForm
	form.flag(cmd)
	prefix := cmd.Flags().String("prefix", "", "only keys that begin with this `key`")
	limit := cmd.Flags().Int("limit", 0, "at most that many keys (default all)")
	reverse := cmd.Flags().Bool("reverse", false, "from the last key to the first")
	keysOnly := cmd.Flags().Bool("keys-only", false, "no values")
	trace := traceFlag(cmd)
	format := outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := scanRange(args, *prefix, &form)
		if err != nil {
			return err
		}
		if *limit < 0 {
			return usagef("--limit cannot be below zero; leave it out for all keys")
		}
		opts := []client.ScanOption{client.Limit(*limit), client.ReuseRows()}
		if *keysOnly {
			opts = append(opts, client.KeysOnly())
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.traced(ctx, *trace, *format, func(ctx context.Context) error {
				kvs := s.Scan(ctx, r, opts...)
				if *reverse {
					kvs = s.ReverseScan(ctx, r, opts...)
				}
				return printKVs(a.out, kvs, &form, *keysOnly, *format)
			})
		})
	}
	return cmd
}

func scanRange(args []string, prefix string, form *byteForm) (client.Range, error) {
	if prefix != "" {
		if len(args) > 0 {
			return client.Range{}, usagef("--prefix and START exclude each other; give one of them")
		}
		p, err := form.key(prefix)
		return client.Prefix(p), err
	}
	var r client.Range
	for i, bound := range []*[]byte{&r.Start, &r.End}[:len(args)] {
		var err error
		if *bound, err = form.key(args[i]); err != nil {
			return r, err
		}
	}
	return r, nil
}

func printKVs(w io.Writer, kvs iter.Seq2[client.KV, error], form *byteForm, keysOnly bool, format output.Format) (err error) {
	out := bufio.NewWriter(w)
	defer func() { err = errors.Join(err, out.Flush()) }()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for kv, err := range kvs {
		if err != nil {
			return err
		}
		switch {
		case format == output.JSON:
			err = enc.Encode(makePair(kv.Key, kv.Value, keysOnly))
		case keysOnly:
			_, err = fmt.Fprintln(out, form.show(kv.Key))
		default:
			_, err = fmt.Fprintf(out, "%s\t%s\n", form.show(kv.Key), form.show(kv.Value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
