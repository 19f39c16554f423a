// Package engine is the bytes of one store, and the only door to Pebble.
//
// All groups of a store share one Pebble database, one write-ahead log and one fsync. Two kinds of batches go through
// it: a LogBatch holds what raft appends and is synced, a StateBatch holds the effects of committed commands and is
// not, because the log can produce them again. Both go through one write-ahead log, so a crash leaves a prefix of the
// batches in the order in which they were committed: log before apply, apply before truncation. They are two types so
// that the log can leave the database one day without a hunt through the code.
//
// Ingest and excise stand outside that order: they are made durable by the manifest and may survive a crash that loses
// batches committed before them. Therefore the write-ahead log is synced before each of them, the state of a replica is
// part of the same ingest as its data, and the mark that asks for a span to be destroyed is removed by a synced batch
// only (DestroyReplica, FinishDestroy, SnapshotSink.Install).
//
// Nothing is retried. The first failed write, failed sync, or record whose checksum does not fit stops the store: it is
// reported once through Options.OnBroken, and every later call returns it. (Pebble itself repeats a failed flush, into a
// new file each time, until the store is closed; nobody is told that it worked.)
//
// # Files
//
//	dir/STORE      format of the directory, names of the key order and the key schema, as text
//	dir/LOCK       held while the store is open
//	dir/SEAL       of a store that was closed in order: what its files are, so that damage is not taken for a crash
//	dir/db/        Pebble's files
//	dir/staging/   snapshots that are being received; emptied at start
//
// # Goroutines
//
// The engine has none of its own. Pebble flushes and compacts in the background, with its own goroutines, and writes
// the write-ahead log in one. An Engine is safe for concurrent use. A Log belongs to one worker, a batch, Reader,
// SnapshotSource or SnapshotSink to one goroutine at a time.
package engine
