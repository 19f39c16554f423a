// Package simfs is the disk of the deterministic simulator: a filesystem in memory on which a production engine runs
// unchanged, and that can lose power. What survives is a pure function of what the program did and of a seed.
//
// # What must not be seen
//
// In the simulator one task of ours runs at a time, but Pebble flushes, compacts and writes its write-ahead log on
// goroutines of its own, at moments that do not replay; even the size at which a memtable is full is drawn at random, by
// the heights of its skip list. So nothing that survives may depend on which file was written or synced when. Two rules
// give that:
//
//   - A sync of the write-ahead log makes nothing durable. FS.Durable does, by sequence number, called from
//     engine.Options.Synced at the moments at which the engine promises it. At a crash every batch up to there survives,
//     and of those behind it, in the order of commits, a prefix of seeded length.
//   - A flush can be undone. Files that Pebble removed are kept until nothing can need them, and a crash cuts the manifest
//     before the first edit that says that a log with a lost batch has been flushed. The next start then finds the logs
//     that it had flushed, and replays what is left of them. That is the disk of a machine whose flush had not ended yet.
//
// A store that was closed in order has a seal over all its files (engine/seal.go), which is there only if they are on disk:
// a crash of such a disk undoes nothing.
//
// Segments of the raft log (engine/journal) are written by tasks of ours, so they may be treated worse: of what was written since
// the last sync nothing survives, all, the first writes, or any sectors.
//
// All else follows the rules of a filesystem, without chance: bytes of a file survive if they were synced, names if their
// directory was. The layout of what survives (which tables, how many logs) still depends on timing; the keys and
// values that a store shows after it was opened do not.
//
// # A crash
//
//	fs.Freeze()              // no task runs any more; from here on nothing becomes durable
//	_ = e.Close()            // Pebble writes the end of its log: the batches that may be lost
//	fs = fs.Crash(seed, n)   // the disk that the next start finds
//
// A store that stopped because of a fault (SetFull, FailSyncs, Corrupt) may not be able to write the end of its log.
// After a fault exactly what is durable survives.
//
// # Limits
//
// An FS holds at most one database, whose sequence numbers Durable speaks of. A log is never recycled
// (ReuseForWrite makes a new file), so Pebble's checks against remains of an older log are not exercised.
package simfs
