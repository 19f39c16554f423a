package raftstore

import (
	"context"
	"maps"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Report fills in the part of a store heartbeat that this store knows: what it leads (all of it if full, else what
// changed since the last report), its replicas if full, and its counts. A report that did not reach placement must be
// followed by a full one.
func (s *Store) Report(ctx context.Context, full bool) (*beat.Report, error) {
	if s.hung.Load() {
		return nil, errHungDisk{s.opt.electionTimeout()} // rule 5: no store heartbeats, to placement neither
	}
	out := &beat.Report{Store: s.id, Incarnation: s.live.incarnation, Full: full, SyncTime: s.sync.syncTime(s.env.Now())}
	s.live.tell(out)
	s.unreported.Store(false)
	for _, w := range s.workers {
		var part beat.Report
		err := w.call(ctx, func(done func(error)) {
			w.report(&part, full)
			done(nil)
		})
		if err != nil {
			return nil, err
		}
		out.Shards += part.Shards
		out.Leaders += part.Leaders
		out.MaxID = max(out.MaxID, part.MaxID)
		out.Led = append(out.Led, part.Led...)
		out.Rates = append(out.Rates, part.Rates...)
		out.Replicas = append(out.Replicas, part.Replicas...)
	}
	return out, nil
}

// Unreported says whether something that placement wants to know changed since the last Report.
func (s *Store) Unreported() bool { return s.unreported.Load() }

func (w *worker) report(out *beat.Report, full bool) {
	out.Shards, out.Leaders, out.MaxID = len(w.replicas), w.leaders, w.maxID
	if full {
		for _, id := range slices.Sorted(maps.Keys(w.replicas)) {
			r := w.replicas[id]
			held := beat.Replica{Shard: r.id, Replica: r.self, Born: r.born()}
			if r.born() {
				held.Epoch = r.machine.Desc.Epoch
			}
			out.Replicas = append(out.Replicas, held)
			r.reportLed(out)
			if r.load.meter != nil {
				r.reportRates(out)
			}
		}
	} else {
		for _, r := range w.unreported {
			r.reportLed(out)
		}
		for _, r := range w.rated {
			r.reportRates(out)
		}
	}
	w.reportChildren(out)
	for _, r := range w.unreported {
		r.unreported = false
	}
	w.unreported = nil
	for _, r := range w.rated {
		r.load.untold = false
	}
	w.rated = nil
}

// countLeading keeps the worker's count of what it leads, so that a report need not look at sleeping replicas.
func (r *replica) countLeading(leading bool) {
	if leading != r.counted {
		r.counted = leading
		if leading {
			r.w.leaders++
		} else {
			r.w.leaders--
		}
	}
}

func (r *replica) reportLed(out *beat.Report) {
	if !r.canServe() {
		return
	}
	led := beat.Led{Desc: r.machine.Desc, Leader: r.self, Term: r.group.Term(), Applied: r.machine.Applied.Index, Bytes: r.size.bytes}
	r.size.reported = r.size.bytes
	for _, p := range r.machine.Desc.Replicas {
		if live, _ := r.w.store.live.isLive(p.Store); !live {
			led.Down = append(led.Down, p.ID)
		}
	}
	out.Led = append(out.Led, led)
}

// child is a shard that was born beside its left's leader and has no leader itself yet, as far as is known here.
type child struct {
	desc *shard.Descriptor
	told int
}

// maxChildReports is how often a child is reported without a leader: whoever leads it reports it then, and until then
// placement must not see a gap where its left was.
const maxChildReports = 20

// reportChildren reports the right sides of splits together with their left, before they have a leader.
func (w *worker) reportChildren(out *beat.Report) {
	w.children = slices.DeleteFunc(w.children, func(c child) bool {
		return c.told >= maxChildReports || w.store.Leader(c.desc.ID).ID != 0
	})
	for i := range w.children {
		w.children[i].told++
		out.Led = append(out.Led, beat.Led{Desc: w.children[i].desc})
	}
}

// tellPlacement puts a shard on the list of the next report.
func (r *replica) tellPlacement() {
	if !r.unreported {
		r.unreported = true
		r.w.unreported = append(r.w.unreported, r)
		r.w.store.unreported.Store(true)
	}
}

// Lease returns the term in which this store leads a shard under a lease right now, 0 if it does not.
func (s *Store) Lease(id shard.ID) uint64 {
	r := s.replica(id)
	if r == nil {
		return 0
	}
	v := r.view.Load()
	if v == nil || !r.holds(v, s.env.Now()) {
		return 0
	}
	return v.term
}

// Leading returns the term in which this store leads a shard and knows all that was committed before it, 0 if it does
// not. It is a hint: Lease, or a barrier, is the proof.
func (s *Store) Leading(id shard.ID) uint64 {
	if r := s.replica(id); r != nil {
		if v := r.view.Load(); v != nil {
			return v.term
		}
	}
	return 0
}

// Leader is the replica that leads a shard as far as this store knows; zero otherwise.
func (s *Store) Leader(id shard.ID) shard.Replica {
	if r := s.replica(id); r != nil {
		if l := r.led.Load(); l != nil {
			return *l
		}
	}
	return shard.Replica{}
}

// Live reports whether this store hears another one.
func (s *Store) Live(id shard.StoreID) bool {
	live, _ := s.live.isLive(id)
	return live
}
