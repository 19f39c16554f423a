package bug

// The bugs, in the order of the places that they are planted in: log and promises, leases and reads, at most once,
// identity and removal, placement, transactions.
const (
	None Bug = iota

	VoteBeforeSync
	ResponseBeforeSync
	AppliedLater
	SilentFlip
	IngestOvertakesLog
	JournalNotSynced
	FreedBeforeState
	BirthNotSynced
	CommitLost
	VoteAtOnceAfterStart
	GateLeftToRaft

	LeaseFromAnswer
	LeaseOverSplit
	LeaseOverTransfer
	LeaseBehindCommit
	BunchedTicks
	ReadIndexTooEarly
	FollowerReadsAlone
	HungDiskLeads
	SleepKeepsLease
	ExpiryByLocalClock

	SendAgain
	NeverTooEarly
	NeverForgotten
	OutcomeAgesOut

	SkipEpochCheck
	SplitLosesVote
	SplitKeepsEpoch
	SnapshotOverNeighbour
	ScanNotClamped
	ForgetTombstone
	SnapshotMissesTime

	UnpersistedIDs
	UnpersistedTimestamps
	RemoveBeforeAdd
	LeadWithoutLease

	NewestFloor
	ComputedEven
	AsyncTooEarly
	ResolveAnyLock
	ReaderPassesLock
	NoGrave
	NotPushed
	ConflictUnchecked
	CommitAfterRollback
	HeartbeatRevives
	AsyncRolledBack
	AskedNotBuried
	ReadBelowSafePoint
	SplitLosesLocks
	SecondariesFirst
	CachedTimestamp
	OnePhaseOfMany
	GivenUpUnasked

	ResolvedPastLocks
	PageCutsCommit
	RingFromItsBegin
	StaleBeforeApplied
	WrittenFromItsBegin
)

