package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMetrics: each part of each node counts for itself, and what counts up is called so.
func TestMetrics(t *testing.T) {
	n := startReady(t, serverConfig(""))
	put(t, "a", "1", n)
	time.Sleep(heartbeatInterval) // the shard is in a report
	families, err := n.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := make(map[string]int)
	for i, f := range families {
		at[f.GetName()] = i
		if !strings.HasPrefix(f.GetName(), "skerry_") || f.GetHelp() == "" {
			t.Errorf("%s: help %q", f.GetName(), f.GetHelp())
		}
		if (f.GetType().String() == "COUNTER") != strings.HasSuffix(f.GetName(), "_total") {
			t.Errorf("%s is a %s", f.GetName(), f.GetType())
		}
	}
	// values are a metric's values (a histogram's counts) by the values of their labels, store first.
	values := func(name string) map[string]float64 {
		out := make(map[string]float64)
		i, ok := at[name]
		if !ok {
			return nil
		}
		for _, m := range families[i].GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			key := strings.TrimSpace(fmt.Sprint(labels["store"], " ", labels["part"]))
			out[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
		return out
	}
	_, id := identOf(t, n)
	for name, want := range map[string]map[string]float64{
		"skerry_placement_leader":        {"": 1},
		"skerry_store_joined":            {"": 1},
		"skerry_shards":                  {id.String(): 1},
		"skerry_leaders":                 {id.String(): 1},
		"skerry_proposed_commands_total": {id.String() + " store": 1},
	} {
		for labels, v := range want {
			if have, ok := values(name)[labels]; !ok || have != v {
				t.Errorf("%s{%s} = %v, want %v; there are %v", name, labels, have, v, values(name))
			}
		}
	}
	for _, name := range []string{"skerry_log_batches_total", "skerry_engine_sync_seconds", "skerry_engine_written_bytes_total"} {
		v := values(name)
		if want := []string{id.String() + " store", "st1 placement"}; !slices.Equal(slices.Sorted(maps.Keys(v)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s is of %v, want of %v", name, v, want)
		}
		for labels, x := range v {
			if x == 0 {
				t.Errorf("%s{%s} is zero", name, labels)
			}
		}
	}
	h := families[at["skerry_engine_sync_seconds"]].GetMetric()[0].GetHistogram()
	last := h.GetBucket()[len(h.GetBucket())-1]
	if last.GetCumulativeCount() > h.GetSampleCount() || last.GetUpperBound() > 60 || h.GetBucket()[0].GetUpperBound() != 16e-6 {
		t.Errorf("histogram: %v", h)
	}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		t.Log(name, families[at[name]].GetType(), families[at[name]].GetHelp())
	}
	stop(t, n)
	if families, err := n.Registry().Gather(); err != nil || len(families) != 0 {
		t.Errorf("a closed node has metrics: %v, %v", families, err)
	}
}
