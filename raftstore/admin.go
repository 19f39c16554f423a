package raftstore

import (
	"context"
	"maps"
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// TransferLeader asks a shard's leader here to hand its leadership to another voter, and returns once raft has begun.
//
// INVARIANT (rule 11 iii): from here to the end of the term the leader neither uses nor renews a lease, because the
// TimeoutNow ignores every promise of the voters, also if it comes late.
func (s *Store) TransferLeader(ctx context.Context, id shard.ID, to shard.StoreID) error {
	w := s.worker(id)
	return w.call(ctx, func(done func(error)) {
		r := w.replicas[id]
		if r == nil {
			done(&shard.NotFoundError{Shard: id, Store: s.id})
			return
		}
		r.wakeUp(wakeRequest)
		if !r.canServe() {
			done(r.notLeader())
			return
		}
		if to == s.id {
			done(nil) // it leads already
			return
		}
		target, ok := r.machine.Desc.ReplicaOn(to)
		if !ok || target.Role != shard.Voter && target.Role != shard.IncomingVoter {
			done(&shard.InvalidError{Why: to.String() + " has no voter of " + id.String()})
			return
		}
		done(r.handTo(target.ID))
	})
}

// handTo begins to hand the leadership to another voter.
func (r *replica) handTo(to shard.ReplicaID) error {
	lease := env.Time(0)
	if v := r.view.Load(); v != nil {
		lease = v.lease
	}
	if !bug.LeaseOverTransfer.On() {
		r.withdraw()
	}
	err := r.group.TransferLeader(to)
	if err != nil {
		r.publish(lease) // nothing was begun
		err = &shard.InvalidError{Why: err.Error()}
	} else {
		r.betweenUntil = r.w.now.Add(r.w.store.opt.electionTimeout())
	}
	r.mark()
	return err
}

// ReplicaStatus is what a store knows of one of its replicas.
type ReplicaStatus struct {
	Desc      *shard.Descriptor
	Replica   shard.ReplicaID
	Leader    shard.Replica
	Term      uint64
	Applied   shard.Applied
	Committed uint64
	Last      uint64
	Leading   bool
	Asleep    bool
	LogBytes  int64
	// Followers is the leader's picture of the others.
	Followers []FollowerStatus
}

// FollowerStatus is how far another replica is, as its leader sees it.
type FollowerStatus struct {
	Replica shard.ReplicaID
	Match   uint64
	State   string
	Active  bool
}

// Status describes the replicas of this store, by shard id. id 0 means all of them.
func (s *Store) Status(ctx context.Context, id shard.ID) ([]ReplicaStatus, error) {
	var out []ReplicaStatus
	for _, w := range s.workers {
		if id != 0 && s.worker(id) != w {
			continue
		}
		var part []ReplicaStatus
		err := w.call(ctx, func(done func(error)) {
			for _, sid := range slices.Sorted(maps.Keys(w.replicas)) {
				if id == 0 || sid == id {
					part = append(part, w.replicas[sid].status())
				}
			}
			done(nil)
		})
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	slices.SortFunc(out, func(a, b ReplicaStatus) int { return int(int64(a.Replica) - int64(b.Replica)) })
	return out, nil
}

func (r *replica) status() ReplicaStatus {
	st := ReplicaStatus{Desc: r.machine.Desc, Replica: r.self, Leader: r.leader(), Term: r.group.Term(),
		Applied: r.machine.Applied, Committed: r.group.Committed(), Last: r.last(),
		Leading: r.group.Leading(), Asleep: r.asleep(), LogBytes: r.logBytes}
	if st.Desc == nil {
		st.Desc = &shard.Descriptor{ID: r.id}
	}
	if st.Leading {
		r.group.Progress(func(p group.Progress) {
			st.Followers = append(st.Followers, FollowerStatus{Replica: p.Replica, Match: p.Match, State: p.State.String(), Active: p.RecentActive})
		})
	}
	return st
}
