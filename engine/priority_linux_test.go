package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
)

// TestCompactionsArePolite: a compaction runs on a thread that is nicer than the others and is gone after it, unless level 0 is deep.
func TestCompactionsArePolite(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	usual, err := niceness()
	must(t, err)
	table := func(from, to string) pebble.TableInfo {
		return pebble.TableInfo{Smallest: pebble.InternalKey{UserKey: []byte(from)}, Largest: pebble.InternalKey{UserKey: []byte(to)}}
	}
	level0 := func(tables ...pebble.TableInfo) []pebble.LevelInfo {
		return []pebble.LevelInfo{{Level: 0, Tables: tables}, {Level: 5}}
	}
	l := e.listener(true)
	during := func(reason string, input []pebble.LevelInfo) (by int) {
		var nice int
		var err error
		for onMain := true; onMain; {
			done := make(chan struct{})
			go func() { // as Pebble does it for each
				defer close(done)
				runtime.LockOSThread() // what is looked at is the thread that was asked
				l.CompactionBegin(pebble.CompactionInfo{Reason: reason, Input: input})
				nice, err = niceness()
				onMain = onMainThread()
			}()
			<-done
			must(t, err)
			by = nice - usual
			if onMain && by != 0 {
				t.Error("the process's first thread was made nicer, and it cannot end")
			}
		}
		return by
	}
	check := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d nicer than the process, want %d", what, got, want)
		}
	}
	check("nothing is behind", during("default", level0(table("a", "c"), table("d", "f"), table("g", "i"), table("j", "l"))), politeBy)
	check("three on each other", during("default", level0(table("a", "d"), table("b", "e"), table("c", "f"), table("g", "z"))), politeBy)
	check("four on one key", during("default", level0(table("a", "d"), table("b", "d"), table("c", "f"), table("d", "z"))), 0)
	check("nothing is rewritten", during("move", level0(table("a", "c"))), 0)
	deeper := []pebble.LevelInfo{{Level: 5, Tables: []pebble.TableInfo{table("a", "c")}}, {Level: 6}}
	for range urgentDepth - 1 {
		l.FlushEnd(pebble.FlushInfo{})
	}
	check("level 5, after three flushes", during("default", deeper), politeBy)
	l.FlushEnd(pebble.FlushInfo{})
	check("level 5, after four", during("default", deeper), 0)
	check("level 0 meanwhile", during("default", level0(table("a", "c"))), politeBy)
	check("level 5 after that", during("default", deeper), politeBy)

	// And Pebble's own ask.
	before := e.urgency.polite.Load()
	for range 2 {
		for i := range 1000 {
			must(t, e.db.Set(keys.Data(fmt.Appendf(nil, "%04d", i)), []byte("value"), pebble.NoSync))
		}
		must(t, e.db.Flush())
	}
	eventually(t, "a compaction that is polite", func() bool { return e.urgency.polite.Load() > before })
	eventually(t, "the end of all nice threads", func() bool { return len(niceThreads(t, usual)) == 0 })
}

// niceThreads are the threads of this process that are nicer than usual.
func niceThreads(t *testing.T, usual int) (out []string) {
	names, err := filepath.Glob("/proc/self/task/*/stat")
	must(t, err)
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if nice, err := strconv.Atoi(string(fields[16])); err != nil || nice > usual {
			out = append(out, fmt.Sprintf("%s: %d %v", n, nice, err))
		}
	}
	return out
}
