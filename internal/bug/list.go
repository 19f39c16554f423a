package bug

// The bugs.
const (
	None Bug = iota

	VoteBeforeSync
	ResponseBeforeSync
	LeaseWithoutDrift
	LeaseBehindCommit
	SkipEpochCheck
	ForgetTombstone
	BlindRetry
	NeverTooEarly
	NeverForgotten
	SoleVoterStaleRead
	LeaderForgottenEarly
	BunchedTicks
	HungDiskLeads
	VoteAtOnceAfterStart
	UnpersistedIDs
	UnpersistedTimestamps
	ExpiryByLocalClock
	ScanNotClamped
)

var list = [...]Info{
	VoteBeforeSync:        {"vote-before-sync", "a candidate asks for votes before its own term and vote are on disk (F1)"},
	ResponseBeforeSync:    {"response-before-sync", "a follower acknowledges entries, and votes, before they are on disk"},
	LeaseWithoutDrift:     {"lease-without-drift", "a lease runs for much longer than an election timeout"},
	LeaseBehindCommit:     {"lease-behind-commit", "a leased read does not wait for what the leader has committed and not applied"},
	SkipEpochCheck:        {"skip-epoch-check", "a command is applied under an epoch that is not its own"},
	ForgetTombstone:       {"forget-tombstone", "a removed replica is born again by an old message"},
	BlindRetry:            {"blind-retry", "the client sends a write again whose outcome it does not know"},
	NeverTooEarly:         {"never-too-early", "an outcome is answered never before the entry of the leader's own term is applied"},
	NeverForgotten:        {"never-forgotten", "an attempt that was answered never is not remembered, and proposed when it arrives late"},
	SoleVoterStaleRead:    {"sole-voter-stale-read", "a read index is answered before an entry of the leader's own term is applied"},
	LeaderForgottenEarly:  {"leader-forgotten-early", "votes are given while the leader was heard a moment ago"},
	BunchedTicks:          {"bunched-ticks", "ticks that were missed during a pause are delivered all at once, and leases count ticks"},
	HungDiskLeads:         {"hung-disk-leads", "a leader whose disk hangs goes on leading"},
	VoteAtOnceAfterStart:  {"vote-at-once-after-start", "a process that just started votes although it may have promised a lease"},
	UnpersistedIDs:        {"unpersisted-ids", "the bound of ids is not written before ids are given out"},
	UnpersistedTimestamps: {"unpersisted-timestamps", "the bound of timestamps is not written before timestamps are given out"},
	ExpiryByLocalClock:    {"expiry-by-local-clock", "whether a key has expired is decided by the store's own clock"},
	ScanNotClamped:        {"scan-not-clamped", "a page of a scan goes on beyond its shard"},
}
