package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// TreeSource is the regular files below a directory. A file's key is its path relative to the directory, with slashes;
// its value is its content. Directories, links and other special files have no keys.
type TreeSource struct {
	dir       string
	skipLarge bool

	// Skipped counts what Total found that is not imported: special files, and with skipLarge files above the limit.
	Skipped int
}

// NewTreeSource reads the files below dir. Files above shard.MaxValueBytes are an error of Total, before anything is
// imported, or left out if skipLarge.
func NewTreeSource(dir string, skipLarge bool) *TreeSource {
	return &TreeSource{dir: dir, skipLarge: skipLarge}
}

// Total walks the tree once.
func (t *TreeSource) Total(after string) (keys, bytes int64, err error) {
	t.Skipped = 0
	err = t.walk(after, func(rel string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			t.Skipped++
			return nil
		}
		if info.Size() > shard.MaxValueBytes {
			if !t.skipLarge {
				return fmt.Errorf("%s has %d bytes, a value at most %d; move it away or use --skip-large",
					filepath.Join(t.dir, rel), info.Size(), shard.MaxValueBytes)
			}
			t.Skipped++
			return nil
		}
		keys++
		bytes += info.Size()
		return nil
	})
	return keys, bytes, err
}

// Records yields the files in the order of a walk that sorts the names in each directory.
func (t *TreeSource) Records(after string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		err := t.walk(after, func(rel string, info fs.FileInfo) error {
			if !info.Mode().IsRegular() || t.skipLarge && info.Size() > shard.MaxValueBytes {
				return nil
			}
			b, err := os.ReadFile(filepath.Join(t.dir, rel))
			if err != nil {
				return err
			}
			key := filepath.ToSlash(rel)
			if !yield(Record{KV: client.KV{Key: []byte(key), Value: b}, Pos: key, Bytes: int64(len(b))}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// walk calls f with everything that is no directory behind the position after.
func (t *TreeSource) walk(after string, f func(rel string, info fs.FileInfo) error) error {
	last := strings.Split(after, "/")
	return filepath.WalkDir(t.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(t.dir, p)
		if err != nil {
			return err
		}
		if after != "" && rel != "." {
			// A walk visits paths in the order of their elements, not of their bytes: "a/b" before "a-b".
			parts := strings.Split(filepath.ToSlash(rel), "/")
			before := slices.Compare(parts, last) <= 0
			switch {
			case before && d.IsDir() && !slices.Equal(parts, last[:min(len(parts), len(last))]):
				return fs.SkipDir
			case before:
				return nil
			}
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return f(rel, info)
	})
}

// treeTarget writes one file per key below a directory.
type treeTarget struct {
	root   *os.Root
	prefix []byte
	flags  int // of opening a file
	dirs   sync.Map
}

// NewTreeTarget writes each key without its prefix as a file below dir, which is made if it is not there. Files that
// exist are an error, or replaced if overwrite.
//
// INVARIANT: nothing outside dir is touched, whatever the keys are. Paths with empty, "." or ".." elements are refused,
// and os.Root does not follow links that lead out.
func NewTreeTarget(dir string, prefix []byte, overwrite bool) (Target, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 && !overwrite {
		return nil, fault.Errorf(fault.BadTarget, "%s is not empty; name another directory, or use --overwrite", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &treeTarget{root: root, prefix: prefix, flags: os.O_WRONLY | os.O_CREATE | os.O_EXCL}
	if overwrite {
		t.flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	return t, nil
}

// Write is safe for concurrent use.
func (t *treeTarget) Write(kv client.KV) (int64, error) {
	key, ok := bytes.CutPrefix(kv.Key, t.prefix)
	if !ok {
		return 0, fmt.Errorf("key %q does not begin with the prefix %q", kv.Key, t.prefix)
	}
	rel := string(key)
	if err := checkPath(rel); err != nil {
		return 0, fmt.Errorf("key %q cannot be a file: %w; export it as jsonl", kv.Key, err)
	}
	if err := t.makeDirs(path.Dir(rel)); err != nil {
		return 0, clash(kv.Key, err)
	}
	f, err := t.root.OpenFile(filepath.FromSlash(rel), t.flags, 0o666)
	if err != nil {
		return 0, clash(kv.Key, err)
	}
	_, err = f.Write(kv.Value)
	return int64(len(kv.Value)), errors.Join(err, f.Close())
}

// makeDirs makes dir and those above it. Each is made once, because it costs a system call per element.
func (t *treeTarget) makeDirs(dir string) error {
	if _, made := t.dirs.Load(dir); made || dir == "." {
		return nil
	}
	if err := t.root.MkdirAll(filepath.FromSlash(dir), 0o777); err != nil {
		return err
	}
	t.dirs.Store(dir, nil)
	return nil
}

// clash explains why a path could not be made.
func clash(key []byte, err error) error {
	return fmt.Errorf("key %q cannot be a file: %w (is another key its directory, or the same name?); export it as jsonl", key, err)
}

func (t *treeTarget) Close() error { return t.root.Close() }

// checkPath refuses what is no plain path below a directory.
func checkPath(rel string) error {
	for part := range strings.SplitSeq(rel, "/") {
		switch {
		case part == "":
			return errors.New("an element of the path is empty")
		case part == "." || part == "..":
			return fmt.Errorf("%q is an element of the path", part)
		case strings.ContainsRune(part, 0):
			return errors.New("a zero byte is in the path")
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(rel)) {
		return errors.New("the path leads out of the directory")
	}
	return nil
}
