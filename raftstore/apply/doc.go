// Package apply turns committed entries of a shard's log into writes and events.
//
// The log carries commands, not their effects, and every replica evaluates them against its own state. So this package
// must be a function: of the entries and of the state before them, of nothing else. It knows no clock, no configuration,
// no limit that may differ between two processes, and no map order; what it cannot decide from entry and state, the
// proposer decided and wrote into the entry.
//
// Three kinds of outcome are kept apart. A command may be refused: that is a result like any other, the same on every
// replica, and goes into its Reply. A command may have an effect beyond the shard's data, on its range or membership or
// log: that is the entry's Event, which the shell carries out after it committed the batch. And reading may fail, or an
// entry may be one that this program cannot understand: that is the error of Apply, and the store stops, because going
// on would make this replica differ from the others.
//
//	entry.Data = format version, evaluation version, kind, then by kind
//	  data      epoch.Version, stamp, {op id, bytes(body)}...      as many as there are
//	  clock     stamp
//	  truncate  index, term
//	  split     epoch, {bytes(key), shard id, replica ids}...      as many as there are
//	  change    epoch.ConfVer, change                              in ConfChangeV2.Context
//	  compare   replica id, store id                               of the proposer
package apply
