package raftstore

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/shard"
)

// lifeState is where a replica id of a shard is on this store, on the way from nothing to its tombstone. A newer id of
// the same shard is another life.
type lifeState uint8

const (
	lifeAbsent        lifeState = iota // nothing of it is here
	lifeUninitialised                  // a group without data: it may vote, and waits for a snapshot
	lifeFrozen                         // taken out, so that a split can give birth to it with data
	lifeAsleep                         // it has data and gets no ticks
	lifeActive                         // it has data and gets ticks
	lifeInstalling                     // raft took a snapshot, which is on its way into the engine
	lifeDestroying                     // removed for good: first the tombstone, then the data
	lifeTombstoned                     // gone, and will not come back
)

// lifeEvent is what happens to a replica.
type lifeEvent uint8

const (
	lifeMessage      lifeEvent = iota // the first message for it
	lifeCreate                        // placement wants it, with all its data, which is none
	lifeRecover                       // the engine remembers it, with data
	lifeRecoverEmpty                  // the engine remembers it, without
	lifeFreeze                        // a split that is about to be applied makes it
	lifeSplit                         // the split is applied
	lifeOutlive                       // a split makes a newer replica of the same shard
	lifeWake                          // from now on it gets ticks
	lifeSleep                         // from now on it gets none
	lifeAccept                        // raft took a staged snapshot
	lifeInstall                       // it is in the engine
	lifeRemove                        // a leader says that this id was removed, or it applied that itself
	lifeDestroy                       // the tombstone is synced, and the data is gone
)

// lifeTable says what a replica may go through.
var lifeTable = fsm.Must(fsm.Spec[lifeState, lifeEvent]{
	Name: "replica",
	About: "One replica id of a shard on one store, from nothing to its tombstone. Its worker moves it (`raftstore/life.go`); an\n" +
		"event that the table does not know stops the store.",
	States: []string{"absent", "uninitialised", "frozen", "asleep", "active", "installing", "destroying", "tombstoned"},
	Events: []string{"message", "created", "recovered", "recovered empty", "frozen", "split", "outlived", "woken", "slept", "snapshot accepted", "installed", "removed", "destroyed"},
	Start:  lifeAbsent,
	Ends:   []lifeState{lifeTombstoned},
	Rows: []fsm.Row[lifeState, lifeEvent]{
		{From: lifeAbsent, On: lifeMessage, To: lifeUninitialised, Why: "a leader or a candidate counts it in; its data comes by snapshot"},
		{From: lifeAbsent, On: lifeCreate, To: lifeAsleep, Why: "a new shard: all replicas begin alike, and one of them elects when the wake queue lets it"},
		{From: lifeAbsent, On: lifeRecover, To: lifeAsleep, Why: "the store starts: it joins the wake queue"},
		{From: lifeAbsent, On: lifeRecoverEmpty, To: lifeUninitialised, Why: "the store starts, and the snapshot had not come"},
		{From: lifeAbsent, On: lifeSplit, To: lifeAsleep, Why: "the right side of a split; the left side had the data"},
		{From: lifeAbsent, On: lifeRemove, To: lifeDestroying, Why: "removed before it was heard of: what is still under way must not bring it to life"},

		{From: lifeUninitialised, On: lifeWake, To: lifeUninitialised, Why: "it gets ticks: at birth, or after the store started"},
		{From: lifeUninitialised, On: lifeCreate, To: lifeAsleep, Why: "a message of a replica that was created earlier came first; term and vote are kept"},
		{From: lifeUninitialised, On: lifeFreeze, To: lifeFrozen, Why: "nothing of its group is written any more; term, vote and promise are kept (rule 14)"},
		{From: lifeUninitialised, On: lifeOutlive, To: lifeTombstoned, Why: "whoever speaks to it hears that it is gone"},
		{From: lifeUninitialised, On: lifeAccept, To: lifeInstalling, Why: "its first data"},
		{From: lifeUninitialised, On: lifeRemove, To: lifeDestroying, Why: "removed before it had data"},

		{From: lifeFrozen, On: lifeSplit, To: lifeAsleep, Why: "the right side of a split, with the term and vote that it had"},

		{From: lifeAsleep, On: lifeWake, To: lifeActive, Why: "a message, a request, or the wake queue"},
		{From: lifeAsleep, On: lifeRemove, To: lifeDestroying, Why: "the word of a leader need not wake it"},
		{From: lifeAsleep, On: lifeSleep, To: lifeAsleep, Why: "offered again: its leader did not hear the acceptance"},

		{From: lifeActive, On: lifeSleep, To: lifeAsleep, Why: "idle, in a state that leader and followers agree on (rule 19)"},
		{From: lifeActive, On: lifeAccept, To: lifeInstalling, Why: "it is too far behind the leader's log"},
		{From: lifeActive, On: lifeRemove, To: lifeDestroying, Why: "it applied its own removal, or a leader says so"},

		{From: lifeInstalling, On: lifeInstall, To: lifeActive, Why: "data and state were exchanged in one step"},

		{From: lifeDestroying, On: lifeDestroy, To: lifeTombstoned, Why: "tombstone synced, data gone, mark removed"},
	},
	Ignored: []fsm.Pair[lifeState, lifeEvent]{
		{In: lifeFrozen, On: lifeMessage, Why: "kept until it is born"},
		{In: lifeFrozen, On: lifeRemove, Why: "the leader says it again"},
		{In: lifeDestroying, On: lifeMessage, Why: "dropped; who sent it sends again, and is told then"},
		{In: lifeDestroying, On: lifeRemove, Why: "told again; answered when it is true for ever"},
		{In: lifeTombstoned, On: lifeMessage, Why: "answered: it is gone and will not come back (rule 16)"},
		{In: lifeTombstoned, On: lifeRemove, Why: "answered: it is gone"},
	},
})

