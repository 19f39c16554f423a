package placement

import (
	"context"
	"maps"
	"slices"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// maxRoutesPerMessage bounds one message of the route stream.
const maxRoutesPerMessage = 4096

// watcher is one client of the route stream. It gathers the ids of what changed while its stream is busy, so that a
// slow client costs a set of ids and never a queue of messages.
type watcher struct {
	wake   env.Event
	dirty  map[shard.ID]struct{}
	stores bool
}

// Watch sends all routes and then what changes. It is a hint stream: a client that acts on an old route is corrected
// by the store that it asks. It ends when this member ceases to lead, so that clients move to the new leader and get a
// full picture there.
func (s *Server) Watch(ctx context.Context, send func(*beat.Routes) error) error {
	l, err := s.leading()
	if err != nil {
		return err
	}
	w := &watcher{wake: s.env.NewEvent("watch"), dirty: make(map[shard.ID]struct{})}
	full := l.view.subscribe(w)
	defer l.view.unsubscribe(w)
	first := true
	for {
		for len(full) > 0 || first {
			n := min(len(full), maxRoutesPerMessage)
			msg := &beat.Routes{Full: first, Cluster: l.cluster, Routes: full[:n]}
			if first {
				msg.Stores, msg.Members = l.view.allStores(), s.Members()
			}
			if err := send(msg); err != nil {
				return err
			}
			full, first = full[n:], false
		}
		if err := w.wake.Wait(ctx, 0); err != nil {
			return err
		}
		routes, stores, ended := l.view.changes(w)
		if ended {
			return &shard.NotLeaderError{Shard: shard.MetaID, Leader: s.meta.Leader()}
		}
		if stores {
			if err := send(&beat.Routes{Cluster: l.cluster, Stores: l.view.allStores(), Members: s.Members()}); err != nil {
				return err
			}
		}
		full = routes
	}
}

// subscribe registers a watcher and returns the whole picture, of which it will get every change from now on.
func (v *view) subscribe(w *watcher) []beat.Route {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watchers = append(v.watchers, w)
	if v.ended {
		w.wake.Wake()
	}
	var out []beat.Route
	v.shards.Ascend(nil, func(d *shard.Descriptor) bool {
		out = append(out, v.routeLocked(d))
		return true
	})
	return out
}

func (v *view) unsubscribe(w *watcher) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watchers = slices.DeleteFunc(v.watchers, func(o *watcher) bool { return o == w })
}

// changes takes what a watcher has not seen yet.
func (v *view) changes(w *watcher) (routes []beat.Route, stores, ended bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(w.dirty)) {
		if d, ok := v.shards.Get(id); ok {
			routes = append(routes, v.routeLocked(d))
		}
	}
	stores = w.stores
	clear(w.dirty)
	w.stores = false
	return routes, stores, v.ended
}

// wakeLocked tells the watchers that a shard changed, or, with 0, that stores did.
func (v *view) wakeLocked(id shard.ID) {
	for _, w := range v.watchers {
		if id == 0 {
			w.stores = true
		} else {
			w.dirty[id] = struct{}{}
		}
		w.wake.Wake()
	}
}

// membersChanged tells the watchers where placement is now.
func (v *view) membersChanged() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wakeLocked(0)
}

// end tells the watchers that the term is over.
func (v *view) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	v.wakeLocked(0)
}

// Locate returns the routes of the shards from a key on, in key order.
func (s *Server) Locate(_ context.Context, key shard.Key, limit int) (*beat.Routes, error) {
	l, err := s.leading()
	if err != nil {
		return nil, err
	}
	if limit <= 0 || limit > maxRoutesPerMessage {
		limit = maxRoutesPerMessage
	}
	routes := l.view.locate(key, limit)
	if len(routes) == 0 {
		return nil, &shard.NotReadyError{Shard: shard.MetaID, Why: shard.NoShardsYet}
	}
	return &beat.Routes{Cluster: l.cluster, Routes: routes, Stores: l.view.allStores(), Members: s.Members()}, nil
}
