// Package journal is the raft log of all replicas of a store, in files of its own. A database that sorts what it is given is dear
// for entries that are read once and deleted: here they are written one behind the other and never again. (LogCabin's and
// TiKV's Raft Engine are of this kind; the marks of what was synced are ours.)
//
// # Files
//
// A segment is a file of records. When none of its entries is wanted any more, the file is used again, from its beginning,
// under a new sequence number; so most writes go to blocks that the filesystem has already given, and a sync has
// nothing to write but data. A record is one Batch: what one pass of a worker appends to the logs of many shards. Its
// header says
//
//	seq            the use of the file that it belongs to: what an earlier use left behind it is not taken for its successor
//	synced         up to which place the journal was on disk when it was written
//	prev           the segment before and where it ends: the segments are a chain
//	oldest         the first segment of the chain that anybody needs
//
// # After a crash
//
// The journal ends before the first record that is not whole. If any record behind that place says that the place was on
// disk before, it is not what a crash left, but damage, and the journal does not open. Otherwise nothing behind it was promised
// to anybody, and it is ignored from then on: the next record begins a new segment, whose chain goes on from that place.
//
// # What the journal does not know
//
// The log of a replica belongs to one Life. How far it is truncated, and who lives, the database says, whose order of
// writes is another. Therefore
//
//   - Truncate and Forget change nothing on disk. A segment whose entries are all gone is given free by Free, when what says
//     so is on disk in the database, see Dead; and it is used again only after a record with the new oldest is synced.
//   - After Open, Adopt is told who lives. What belongs to others is forgotten on disk as well, before anything is appended.
package journal