var list = [...]Info{
	VoteBeforeSync:       {"vote-before-sync", "a candidate asks for votes before its own term and vote are on disk"},
	ResponseBeforeSync:   {"response-before-sync", "acknowledgements and votes leave before they are on disk"},
	AppliedLater:         {"applied-later", "the applied index is written in a later batch than the effects that it covers"},
	SilentFlip:           {"silent-flip", "a follower now and then writes another value than the entry says"},
	IngestOvertakesLog:   {"ingest-overtakes-log", "a snapshot is ingested before the log that was written ahead of it is synced"},
	JournalNotSynced:     {"journal-not-synced", "the raft log counts as on disk without having been synced"},
	FreedBeforeState:     {"freed-before-state", "a segment of the raft log is used again before the state that makes it needless is on disk"},
	BirthNotSynced:       {"birth-not-synced", "the right side of a split acknowledges entries before it is on disk itself"},
	CommitLost:           {"commit-lost", "the commit index in the log's headers is not read at the start"},
	VoteAtOnceAfterStart: {"vote-at-once-after-start", "a process that just started votes, although it may have promised a lease before"},
	GateLeftToRaft:       {"gate-left-to-raft", "vote requests reach raft at once: its own stickiness shall protect the lease"},

	LeaseFromAnswer:    {"lease-from-answer", "a lease is counted from when its round was confirmed, not from when it was asked"},
	LeaseOverSplit:     {"lease-over-split", "a leader goes on renewing its lease while a split is proposed and not applied"},
	LeaseOverTransfer:  {"lease-over-transfer", "a leader that hands over goes on using its lease"},
	LeaseBehindCommit:  {"lease-behind-commit", "a leased read does not wait for what the leader has committed and not applied"},
	BunchedTicks:       {"bunched-ticks", "ticks are delivered however soon after another, and the promise counts ticks"},
	ReadIndexTooEarly:  {"read-index-too-early", "a read index is taken before an entry of the leader's own term is applied"},
	FollowerReadsAlone: {"follower-reads-alone", "a follower answers a read without asking its leader"},
	HungDiskLeads:      {"hung-disk-leads", "a store whose disk hangs goes on leading"},
	SleepKeepsLease:    {"sleep-keeps-lease", "a leader that falls asleep keeps its view, and answers from it"},
	ExpiryByLocalClock: {"expiry-by-local-clock", "a read takes the store's own clock for the shard's time"},

	SendAgain:      {"send-again", "the client sends a write again whose outcome it does not know"},
	NeverTooEarly:  {"never-too-early", "an outcome is answered \"never\" before the entry of the leader's own term is applied"},
	NeverForgotten: {"never-forgotten", "an attempt that was answered \"never\" is not remembered, and is proposed when it arrives late"},
	OutcomeAgesOut: {"outcome-cut-log", "an outcome is answered \"never\" although neither memory nor the log reaches back to the attempt"},

	SkipEpochCheck:        {"skip-epoch-check", "commands are proposed behind a split, and applied whatever the range has become"},
	SplitLosesVote:        {"split-loses-vote", "the right side of a split forgets the vote of the replica that was here before it was born"},
	SplitKeepsEpoch:       {"split-keeps-epoch", "a split does not raise the version"},
	SnapshotOverNeighbour: {"snapshot-over-neighbour", "a snapshot is accepted over the range of another replica"},
	ScanNotClamped:        {"scan-not-clamped", "a page of a scan goes on beyond its shard"},
	ForgetTombstone:       {"forget-tombstone", "a removed replica is born again by an old message"},
	SnapshotMissesTime:    {"snapshot-misses-time", "a replica that was made by a snapshot takes its store's clock for the shard's time"},

	UnpersistedIDs:        {"unpersisted-ids", "ids are given out beyond the bound that is written"},
	UnpersistedTimestamps: {"unpersisted-timestamps", "timestamps are given out beyond the bound that is written"},
	RemoveBeforeAdd:       {"remove-before-add", "repair demotes the replica of a store that is gone before another one stands in"},
	LeadWithoutLease:      {"answer-without-confirming", "placement answers ids and timestamps without checking that it still leads"},

	NewestFloor:         {"newest-floor", "a reader waits for the newest command that may commit below it only, and passes an older one"},
	ComputedEven:        {"computed-timestamp-even", "a computed commit timestamp may equal one that placement issues"},
	AsyncTooEarly:       {"async-too-early", "a new leader, or the leader of a shard that was split off, computes timestamps before it fetched one"},
	ResolveAnyLock:      {"resolve-any-lock", "what became of a transaction is decided by a lock that is not its primary's"},
	ReaderPassesLock:    {"reader-passes-lock", "a reader passes a lock below its timestamp, whose transaction may commit below it"},
	NoGrave:             {"no-rollback-record", "a rollback leaves no record, and a late prewrite locks the key again"},
	NotPushed:           {"min-commit-not-pushed", "a reader is told that a transaction commits above it, and the lock does not remember"},
	ConflictUnchecked:   {"conflict-unchecked", "a prewrite does not look for what was committed since its transaction began"},
	CommitAfterRollback: {"commit-after-rollback", "a commit that finds its transaction rolled back says that it is done"},
	HeartbeatRevives:    {"heartbeat-revives", "the heartbeat of a transaction that was rolled back locks its primary again"},
	AsyncRolledBack:     {"async-rolled-back", "the expired lock of an async commit is rolled back without asking its other keys"},
	AskedNotBuried:      {"asked-not-buried", "a key of an async commit that is not locked says so, and may be locked afterwards"},
	ReadBelowSafePoint:  {"read-below-safe-point", "a read below the safe point is answered from what was left of the versions"},
	SplitLosesLocks:     {"split-loses-locks", "the right side of a split does not count the locks that it got, and looks for none"},
	SecondariesFirst:    {"secondaries-first", "a client commits the other keys of a transaction before its primary has decided"},
	CachedTimestamp:     {"cached-timestamp", "a client begins a transaction at the newest timestamp that it knows, instead of a fresh one"},
	OnePhaseOfMany:      {"one-phase-of-many", "a transaction over several shards is committed in one phase in each of them"},
	GivenUpUnasked:      {"given-up-unasked", "a client that gives an async commit up rolls it back without asking whether it is committed"},

	ResolvedPastLocks:   {"resolved-past-locks", "changes are called complete up to a timestamp below which a lock may still commit"},
	PageCutsCommit:      {"page-cuts-commit", "a page of changes that ends between two keys of a commit is called complete up to that commit"},
	RingFromItsBegin:    {"ring-from-its-begin", "what is remembered of recent commits is taken for complete without a timestamp that says from when on"},
	WrittenFromItsBegin: {"written-from-its-begin", "what is remembered of the latest writes is taken for complete without a timestamp that says from when on"},
	StaleBeforeApplied:  {"stale-before-applied", "a replica answers reads at a timestamp as soon as its leader said up to where, before it has applied that"},
}
