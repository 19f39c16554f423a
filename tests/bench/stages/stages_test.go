package stages

import "testing"

// TestOf: stacks as profiles of nodes have them, shortened.
func TestOf(t *testing.T) {
	const pebble, skerry = "github.com/cockroachdb/pebble/v2", "github.com/skerrydb/skerry/"
	for _, c := range []struct {
		want  Stage
		stack []string
	}{
		{Memtable, []string{pebble + "/internal/arenaskl.(*Skiplist).findSpliceForLevel", pebble + ".(*memTable).apply", pebble + ".(*DB).commitApply",
			pebble + ".(*DB).Apply", skerry + "engine.(*Engine).write", skerry + "engine.(*StateBatch).Commit", skerry + "raftstore.(*worker).commitStates"}},
		{DatabaseLog, []string{"runtime.memmove", pebble + "/record.(*LogWriter).SyncRecord", pebble + ".(*DB).Apply", skerry + "engine.(*Engine).write"}},
		{DatabaseLog, []string{"internal/runtime/syscall/linux.Syscall6", "os.(*File).Write", pebble + "/record.(*LogWriter).flushBlock",
			pebble + "/record.(*LogWriter).flushLoop", pebble + "/record.NewLogWriter.func2"}},
		{Reads, []string{pebble + "/internal/arenaskl.(*Iterator).SeekGE", pebble + ".(*DB).getInternal", skerry + "engine.(*View).Get", skerry + "raftstore.(*replica).read"}},
		{Compaction, []string{"runtime.mallocgc", "runtime.makeslice", pebble + "/sstable.(*Reader).Read", pebble + ".(*DB).runCompaction", pebble + ".(*DB).compact1"}},
		{LogSync, []string{"internal/runtime/syscall/linux.Syscall6", pebble + "/vfs.(*linuxFile).SyncData", skerry + "engine/journal.(*Journal).Sync", skerry + "engine.(*LogBatch).Wait"}},
		{LogAppend, []string{"hash/crc32.Update", skerry + "engine.putLogValue", skerry + "engine.(*LogBatch).Append", skerry + "raftstore.(*worker).appendEntries"}},
		{Raft, []string{"go.etcd.io/raft/v3.(*raft).Step", skerry + "raftstore/group.(*Group).Deliver", skerry + "raftstore.(*worker).deliver"}},
		{Pass, []string{"runtime.mapaccess1_fast64", skerry + "raftstore.(*worker).drain", skerry + "raftstore.(*worker).pass"}},
		{Network, []string{"internal/runtime/syscall/linux.Syscall6", "internal/poll.(*FD).Write", "net.(*conn).Write", "google.golang.org/grpc/internal/transport.(*loopyWriter).run"}},
		{Evaluate, []string{skerry + "shard/raw.(*Command).Decode", skerry + "raftstore/apply.(*Machine).raw", skerry + "raftstore.(*worker).applyEntry"}},
		{Allocation, []string{"runtime.memclrNoHeapPointers", "runtime.mallocgc", "runtime.newobject", "go.etcd.io/raft/v3.newStorageAppendMsg"}},
		{Collector, []string{"runtime.scanObject", "runtime.gcAssistAlloc1", "runtime.gcAssistAlloc", "runtime.mallocgc", skerry + "raftstore.(*worker).accept"}},
		{Scheduler, []string{"runtime.futex", "runtime.notewakeup", "runtime.startm", "runtime.wakep", "runtime.ready", "runtime.goready", skerry + "raftstore.(*Store).Handle"}},
		{Client, []string{skerry + "client.(*effort).call", skerry + "client.(*DB).Put", "main.(*skerry).op.func1"}},
		{Generator, []string{"math/rand/v2.(*Rand).Uint64", "main.(*bench).load.func1"}},
		{Rest, []string{"runtime.nanotime1"}},
		{Rest, nil},
	} {
		if got := Of(c.stack); got != c.want {
			t.Errorf("%q is of %q, not %q", c.stack, got, c.want)
		}
	}
}
