package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/progress"
	"github.com/skerrydb/skerry/internal/cli/transfer"
	"github.com/skerrydb/skerry/internal/fault"
)

type exportFlags struct {
	format    formatFlag
	prefix    string
	parallel  int
	overwrite bool
	output    *output.Format
}

func (a *app) exportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export TARGET",
		Short: "write keys to a directory tree, JSON lines or CSV",
		Long: `Export writes every key that begins with --prefix to TARGET: a directory, a *.jsonl or
*.csv file, or - with --format for standard output.

In a directory each key without the prefix becomes a file with the value as its content.
A key that is no plain relative path (an empty, "." or ".." element, a slash at an end, a
key that is also another one's directory) ends the export; nothing is ever written outside
of TARGET. JSON lines and CSV hold whole keys, in order.

What is exported gives the same keys and values when it is imported, but not times to
live. The export is no view of one moment.`,
		Args: cobra.ExactArgs(1),
	}
	var f exportFlags
	fs := cmd.Flags()
	fs.Var(&f.format, "format", "tree, jsonl or csv (default by TARGET's name)")
	fs.StringVar(&f.prefix, "prefix", "", "only keys that begin with this `key`")
	fs.IntVar(&f.parallel, "parallel", 8, "shards read at once, to a directory")
	fs.BoolVar(&f.overwrite, "overwrite", false, "replace files that exist")
	f.output = outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error { return a.exportTo(ctx, s, args[0], &f) })
	}
	return cmd
}

func (a *app) exportTo(ctx context.Context, s *session, path string, f *exportFlags) error {
	prefix, err := output.Unescape(f.prefix)
	if err != nil {
		return fault.With(fault.BadUsage, err)
	}
	if path == standardStream && *f.output == output.JSON {
		return usagef("-o json and the export cannot both go to standard output; name a file")
	}
	target, parallel, err := a.openTarget(path, f.format.Format, prefix, f.overwrite)
	if err != nil {
		return err
	}
	o := transfer.ExportOptions{Range: client.Prefix(prefix), Parallel: 1}
	if parallel {
		o.Parallel = f.parallel
	}
	p := progress.New(progress.Options{Out: a.err, Terminal: isTerminal(a.err), Verb: "export"})
	o.Progress = p.Add
	err = transfer.Export(ctx, s, target, o)
	sum := p.Done()
	if err != nil {
		return fault.With(fault.BadTarget, fmt.Errorf("export to %s: %w; it holds %s keys and is not complete: remove it and start again", path, err, output.Count(sum.Keys)))
	}
	fmt.Fprintf(a.err, "exported %s\n", sum)
	return a.printSummary(sum, *f.output)
}
