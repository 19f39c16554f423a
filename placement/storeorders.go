package placement

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// What administrators may want of a store.

// drain makes a store empty, or lets it be filled again. It is refused if the others cannot hold what is on it: the drain
// would go half the way and then stop for ever.
func (s *Server) drain(ctx context.Context, l *leadership, o *beat.StoreOrder, on, dry bool) (*beat.Outcome, error) {
	_, rec, err := s.storeOf(o.Store)
	if err != nil {
		return nil, err
	}
	switch {
	case rec.removed:
		return nil, invalidf("%s was removed from the cluster", o.Store)
	case rec.draining == on:
		return &beat.Outcome{Lines: []string{drainLine(o.Store, on) + " already"}}, nil
	}
	if on && !o.Force {
		if why := s.canDrain(l, o.Store); why != "" {
			return nil, invalidf("%s cannot be drained: %s; add a store, or say --force", o.Store, why)
		}
	}
	if !dry {
		rec.draining = on
		if err := s.changeStore(ctx, l, rec, map[bool]string{true: "drain", false: "undrain"}[on]); err != nil {
			return nil, err
		}
	}
	return &beat.Outcome{Lines: []string{drainLine(o.Store, on)}}, nil
}

func drainLine(id shard.StoreID, on bool) string {
	if on {
		return id.String() + " is drained"
	}
	return id.String() + " is not drained any more"
}

// evict has a store lead nothing, or lets it lead again. It keeps its replicas.
func (s *Server) evict(ctx context.Context, l *leadership, o *beat.StoreOrder, on, dry bool) (*beat.Outcome, error) {
	_, rec, err := s.storeOf(o.Store)
	if err != nil {
		return nil, err
	}
	line := map[bool]string{true: " leads nothing", false: " may lead"}[on]
	switch v := l.clusterVersion(); {
	case rec.removed:
		return nil, invalidf("%s was removed from the cluster", o.Store)
	case rec.evicting == on:
		return &beat.Outcome{Lines: []string{o.Store.String() + line + " already"}}, nil
	case on && v < version.Settings:
		return nil, invalidf("leaders can be evicted in a cluster of version %s and newer, and this one has version %s: some of its members may not understand the record; 'skerry ctl version show' says which",
			version.Settings, v)
	}
	if !dry {
		rec.evicting = on
		if err := s.changeStore(ctx, l, rec, map[bool]string{true: "evict leaders", false: "allow leaders"}[on]); err != nil {
			return nil, err
		}
	}
	return &beat.Outcome{Lines: []string{o.Store.String() + line}}, nil
}

func (v *view) evicting(id shard.StoreID) bool {
	r, _ := v.record(id)
	return r.evicting
}

// remove is RemoveStore with reasons that fit a person who may wait: a live store is drained first.
func (s *Server) remove(ctx context.Context, l *leadership, o *beat.StoreOrder, dry bool) (*beat.Outcome, error) {
	_, rec, err := s.storeOf(o.Store)
	if err != nil {
		return nil, err
	}
	if rec.removed {
		return &beat.Outcome{Lines: []string{o.Store.String() + " is removed already"}}, nil
	}
	if l.view.isLive(o.Store) && !l.view.empty(o.Store) && !o.Force {
		return nil, invalidf("%s is up and holds replicas; empty it first with 'skerry ctl store drain %s', or stop it if it is to go at once", o.Store, o.Store)
	}
	if !dry {
		if err := s.RemoveStore(ctx, o.Store); err != nil {
			return nil, err
		}
	}
	return &beat.Outcome{Lines: []string{o.Store.String() + " is removed"}}, nil
}

// label changes a store's labels.
func (s *Server) label(ctx context.Context, l *leadership, o *beat.LabelOrder, dry bool) (*beat.Outcome, error) {
	_, rec, err := s.storeOf(o.Store)
	if err != nil {
		return nil, err
	}
	if rec.removed {
		return nil, invalidf("%s was removed from the cluster", o.Store)
	}
	labels := slices.Clone(rec.labels)
	for _, lb := range o.Labels {
		if err := checkLabel(lb); err != nil {
			return nil, err
		}
		labels = slices.DeleteFunc(labels, func(have beat.Label) bool { return have.Key == lb.Key })
		if lb.Value != "" {
			labels = append(labels, lb)
		}
	}
	if len(labels) > maxLabels {
		return nil, invalidf("%s would have %d labels, at most %d are allowed", o.Store, len(labels), maxLabels)
	}
	slices.SortFunc(labels, func(a, b beat.Label) int { return strings.Compare(a.Key, b.Key) })
	if !dry && !slices.Equal(labels, rec.labels) {
		rec.labels = labels
		if err := s.changeStore(ctx, l, rec, "label"); err != nil {
			return nil, err
		}
	}
	return &beat.Outcome{Lines: []string{fmt.Sprintf("%s has %s", o.Store, describeLabels(labels))}}, nil
}

// checkLabel keeps labels to what can be typed and read back.
func checkLabel(l beat.Label) error {
	for _, part := range []string{l.Key, l.Value} {
		if len(part) > maxLabelBytes {
			return invalidf("label %.20s...=... is too long: at most %d bytes for a key and for a value", l.Key, maxLabelBytes)
		}
		if i := strings.IndexFunc(part, func(r rune) bool { return !labelRune(r) }); i >= 0 {
			return invalidf("label %s=%s: letters, digits and . _ - / only", l.Key, l.Value)
		}
	}
	if l.Key == "" {
		return invalidf("a label needs a key: zone=a")
	}
	return nil
}

func labelRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/", r)
}

func describeLabels(ls []beat.Label) string {
	if len(ls) == 0 {
		return "no labels"
	}
	var out []string
	for _, l := range ls {
		out = append(out, l.Key+"="+l.Value)
	}
	return strings.Join(out, ",")
}
