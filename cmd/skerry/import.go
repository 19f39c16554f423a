package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/progress"
	"github.com/skerrydb/skerry/internal/cli/transfer"
	"github.com/skerrydb/skerry/internal/fault"
)

type importFlags struct {
	format     formatFlag
	prefix     string
	parallel   int
	checkpoint string
	skipLarge  bool
	retryFor   time.Duration
	output     *output.Format
}

func (a *app) importCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import SOURCE",
		Short: "write keys from a directory tree, JSON lines or CSV",
		Long: `Import writes everything in SOURCE, in place of what the keys held before:

  a directory   every regular file: the relative path, with slashes, is the key, the
                content the value
  *.jsonl       {"key":"…","value":"…"} per line; key_base64 and value_base64 for bytes
                that are no text
  *.csv         a first line key,value or key,value,encoding; rows whose encoding is
                base64 hold key and value in base64
  -             standard input, with --format

It may be started again after it was interrupted: what is written again has the same
value. With --checkpoint it goes on where it was instead of beginning again. While parts
of the cluster are away it tries again for --retry-for. Nobody else should write the same
keys meanwhile.`,
		Args: cobra.ExactArgs(1),
	}
	var f importFlags
	fs := cmd.Flags()
	fs.Var(&f.format, "format", "tree, jsonl or csv (default by SOURCE's name)")
	fs.StringVar(&f.prefix, "prefix", "", "put this `key` before every key")
	fs.IntVar(&f.parallel, "parallel", 8, "batches of 1 MiB written at once")
	fs.StringVar(&f.checkpoint, "checkpoint", "", "`file` to keep the position in; removed at the end")
	fs.BoolVar(&f.skipLarge, "skip-large", false, "leave out files that are too large for a value")
	fs.DurationVar(&f.retryFor, "retry-for", 2*time.Minute, "how long a batch is tried again")
	f.output = outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error { return a.importFrom(ctx, s, args[0], &f) })
	}
	return cmd
}

func (a *app) importFrom(ctx context.Context, s *session, path string, f *importFlags) (err error) {
	prefix, err := output.Unescape(f.prefix)
	if err != nil {
		return fault.With(fault.BadUsage, err)
	}
	src, err := a.openSource(path, f.format.Format, f.skipLarge)
	if err != nil {
		return err
	}
	defer func() { _ = src.close() }() // only read
	cp, err := openCheckpoint(ctx, s, f.checkpoint, transfer.Checkpoint{Source: src.name, Prefix: prefix})
	if err != nil {
		return err
	}
	if st := cp.State(); len(st.Pos) > 0 {
		fmt.Fprintf(a.err, "going on after %s, where %s keys were written; remove %s to begin again\n", output.Escape(st.Pos), output.Count(st.Keys), f.checkpoint)
	}
	keys, bytes, err := src.Total(string(cp.State().Pos))
	if err != nil {
		return fault.Errorf(fault.BadSource, "import %s: %w; nothing is written", path, err)
	}
	p := progress.New(progress.Options{Out: a.err, Terminal: isTerminal(a.err), Verb: "import", Keys: keys, Bytes: bytes})
	err = transfer.Import(ctx, s, src, transfer.ImportOptions{Prefix: prefix, Parallel: f.parallel, RetryFor: f.retryFor, Checkpoint: cp, Progress: p.Add})
	sum := p.Done()
	if err != nil {
		again := "start it again"
		if f.checkpoint != "" {
			again = "the same command goes on from there"
		}
		if fault.Of(err) == "" { // not the cluster's fault: what is in the source
			again = "correct it, and " + again
		}
		return fault.With(fault.BadSource, fmt.Errorf("import %s: %w; %s keys are written, %s", path, err, output.Count(sum.Keys), again))
	}
	fmt.Fprintf(a.err, "imported %s\n", sum)
	if src.tree != nil && src.tree.Skipped > 0 {
		fmt.Fprintf(a.err, "left out %s links, special files and files that are too large\n", output.Count(src.tree.Skipped))
	}
	return a.printSummary(sum, *f.output)
}

// openCheckpoint names the cluster in the checkpoint, so that another or a fresh one gets everything.
func openCheckpoint(ctx context.Context, s *session, path string, want transfer.Checkpoint) (*transfer.CheckpointFile, error) {
	if path != "" {
		ctx, cancel := s.limit(ctx)
		defer cancel()
		id, err := clusterID(ctx, s)
		if err != nil {
			return nil, err
		}
		want.Cluster = id
	}
	cp, err := transfer.OpenCheckpoint(path, want)
	return cp, fault.With(fault.BadSource, err)
}

func (a *app) printSummary(sum progress.Summary, f output.Format) error {
	if f != output.JSON {
		return nil
	}
	return output.WriteJSON(a.out, struct {
		SchemaVersion int     `json:"schema_version"`
		Keys          int64   `json:"keys"`
		Bytes         int64   `json:"bytes"`
		Seconds       float64 `json:"seconds"`
	}{output.SchemaVersion, sum.Keys, sum.Bytes, sum.Elapsed.Seconds()})
}
