package raftstore

import "github.com/skerrydb/skerry/internal/fsm"

// receptionState is how far a snapshot has come on the store that receives it.
type receptionState uint8

const (
	receptionAsked      receptionState = iota // its header was read
	receptionGranted                          // it has one of the store's slots
	receptionReceiving                        // its range is held against other shards; chunks come
	receptionStaged                           // its files are complete
	receptionOffered                          // raft looks at its metadata
	receptionInstalling                       // raft took it: data and state go into the engine in one step
	receptionInstalled
	receptionRefused   // not wanted here, or not now
	receptionAbandoned // nobody waits for it any more
)

// receptionEvent is what happens to a snapshot on its way in.
type receptionEvent uint8

const (
	receptionGrant receptionEvent = iota
	receptionRefuse
	receptionHold
	receptionComplete
	receptionOffer
	receptionTake
	receptionInstall
	receptionBreak
)

// receptionTable says what a snapshot may go through where it is received.
var receptionTable = fsm.Must(fsm.Spec[receptionState, receptionEvent]{
	Name: "snapshot received",
	About: "One snapshot on the store that receives it, from its header to the engine. Slot, range and files are given back on every\n" +
		"way out. Several goroutines move it, one after the other (`raftstore/snapshot.go`).",
	States: []string{"asked", "granted", "receiving", "staged", "offered", "installing", "installed", "refused", "abandoned"},
	Events: []string{"slot granted", "refused", "range held", "complete", "offered", "taken by raft", "in the engine", "broken off"},
	Start:  receptionAsked,
	Ends:   []receptionState{receptionInstalled, receptionRefused, receptionAbandoned},
	Rows: []fsm.Row[receptionState, receptionEvent]{
		{From: receptionAsked, On: receptionGrant, To: receptionGranted, Why: "few enough are on their way"},
		{From: receptionAsked, On: receptionRefuse, To: receptionRefused, Why: "all slots are taken; the leader asks again"},

		{From: receptionGranted, On: receptionHold, To: receptionReceiving, Why: "its replica is here, and no other shard in its range"},
		{From: receptionGranted, On: receptionRefuse, To: receptionRefused, Why: "no such replica here, its range overlaps, or another one of this shard is under way"},
		{From: receptionGranted, On: receptionBreak, To: receptionAbandoned, Why: "the sender went away before its turn came"},

		{From: receptionReceiving, On: receptionComplete, To: receptionStaged, Why: "the last chunk; checksums agree"},
		{From: receptionReceiving, On: receptionBreak, To: receptionAbandoned, Why: "the stream ended early, or the store closes"},

		{From: receptionStaged, On: receptionOffer, To: receptionOffered, Why: "raft sees a MsgSnap only when its data is here (rule 17)"},
		{From: receptionStaged, On: receptionRefuse, To: receptionRefused, Why: "the replica went away meanwhile"},
		{From: receptionStaged, On: receptionBreak, To: receptionAbandoned, Why: "the store closes"},

		{From: receptionOffered, On: receptionTake, To: receptionInstalling, Why: "raft has nothing as new"},
		{From: receptionOffered, On: receptionRefuse, To: receptionRefused, Why: "raft has what it holds"},

		{From: receptionInstalling, On: receptionInstall, To: receptionInstalled, Why: "in one step, after what was written before it is on disk (rule 4)"},
		{From: receptionInstalling, On: receptionBreak, To: receptionAbandoned, Why: "the store closes, or breaks at it"},
	},
	Ignored: []fsm.Pair[receptionState, receptionEvent]{
		{In: receptionRefused, On: receptionBreak, Why: "whoever refused it and whoever waits both give its files back"},
		{In: receptionAbandoned, On: receptionBreak, Why: "given back twice"},
		{In: receptionAbandoned, On: receptionHold, Why: "its turn came when nobody waited any more; the range is given up at once"},
		{In: receptionAbandoned, On: receptionRefuse, Why: "its turn came when nobody waited any more"},
	},
})

// turn moves a reception on, from any goroutine. An event that the table does not know stops the store.
func (rec *reception) turn(on receptionEvent) bool {
	s := rec.store
	s.snapshots.mu.Lock()
	err := receptionTable.Turn(&rec.state, on, s.opt.Coverage)
	s.snapshots.mu.Unlock()
	if err != nil {
		s.broken("receive a snapshot of "+rec.head.shard.String(), err)
	}
	return err == nil
}

// sendingState is how far a snapshot has come on the store that sends it.
type sendingState uint8

const (
	sendingQueued    sendingState = iota // raft asked for it
	sendingOpening                       // it has one of the store's slots, and waits for its worker
	sendingStreaming                     // its view is open
	sendingDelivered
	sendingFailed
)

// sendingEvent is what happens to a snapshot on its way out.
type sendingEvent uint8

const (
	sendingSlot sendingEvent = iota
	sendingOpen
	sendingDeliver
	sendingFail
)

// sendingTable says what a snapshot may go through where it is sent.
var sendingTable = fsm.Must(fsm.Spec[sendingState, sendingEvent]{
	Name: "snapshot sent",
	About: "One snapshot on the store that sends it, from raft's MsgSnap to the report that ends it: without a report the leader\n" +
		"would wait for ever (`raftstore/snapshot.go`).",
	States: []string{"queued", "opening", "streaming", "delivered", "failed"},
	Events: []string{"slot free", "view opened", "delivered", "failed"},
	Start:  sendingQueued,
	Ends:   []sendingState{sendingDelivered, sendingFailed},
	Rows: []fsm.Row[sendingState, sendingEvent]{
		{From: sendingQueued, On: sendingSlot, To: sendingOpening, Why: "few enough are being sent"},
		{From: sendingOpening, On: sendingOpen, To: sendingStreaming, Why: "data, applied index and descriptor of one moment"},
		{From: sendingOpening, On: sendingFail, To: sendingFailed, Why: "it does not lead any more, or does not know where the other one is"},
		{From: sendingStreaming, On: sendingDeliver, To: sendingDelivered, Why: "installed there, or not needed"},
		{From: sendingStreaming, On: sendingFail, To: sendingFailed, Why: "refused there, or the stream broke; raft asks again"},
	},
})

// turn moves a snapshot on that is being sent.
func (o *outgoing) turn(on sendingEvent) bool {
	s := o.r.w.store
	err := sendingTable.Turn(&o.state, on, s.opt.Coverage)
	if err != nil {
		s.broken("send a snapshot of "+o.r.id.String(), err)
	}
	return err == nil
}
