package e2e

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// bareWriters, of which a record needs more than half, are as many as a shard has replicas.
const bareWriters = 3

// bare is what remains of a put that is due each millisecond if it costs nothing but its place in three logs: three writers append a record
// each to files of their own that are there already, and sync them, and what became due during one sync goes with the next. A
// record has ended when two of the three have it. No server, network, or database takes part, so no put can have a shorter tail on this machine.
func bare(t *testing.T, trials int) [][]timedPut {
	t.Helper()
	const every = time.Millisecond
	perTrial := int(2 * gapWindow / every)
	start := time.Now().Add(100 * time.Millisecond)
	due := func(i int) time.Time { return start.Add(time.Duration(i) * every) }
	ended := make([][bareWriters]time.Time, trials*perTrial)
	var all sync.WaitGroup
	for w := range bareWriters {
		f := bareFile(t)
		all.Go(func() {
			defer f.Close()
			at := int64(0)
			for i := 0; i < len(ended); {
				time.Sleep(time.Until(due(i)))
				n := min(len(ended)-i, 1+int(time.Since(due(i))/every))
				record := make([]byte, 600*n)
				if at += int64(len(record)); at > bareFileBytes {
					at = int64(len(record))
				}
				if _, err := f.WriteAt(record, at-int64(len(record))); err != nil {
					t.Error(err)
					return
				}
				if err := f.SyncData(); err != nil {
					t.Error(err)
					return
				}
				now := time.Now()
				for ; n > 0; n-- {
					ended[i][w] = now
					i++
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	out := make([][]timedPut, trials)
	for i := range ended {
		slices.SortFunc(ended[i][:], time.Time.Compare)
		out[i/perTrial] = append(out[i/perTrial], timedPut{due(i), ended[i][bareWriters/2]})
	}
	return out
}

// bareFileBytes is as much as a writer overwrites before it begins again.
const bareFileBytes = 16 << 20

// bareFile is a file whose blocks are on the disk, as those of a log that is used again.
func bareFile(t *testing.T) vfs.File {
	t.Helper()
	f, err := vfs.Default.Create(filepath.Join(t.TempDir(), "log"), "bare")
	if err != nil {
		t.Fatal(err)
	}
	full := make([]byte, bareFileBytes)
	for i := range full {
		full[i] = byte(i * 7)
	}
	if _, err := f.Write(full); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return f
}
