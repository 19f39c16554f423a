package placement

import (
	"context"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// What is on record of stores, and who may claim to be one.

// RemoveStore declares a store gone for good: its replicas are replaced elsewhere, and its id never comes back.
func (s *Server) RemoveStore(ctx context.Context, id shard.StoreID) error {
	l, rec, err := s.storeOf(id)
	if err != nil {
		return err
	}
	if err := l.view.acquainted(); err != nil {
		return err
	}
	others := slices.DeleteFunc(l.view.upStores(), func(o shard.StoreID) bool { return o == id })
	if l.view.isLive(id) && !l.view.empty(id) && len(others) < l.policy.current().Replicas {
		return &shard.InvalidError{Why: fmt.Sprintf("%s is up and there is no other store for its replicas; add a store first", id)}
	}
	if rec.removed {
		return nil
	}
	if sid, ok := l.view.needs(id); ok {
		return &shard.InvalidError{Why: fmt.Sprintf("without %s there is no quorum of %s left; bring back or replace its other replicas first ('skerry ctl shard show %s')", id, sid, sid)}
	}
	rec.removed = true
	return s.changeStore(ctx, l, rec, "remove")
}

// needs finds a shard that would have no quorum of stores left without this one: the rest of its voters may not be enough,
// or be on stores that are gone as well. A store that is silent counts as one that comes back.
//
// INVARIANT (rule 15): a quorum is never given up by an order of ours. A shard of a single voter is lost with it.
func (v *view) needs(id shard.StoreID) (shard.ID, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.env.Now()
	stays := func(st shard.StoreID) bool {
		sv := v.stores[st]
		return st != id && sv != nil && v.stateLocked(sv, now) != beat.Removed && v.stateLocked(sv, now) != beat.Down
	}
	var found shard.ID
	v.shards.Ascend(nil, func(d *shard.Descriptor) bool {
		if _, here := d.ReplicaOn(id); here && !quorate(d, stays) {
			found = d.ID
		}
		return found == 0
	})
	return found, found != 0
}

// quorate reports whether the voters of every half of a configuration that are on such stores are a quorum of it.
func quorate(d *shard.Descriptor, stays func(shard.StoreID) bool) bool {
	for _, half := range [][2]shard.Role{{shard.Voter, shard.IncomingVoter}, {shard.Voter, shard.DemotingVoter}} {
		all, left := 0, 0
		for _, r := range d.Replicas {
			if r.Role == half[0] || r.Role == half[1] {
				all++
				if stays(r.Store) {
					left++
				}
			}
		}
		if left < all/2+1 {
			return false
		}
	}
	return true
}

// storeOf returns what this leader knows of a store.
func (s *Server) storeOf(id shard.StoreID) (*leadership, storeRecord, error) {
	l, err := s.leading()
	if err != nil {
		return nil, storeRecord{}, err
	}
	rec, ok := l.view.record(id)
	if !ok {
		return nil, storeRecord{}, &shard.InvalidError{Why: fmt.Sprintf("there is no store %s; 'skerry ctl store list' shows them", id)}
	}
	return l, rec, nil
}

// changeStore writes a store's record, and takes it into the picture.
func (s *Server) changeStore(ctx context.Context, l *leadership, rec storeRecord, what string) error {
	old, _ := l.view.record(rec.id)
	if err := s.replaceStore(ctx, l, old, rec); err != nil {
		return fmt.Errorf("%s %s: %w", what, rec.id, err)
	}
	l.view.loadStore(rec)
	s.log.Info("store record changed", "store", rec.id, "by", what, "draining", rec.draining, "removed", rec.removed, "labels", rec.labels)
	return nil
}

// replaceStore writes a store's record if it still is what this leader knows: a new address must not bring back a store
// that is being removed.
func (s *Server) replaceStore(ctx context.Context, l *leadership, old, rec storeRecord) error {
	key := idKey(prefixStore, uint64(rec.id))
	return s.write(ctx, l, &raw.Command{Conditions: []raw.Condition{unchanged(key, old.encode())}, Ops: []raw.Op{putOp(key, rec.encode())}})
}

func (v *view) record(id shard.StoreID) (storeRecord, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if sv := v.stores[id]; sv != nil {
		return sv.record, true
	}
	return storeRecord{}, false
}

// isLive reports whether a store is heard.
func (v *view) isLive(id shard.StoreID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[id]
	if sv == nil {
		return false
	}
	v.stateLocked(sv, v.env.Now())
	return sv.state.live()
}

// empty reports whether a store holds nothing, by its own word and by everybody else's.
func (v *view) empty(id shard.StoreID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[id]
	return sv != nil && sv.seen != 0 && sv.last.Shards == 0 && v.heldLocked(id).shards == 0
}

func (v *view) addrChanged(id shard.StoreID, addr string) (moved, known, removed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[id]
	if sv == nil {
		return false, false, false
	}
	return sv.record.addr != addr, true, sv.record.removed
}

// withToken finds the store that registered with a token.
func (v *view) withToken(token uint64) (shard.StoreID, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if token == 0 {
		return 0, false
	}
	for _, id := range v.storeIDsLocked() {
		if r := v.stores[id].record; r.token == token && !r.removed {
			return id, true
		}
	}
	return 0, false
}

// liveAt is the store, another than this one, that is heard from an address; 0 if there is none.
func (v *view) liveAt(addr string, but shard.StoreID) shard.StoreID {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.env.Now()
	for _, id := range v.storeIDsLocked() {
		sv := v.stores[id]
		if id == but || sv.record.addr != addr {
			continue
		}
		if v.stateLocked(sv, now); sv.state.live() {
			return id
		}
	}
	return 0
}

// checkIdentity refuses a heartbeat whose sender cannot be who it says: a store whose directory was copied, and one that
// took another's address.
//
// A process raises the incarnation in its directory when it starts, and never changes its address. So of two processes on
// copies of one directory, the one that started fewer times is a copy or a life that is over, and if they started equally
// often, their addresses tell.
func (v *view) checkIdentity(r *beat.Report) error {
	v.mu.Lock()
	sv := v.stores[r.Store]
	var last beat.Report
	if sv != nil && sv.seen != 0 {
		last = sv.last
	}
	v.mu.Unlock()
	switch {
	case last.Incarnation > r.Incarnation,
		last.Incarnation == r.Incarnation && r.Incarnation != 0 && last.Addr != r.Addr:
		return &shard.InvalidError{Why: fmt.Sprintf("another process runs as %s, at %s: this one's directory is a copy of its; start it on an empty directory", r.Store, last.Addr)}
	}
	if other := v.liveAt(r.Addr, r.Store); other != 0 {
		return errAddrTaken(r.Addr, other)
	}
	return nil
}
