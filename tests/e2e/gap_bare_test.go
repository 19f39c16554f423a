package e2e

import (
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// bareWriters are as many as a shard has replicas.
	bareWriters = 3
	// bareEvery is how often each of them syncs at most. Stores do so 600 times a second under such puts on a slow day, and 850 times on a
	// faster one.
	bareEvery = time.Second / 800
	// bareRecordBytes is what a put of 256 bytes takes in a log, with room to spare.
	bareRecordBytes = 600
	// bareFileBytes is as much as a writer overwrites before it begins again.
	bareFileBytes = 16 << 20
)

// bare is what the machine makes of the disk's part of a put that is due each millisecond: three writers append a record each to files of
// their own that are there already, and sync what became due since the last time. A record has ended when two of the three have it.
// No server, network, or database takes part.
func bare(t *testing.T, trials int) [][]timedPut {
	t.Helper()
	const every = time.Millisecond
	perTrial := int(2 * gapWindow / every)
	ended := make([][bareWriters]time.Time, trials*perTrial)
	var files [bareWriters]vfs.File
	for w := range files {
		files[w] = bareFile(t)
		defer files[w].Close()
	}
	start := time.Now()
	due := func(i int) time.Time { return start.Add(time.Duration(i) * every) }
	var syncs atomic.Int64
	var all sync.WaitGroup
	for w, f := range files {
		all.Go(func() {
			at, next := int64(0), start
			for i := 0; i < len(ended); {
				time.Sleep(max(time.Until(next), time.Until(due(i))))
				next = time.Now().Add(bareEvery)
				n := min(len(ended)-i, 1+int(time.Since(due(i))/every))
				records := make([]byte, bareRecordBytes*n)
				if at+int64(len(records)) > bareFileBytes {
					at = 0
				}
				_, err := f.WriteAt(records, at)
				if err == nil {
					err = f.SyncData()
				}
				if err != nil {
					t.Error(err)
					return
				}
				syncs.Add(1)
				at += int64(len(records))
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
	t.Logf("three files: %.0f syncs a second of each", float64(syncs.Load())/bareWriters/time.Since(start).Seconds())
	out := make([][]timedPut, trials)
	for i := range ended {
		slices.SortFunc(ended[i][:], time.Time.Compare)
		out[i/perTrial] = append(out[i/perTrial], timedPut{due(i), ended[i][bareWriters/2]})
	}
	return out
}

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
