package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/transfer"
	"github.com/skerrydb/skerry/internal/fault"
)

// standardStream stands for standard input or output where a file is named.
const standardStream = "-"

// formatFlag is the value of --format.
type formatFlag struct{ transfer.Format }

func (f *formatFlag) String() string { return string(f.Format) }
func (f *formatFlag) Type() string   { return "format" }

func (f *formatFlag) Set(s string) error {
	switch transfer.Format(s) {
	case transfer.Tree, transfer.JSONL, transfer.CSV:
		f.Format = transfer.Format(s)
		return nil
	}
	return usagef("write tree, jsonl or csv")
}

// formatOf guesses the format from a file's name if nobody says it. Directories, and names without an extension, are
// trees.
func formatOf(path string, said transfer.Format) (transfer.Format, error) {
	if said != "" {
		return said, nil
	}
	info, err := os.Stat(path)
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case path == standardStream:
		return "", usagef("say with --format what is on the standard stream: jsonl or csv")
	case err == nil && info.IsDir():
		return transfer.Tree, nil
	case ext == ".jsonl" || ext == ".ndjson" || ext == ".json":
		return transfer.JSONL, nil
	case ext == ".csv":
		return transfer.CSV, nil
	case ext == "" && err != nil:
		return transfer.Tree, nil
	}
	return "", usagef("%s: unknown format; say --format tree, jsonl or csv", path)
}

// source is what is imported.
type source struct {
	transfer.Source
	tree  *transfer.TreeSource // nil unless it is one
	name  string               // for the checkpoint
	close func() error
}

func (a *app) openSource(path string, said transfer.Format, skipLarge bool) (*source, error) {
	format, err := formatOf(path, said)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &source{name: string(format) + ":" + output.Escape([]byte(abs)), close: func() error { return nil }}
	if format == transfer.Tree {
		if path == standardStream {
			return nil, usagef("a tree cannot be read from standard input; name a directory")
		}
		s.tree = transfer.NewTreeSource(path, skipLarge)
		s.Source = s.tree
		return s, nil
	}
	in, size := a.in, int64(0)
	if path != standardStream {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Errorf(fault.BadSource, "import: %w; name a file or directory that can be read", err)
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in, s.close = f, f.Close
	}
	s.Source = transfer.NewJSONLSource(in, size)
	if format == transfer.CSV {
		s.Source = transfer.NewCSVSource(in, size)
	}
	return s, nil
}

// openTarget makes what is exported to, and says whether several shards may be written at once.
func (a *app) openTarget(path string, said transfer.Format, prefix []byte, overwrite bool) (t transfer.Target, parallel bool, err error) {
	format, err := formatOf(path, said)
	if err != nil {
		return nil, false, err
	}
	if format == transfer.Tree {
		if path == standardStream {
			return nil, false, usagef("a tree cannot be written to standard output; name a directory")
		}
		if t, err = transfer.NewTreeTarget(path, prefix, overwrite); fault.Of(err) != "" {
			return nil, false, err
		} else if err != nil {
			return nil, false, fault.Errorf(fault.BadTarget, "export: %w; name a directory that can be written", err)
		}
		return t, true, nil
	}
	out, closeFile := a.out, func() error { return nil }
	if path != standardStream {
		flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
		if overwrite {
			flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		}
		f, err := os.OpenFile(path, flags, 0o666)
		if os.IsExist(err) {
			return nil, false, fault.Errorf(fault.BadTarget, "%s exists; name another file, or use --overwrite", path)
		}
		if err != nil {
			return nil, false, fault.Errorf(fault.BadTarget, "export: %w; name a file that can be written", err)
		}
		out, closeFile = f, f.Close
	}
	return newLineTarget(format, out, closeFile), false, nil
}

// lineTarget is a Target in a file, which is closed with it.
type lineTarget struct {
	transfer.Target
	closeFile func() error
}

func newLineTarget(format transfer.Format, w io.Writer, closeFile func() error) *lineTarget {
	if format == transfer.CSV {
		return &lineTarget{transfer.NewCSVTarget(w), closeFile}
	}
	return &lineTarget{transfer.NewJSONLTarget(w), closeFile}
}

func (t *lineTarget) Close() error {
	err := t.Target.Close()
	if cerr := t.closeFile(); err == nil {
		err = cerr
	}
	return err
}