func (s lifeState) String() string { return lifeTable.State(s) }

// Charts are the tables of states of this package, for the documents and the simulator of this module.
func Charts() []fsm.Chart {
	return []fsm.Chart{lifeTable.Chart(), receptionTable.Chart(), sendingTable.Chart()}
}

// turn moves a replica's life on. It comes before what the event does to the replica.
//
// INVARIANT: a life is where its replica's fields say that it is. Who changes those without a row of the table is found
// at the next event.
//
// It reports false if the store broke: the event must have no effect then.
func (r *replica) turn(on lifeEvent) bool {
	return r.checkLife("before it is", on) && r.w.store.turnLife(r.id, &r.life, on)
}

// turnLife is turn for a life that has no replica.
func (s *Store) turnLife(id shard.ID, life *lifeState, on lifeEvent) bool {
	err := lifeTable.Turn(life, on, s.opt.Coverage)
	if err != nil {
		s.broken("lead the life of a replica of "+id.String(), err)
	}
	return err == nil
}

// checkLife compares a life with the fields that depend on it. If they differ it stops the store and reports false.
func (r *replica) checkLife(when string, on lifeEvent) bool {
	ok := true
	switch r.life {
	case lifeAbsent:
		ok = r.awakeAt < 0 && r.w.replicas[r.id] != r
	case lifeUninitialised:
		ok = !r.born() && r.gen != 0 && !r.held
	case lifeFrozen:
		ok = r.awakeAt < 0
	case lifeAsleep:
		ok = r.born() && r.awakeAt < 0 && r.gen != 0 && (!r.held || r.freezing)
	case lifeActive:
		ok = r.born() && r.awakeAt >= 0 && r.gen != 0 && (!r.held || r.freezing)
	case lifeInstalling:
		ok = r.awakeAt >= 0 && r.gen != 0 && r.held
	case lifeDestroying, lifeTombstoned:
		ok = r.held && r.awakeAt < 0 && r.gen == 0
	}
	found := r.w.front.names(r.id, r.w.replicas[r.id]) && r.w.store.front.names(r.id, r.w.store.mapped(r.id))
	if ok && found {
		return true
	}
	err := fmt.Errorf("a bug: it should be %s, but has data: %t, gets ticks: %t, is held: %t, generation %d, is what is found for its id: %t", r.life, r.born(), r.awakeAt >= 0, r.held, r.gen, found)
	r.w.store.opt.Coverage.Fault(err)
	r.w.store.broken(fmt.Sprintf("look at %s of %s %s %s", r.self, r.id, when, lifeTable.Event(on)), err)
	return false
}
