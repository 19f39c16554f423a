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
	absent        lifeState = iota // nothing of it is here
	uninitialised                  // a group without data: it may vote, and waits for a snapshot
	asleep                         // it has data and gets no ticks
	active                         // it has data and gets ticks
	installing                     // raft took a snapshot, which is on its way into the engine
	destroying                     // removed for good: first the tombstone, then the data
	tombstoned                     // gone, and will not come back
)

// lifeEvent is what happens to a replica.
type lifeEvent uint8

const (
	lifeMessage   lifeEvent = iota // the first message for it
	lifeCreated                    // placement wants it, with all its data, which is none
	lifeRecovered                  // the engine remembers it, with data
	lifeEmpty                      // the engine remembers it, without
	lifeWoken                      // from now on it gets ticks
	lifeSlept                      // from now on it gets none
	lifeAccepted                   // raft took a staged snapshot
	lifeInstalled                  // it is in the engine
	lifeRemoved                    // a leader says that this id was removed, or it applied that itself
	lifeDestroyed                  // the tombstone is synced, and the data is gone
)

// lifeTable says what a replica may go through.
var lifeTable = fsm.Must(fsm.Spec[lifeState, lifeEvent]{
	Name: "replica",
	About: "One replica id of a shard on one store, from nothing to its tombstone. Its worker moves it (`raftstore/life.go`); an\n" +
		"event that the table does not know stops the store.",
	States: []string{"absent", "uninitialised", "asleep", "active", "installing", "destroying", "tombstoned"},
	Events: []string{"message", "created", "recovered", "recovered empty", "woken", "slept", "snapshot accepted", "installed", "removed", "destroyed"},
	Start:  absent,
	Ends:   []lifeState{tombstoned},
	Rows: []fsm.Row[lifeState, lifeEvent]{
		{From: absent, On: lifeMessage, To: uninitialised, Why: "a leader or a candidate counts it in; its data comes by snapshot"},
		{From: absent, On: lifeCreated, To: asleep, Why: "a new shard: all replicas begin alike, and elect when the wake queue lets them"},
		{From: absent, On: lifeRecovered, To: asleep, Why: "the store starts: it joins the wake queue"},
		{From: absent, On: lifeEmpty, To: uninitialised, Why: "the store starts, and the snapshot had not come"},
		{From: absent, On: lifeRemoved, To: destroying, Why: "removed before it was heard of: what is still under way must not bring it to life"},

		{From: uninitialised, On: lifeWoken, To: uninitialised, Why: "it gets ticks: at birth, or after the store started"},
		{From: uninitialised, On: lifeCreated, To: asleep, Why: "a message of a replica that was created earlier came first; term and vote are kept"},
		{From: uninitialised, On: lifeAccepted, To: installing, Why: "its first data"},
		{From: uninitialised, On: lifeRemoved, To: destroying, Why: "removed before it had data"},

		{From: asleep, On: lifeWoken, To: active, Why: "a message, a request, or the wake queue"},
		{From: asleep, On: lifeRemoved, To: destroying, Why: "the word of a leader need not wake it"},

		{From: asleep, On: lifeSlept, To: asleep, Why: "offered again: its leader did not hear the acceptance"},

		{From: active, On: lifeSlept, To: asleep, Why: "idle, in a state that leader and followers agree on (rule 19)"},
		{From: active, On: lifeAccepted, To: installing, Why: "it is too far behind the leader's log"},
		{From: active, On: lifeRemoved, To: destroying, Why: "it applied its own removal, or a leader says so"},

		{From: installing, On: lifeInstalled, To: active, Why: "data and state were exchanged in one step"},

		{From: destroying, On: lifeDestroyed, To: tombstoned, Why: "tombstone synced, data gone, mark removed"},
	},
	Ignored: []fsm.Pair[lifeState, lifeEvent]{
		{In: destroying, On: lifeMessage, Why: "dropped; who sent it sends again, and is told then"},
		{In: destroying, On: lifeRemoved, Why: "told again; answered when it is true for ever"},
		{In: tombstoned, On: lifeMessage, Why: "answered: it is gone and will not come back (rule 16)"},
		{In: tombstoned, On: lifeRemoved, Why: "answered: it is gone"},
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
	if err := r.checkLife(); err != nil {
		r.w.store.broken(fmt.Sprintf("%s of %s meets %q", r.self, r.id, lifeTable.Event(on)), err)
		return false
	}
	return r.w.store.turnLife(r.id, &r.life, on)
}

// turnLife is turn for a life that has no replica.
func (s *Store) turnLife(id shard.ID, life *lifeState, on lifeEvent) bool {
	err := lifeTable.Turn(life, on, s.opt.Coverage)
	if err != nil {
		s.broken("lead the life of a replica of "+id.String(), err)
	}
	return err == nil
}

// checkLife compares a life with the fields that depend on it.
func (r *replica) checkLife() error {
	ok := true
	switch r.life {
	case absent:
		ok = r.awakeAt < 0 && r.w.replicas[r.id] != r
	case uninitialised:
		ok = !r.born() && r.gen != 0
	case asleep:
		ok = r.born() && r.awakeAt < 0 && r.gen != 0
	case active:
		ok = r.born() && r.awakeAt >= 0 && r.gen != 0
	case installing:
		ok = r.awakeAt >= 0 && r.gen != 0
	case destroying, tombstoned:
		ok = r.held && r.awakeAt < 0 && r.gen == 0
	}
	if ok {
		return nil
	}
	return fmt.Errorf("a bug: it should be %s, but has data: %t, gets ticks: %t, is held: %t, generation %d", r.life, r.born(), r.awakeAt >= 0, r.held, r.gen)
}
