package placement

import (
	"maps"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Steps are followed from the plan to their effect. Nothing is decided by that: each plan follows from the descriptor
// alone. It tells what placement is about, and finds orders of events that nobody thought of.

// trackLocked follows the step that is due for a shard, and reports whether there is one. Another one that was followed is
// superseded. Requires mu.
func (v *view) trackLocked(d *shard.Descriptor, st operator.Step) bool {
	due := st.Change != nil || st.TransferTo != 0
	if t := v.steps[d.ID]; t != nil && !(due && t.Is(d, st)) {
		v.turnStepLocked(d.ID, t, operator.WasOvertaken)
	}
	if due && v.steps[d.ID] == nil {
		v.steps[d.ID] = &operator.Track{Step: st, Epoch: d.Epoch}
	}
	return due
}

// followLocked takes what a replica says of a shard that it leads. Requires mu.
func (v *view) followLocked(l *beat.Led) {
	t := v.steps[l.Desc.ID]
	if t == nil {
		return
	}
	lead, _ := l.Desc.Replica(l.Leader)
	if on, ok := t.Shows(l.Desc, lead.Store); ok {
		v.turnStepLocked(l.Desc.ID, t, on)
	}
}

// dropIdleLocked supersedes the steps of shards that nothing is to be done for any more: what was held for lost is back.
// Requires mu.
func (v *view) dropIdleLocked() {
	for _, id := range slices.Sorted(maps.Keys(v.steps)) {
		if !v.changing[id] {
			v.turnStepLocked(id, v.steps[id], operator.WasOvertaken)
		}
	}
}

// sent notes that an answer with these plans goes out.
func (v *view) sent(plans []plan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range plans {
		if t := v.steps[p.desc.ID]; t != nil && t.Is(p.desc, p.step) {
			v.turnStepLocked(p.desc.ID, t, operator.WasSent)
		}
	}
}

// turnStepLocked moves a step on, and forgets it at its end. Requires mu.
func (v *view) turnStepLocked(id shard.ID, t *operator.Track, on operator.StepEvent) {
	if err := t.Turn(on, v.coverage); err != nil {
		v.illegal(err)
	}
	if st := t.State(); st == operator.Done || st == operator.Superseded {
		delete(v.steps, id)
	}
}

// illegal stops the node: its picture of the cluster is not to be trusted. Whoever leads next makes a new one.
func (s *Server) illegal(err error) {
	s.log.Error("placement", "err", err)
	if s.opt.OnBroken != nil {
		s.opt.OnBroken(err)
	}
}
