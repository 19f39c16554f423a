// Package raftstore drives every replica of one store: many Raft groups over one engine, one write-ahead log and one
// fsync. It is a shell. What a group decides is in package group, what an entry does is in package apply, both pure; here
// are the goroutines, the batches, the clocks and the network around them.
//
// # The loop
//
// A shard belongs to one worker, by its id. That takes the place of a lock per replica: only the worker touches a
// replica, except for the few atomic fields of its read side. A worker sleeps until something is in its inbox, takes all
// of it, and makes one pass (worker.runOnce):
//
//	deliver   what the last log batches promised to this store's own replicas     locals
//	step      every raft message                                                   messages
//	accept    every request                                                        calls
//	run       what other goroutines want done                                      tasks
//	tick      what is awake, if it is time
//	then, until no replica is marked:
//	  drain   for each marked replica: one entry of all its waiting commands, one ReadIndex round for all its waiting
//	          reads, then its Readys; messages are encoded into one frame per other store, appends go to one log batch,
//	          committed entries are evaluated into one state batch
//	  send    the frames, before our own disk (thesis section 10.2.1)
//	  log     commit the log batch; the sync loop waits for the disk and then keeps what it promised
//	  state   commit the state batch, not synced; then, and not sooner, answer whoever waits for it
//
// Group commit needs no timer: while maxSyncsOutstanding batches of a worker are on their way to the disk it takes
// nothing in, and what gathers meanwhile is the next batch. Nothing below admission (admitWrite) refuses work: a slow disk
// is felt there, as ServerBusy.
//
// # Goroutines
//
//	name      owns                            woken by                              ends
//	worker    its replicas, their groups,     its inbox (any goroutine), the sync   when the store closes or breaks,
//	          the pass's batches              loop, the ticker, a commit to tell of  after it answered everyone
//	sync      the queue of committed log      workers                               when the store closes
//	          batches
//	ticker    rule 5's watch                  a tick; while all shards sleep,       when the store closes
//	                                          a replica that wakes, or half an
//	                                          election timeout
//	liveness  other stores' heartbeats, the   three ticks, or a shard to wake       when the store closes
//	          wake queue
//	reclaim   the walks over expired keys     ten ticks                             when the store closes or breaks
//	collect   the walks over old versions     one or ten ticks; begins with the first when the store closes or breaks
//	                                          bound on versions (HearSafePoint)
//	timestamps  a question to placement       a leader that needs one               with the answer
//	sizer     the walks that measure shards   twenty ticks                          when the store closes or breaks
//	scrub     the reading of all tables       Options.CheckEvery, the pace          when the store closes or breaks
//	compare   the rounds through the shards   the time between two; asleep without  when the store closes or breaks
//	          that are led here               one (SetCompareEvery)
//	sum-up    the views of own replicas       exists while there are any            when none is left
//	verdict   what one store is to be told    an election timeout                   when that store is not heard any more
//	diverged  the mark in the directory       the verdict over an own replica       when the store is stopped
//	reader    a job of the queue of reads     exists while there are any, at most   when the queue is empty
//	          that take their time            maxReaders
//	barrier   one question of a follower to   one per replica with follower reads   with the answer, or its time
//	          its leader
//	snapshot  one snapshot being sent         a free slot                           when it is sent
//	install   one snapshot going into the     raft took it                          when it is in
//	          engine
//	destroy   one removal of a replica        its removal                           when its data is gone
//	broken    nothing                         the store broke                       after Options.OnBroken
//
// None exists per shard. Handle, Receive, Do and ReceiveSnapshot run on their callers' goroutines; where these use the
// engine they stand between enter and leave, so that Close can wait for them.
//
// # Locks
//
// Leaves all: Store.mu (ranges and placeholders, closing), inbox.mu, syncLoop.mu, liveness.mu, readers.mu,
// reclaimer.mu, sizer.mu, sampler.mu, snapshots.mu, guard.mu, stamps.mu, collector.mu, slowLog.mu,
// comparer.mu. None is held while another is
// taken, with two exceptions: a reception's mu is held around
// its sink's disk writes and around snapshots.mu, and snapshots.mu is never held around it. No lock is held across a call
// that blocks in env.
//
// # The way of a Put
//
// Handle (the caller's goroutine): decode and check the command, find the replica, post to its worker. accept: wake it,
// admitWrite (leading, epoch, exactly this term, since recent, not cancelled, room). proposeWaiting: one entry of as many
// commands as fit. Ready: bind notes the entry's index; MsgApp leaves; the log batch is committed; the sync loop waits.
// deliver: raft counts our own vote for the entry, and the others' as they come. Ready with committed entries: applyEntry
// evaluates; finish pairs the results with the calls; the batch is committed; onApplied tells raft, then replies. Followers
// hear of the commit with the next entries, or a moment later (untold.go), and apply it with what is committed in the next
// (lot.go).
// Overwritten, lost, abandoned: see proposal.
//
// # The way of a Get
//
// Handle: the view (one atomic pointer: descriptor, term, generation, lease) is there and its lease runs: read, read the
// clock once per frame after the last value, check that the view continues (holds), answer. Otherwise to the worker: a
// reader under a lease that began meanwhile, or the next ReadIndex round; when it is confirmed and its index visible, a
// reader. A follower asks its leader for a barrier first (follower.go). A key that is due, but not ended by the shard's
// time, costs one clock entry for all who met it (awaitClock).
//
// # The way of a transaction
//
// A command is a Put without the bracket of at most once. If it computes its timestamp it waits, once per leadership, for
// one from placement (timestamp.go), and gets a floor when its entry is made (guard.go). A query is a Get; before it reads,
// or its round is stepped, its timestamp is noted in the guard, and it waits there for what may commit below it. Old
// versions go by collect.go. All of it: docs/transactions.md.
//
// # Where the time goes
//
// Every Call carries a stopwatch (stopwatch.go), which is told what the call waits for from now on wherever it is moved. When
// it is answered its stages go into the reply, if it was asked for them, and into the log, if it was slow (slow.go).
//
// # Lives
//
// What a replica, and a snapshot on its way in or out, may go through stands in tables (life.go, transfer.go; drawn in
// docs/states.md). They are asked before anything happens, and compared with the fields that depend on them; what they do
// not know stops the store.
//
// # Where the rules of the design's section 4 live
//
//	1  sync.go; the holding back of votes in group         11  replica.go (readView), read.go (leaseView, holds),
//	2  ready.go (apply, onApplied)                              tick.go (onSoftState), admin.go; promises in group
//	3  ready.go (append, truncateLog), snapshot.go         12  read.go (startRound, serveConfirmed), follower.go
//	   (install), change.go (destroy), worker.go (deliver) 13  readers.go (evaluateView)
//	4  engine; change.go (placeholders, bury)              15  change.go
//	5  tick.go (watchDisk), outbox.go (send), store.go     16  change.go (maybeAsk to bury), receive.go (birth)
//	6  engine; ready.go passes the commit index            17  snapshot.go, worker.go (step)
//	7  group; receive.go, worker.go (step)                 18  propose.go (admitWrite), inbox.go
//	8  propose.go, read.go, handle.go; again in apply      19  sleep.go, liveness.go
//	9  propose.go (admitWrite), outcome.go
//	10 clock.go, read.go (awaitClock), reclaim.go; the rest in apply and shard/raw
//	14 split.go, freeze.go; ready.go (applyFrom); read.go (onRound: no renewal)
package raftstore
