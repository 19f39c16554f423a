// Package setting is the table of settings that an administrator may change for a whole cluster while it runs. They are on
// record with placement, which tells every node; what a node was told at its start (a file, a variable, a flag) holds where
// the cluster says nothing, under the same name.
package setting

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/internal/version"
)

// The keys. They are on record: a key is never used for anything else again.
const (
	LogLevel      = "log-level"
	SlowOperation = "slow-operation"
	DownAfter     = "down-after"
	MaxReceiving  = "max-receiving"
	MaxSending    = "max-sending"
	SlowDisk      = "slow-disk"
	SlowNet       = "slow-net"
	SnapshotRate  = "snapshot-rate"
	SplitSize     = "split-size"
	SplitLoad     = "split-load"
	GCKeep        = "gc-keep"
)

// Setting is one row of the table.
type Setting struct {
	Key     string
	For     string // who goes by it: nodes, stores, or placement's leader
	Default string // of a node that was told nothing
	Usage   string // one line
	// Since is the version of the cluster from which on it may be set: no program of an older one knows it.
	Since version.Number
	check func(text string) error
}

// Bounds of what may be set.
const (
	minDownAfter = 10 * time.Second // a restart would cost a copy of everything
	maxDuration  = 366 * 24 * time.Hour
	maxMoving    = 64
	minSlow      = time.Millisecond
	minRate      = 64 << 10 // slower, a snapshot of a shard of usual size takes half an hour
	minSplitSize = 1 << 20
	maxSplitLoad = 1e9
	minGCKeep    = time.Second
)

// Table is all of them, by who goes by them.
func Table() []Setting {
	s := version.Settings
	return []Setting{
		{LogLevel, "nodes", "info", "debug, info, warn or error", s, checkLevel},
		{SlowOperation, "stores", "500ms", "a line is logged of operations that took a store longer, with where the time went; 0 is never", s, orNever(durations(minSlow))},
		{SnapshotRate, "stores", "0", "bytes a second that each store receives in snapshots; 0 is no limit", s, sizes(minRate)},
		{SplitSize, "stores", "96MiB", "size from which on shards are split; 0 is never", s, sizes(minSplitSize)},
		{SplitLoad, "stores", "5000", "requests a second from which on shards are split; 4 KiB count as one; 0 is never", s, numbers(0, maxSplitLoad)},
		{DownAfter, "placement", "30m", "how long a store may be silent before its replicas are made anew elsewhere", s, durations(minDownAfter)},
		{MaxReceiving, "placement", "4", "shards that are copied to one store at a time", s, numbers(1, maxMoving)},
		{MaxSending, "placement", "4", "shards that are copied from one store at a time", s, numbers(1, maxMoving)},
		{SlowDisk, "placement", "100ms", "a disk is slow whose syncs take longer, and eight times the median of all stores", s, durations(minSlow)},
		{SlowNet, "placement", "100ms", "a store is far that is reached in more, and eight times the median of all stores", s, durations(minSlow)},
		{GCKeep, "placement", "10m", "how far back reads stay possible, and so how long overwritten versions are kept", s, durations(minGCKeep)},
	}
}

// Find looks a setting up.
func Find(key string) (Setting, bool) {
	all := Table()
	i := slices.IndexFunc(all, func(s Setting) bool { return s.Key == key })
	if i < 0 {
		return Setting{}, false
	}
	return all[i], true
}

// Keys are those of the table.
func Keys() []string {
	var out []string
	for _, s := range Table() {
		out = append(out, s.Key)
	}
	return out
}

// Check says what is wrong with a value.
func (s *Setting) Check(text string) error { return s.check(text) }

func checkLevel(text string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, text) {
		return fmt.Errorf("%q is not a level; write debug, info, warn or error", text)
	}
	return nil
}

func durations(least time.Duration) func(string) error {
	return func(text string) error {
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			return fmt.Errorf("%q is not a duration; write it like 30m or 500ms", text)
		case d < least || d > maxDuration:
			return fmt.Errorf("%s is out of bounds; write at least %s and at most %s", text, least, maxDuration)
		}
		return nil
	}
}

// orNever takes 0 as well, which stands for never.
func orNever(check func(string) error) func(string) error {
	return func(text string) error {
		if d, err := time.ParseDuration(text); err == nil && d == 0 {
			return nil
		}
		return check(text)
	}
}

func numbers(least, most int) func(string) error {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return fmt.Errorf("%q is not a number", text)
		case n < least || n > most:
			return fmt.Errorf("%s is out of bounds; write at least %d and at most %d", text, least, most)
		}
		return nil
	}
}

// sizes takes 0, which stands for something else than a size, and sizes from a bound on.
func sizes(least int64) func(string) error {
	return func(text string) error {
		n, err := parseSize(text)
		if err == nil && n != 0 && n < least {
			err = fmt.Errorf("%s is out of bounds; write 0, or at least %d KiB", text, least>>10)
		}
		return err
	}
}

func parseSize(text string) (int64, error) {
	number, factor := text, int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if cut, ok := strings.CutSuffix(text, unit); ok {
			number, factor = cut, 1<<(10*(i+1))
		}
	}
	if factor == 1 {
		number = strings.TrimSuffix(text, "B")
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%q is not a size; write it like 64MiB", text)
	}
	return n * factor, nil
}

// Made is a setting that somebody made for the whole cluster.
type Made struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Values are all that were made, by key, each once. They are never changed in place.
type Values []Made

// Text is the value that was made, or else.
func (v Values) Text(key, or string) string {
	i := slices.IndexFunc(v, func(m Made) bool { return m.Key == key })
	if i < 0 {
		return or
	}
	if s, ok := Find(key); !ok || s.Check(v[i].Value) != nil {
		return or // a newer program's
	}
	return v[i].Value
}

// Duration is Text for those that are durations.
func (v Values) Duration(key string, or time.Duration) time.Duration {
	d, err := time.ParseDuration(v.Text(key, ""))
	if err != nil {
		return or
	}
	return d
}

// Number is Text for those that are numbers.
func (v Values) Number(key string, or int) int {
	n, err := strconv.Atoi(v.Text(key, ""))
	if err != nil {
		return or
	}
	return n
}

// Size is Text for those that are sizes, in bytes.
func (v Values) Size(key string, or int64) int64 {
	n, err := parseSize(v.Text(key, ""))
	if err != nil {
		return or
	}
	return n
}

// With returns the values with others made, and some not made any more.
func (v Values) With(set []Made, reset []string) Values {
	out := slices.DeleteFunc(slices.Clone(v), func(m Made) bool {
		return slices.Contains(reset, m.Key) || slices.ContainsFunc(set, func(s Made) bool { return s.Key == m.Key })
	})
	out = append(out, set...)
	slices.SortFunc(out, func(a, b Made) int { return strings.Compare(a.Key, b.Key) })
	return out
}
