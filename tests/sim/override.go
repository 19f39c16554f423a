package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// knobSetters are the knobs that can be set by name, on top of what a seed draws. Setting one changes nothing else that
// is drawn, but everything that happens.
var knobSetters = map[string]func(k *Knobs, v string) error{
	"stores":      intKnob(1, 9, func(k *Knobs) *int { return &k.Stores }),
	"late-stores": intKnob(0, 6, func(k *Knobs) *int { return &k.Late }),
	"members":     intKnob(1, 5, func(k *Knobs) *int { return &k.Members }),
	"shards":      intKnob(1, maxSlots, func(k *Knobs) *int { return &k.Shards }),
	"clients":     intKnob(1, 64, func(k *Knobs) *int { return &k.Clients }),
	"groups":      intKnob(1, maxSlots, func(k *Knobs) *int { return &k.Groups }),
	"workers":     intKnob(1, 4, func(k *Knobs) *int { return &k.Workers }),
	"log":         func(k *Knobs, v string) (err error) { k.LogEntries, err = strconv.ParseUint(v, 10, 64); return err },
	"faults":      durationKnob(func(k *Knobs) *time.Duration { return &k.Faults }),
	"tick":        durationKnob(func(k *Knobs) *time.Duration { return &k.Tick }),
	"pace":        durationKnob(func(k *Knobs) *time.Duration { return &k.Pace }),
	"churn":       durationKnob(func(k *Knobs) *time.Duration { return &k.Churn }),
	"seats":       durationKnob(func(k *Knobs) *time.Duration { return &k.Seats }),
	"txns":        intKnob(0, 16, func(k *Knobs) *int { return &k.Txns }),
	"perish":      durationKnob(func(k *Knobs) *time.Duration { return &k.Perish }),
	"watchers":    intKnob(0, 8, func(k *Knobs) *int { return &k.Watchers }),
	"collect":     durationKnob(func(k *Knobs) *time.Duration { return &k.Collect }),
	"echo":        durationKnob(func(k *Knobs) *time.Duration { return &k.Echo }),
	"hurry":       floatKnob(func(k *Knobs) *float64 { return &k.Hurry }),
	"check":       durationKnob(func(k *Knobs) *time.Duration { return &k.Check }),
	"patience":    durationKnob(func(k *Knobs) *time.Duration { return &k.Patience }),
	"serializable": func(k *Knobs, v string) (err error) {
		k.Serializable, err = strconv.ParseBool(v)
		return err
	},
	"aim":      floatKnob(func(k *Knobs) *float64 { return &k.Aim }),
	"think":    durationKnob(func(k *Knobs) *time.Duration { return &k.Think }),
	"budget":   durationKnob(func(k *Knobs) *time.Duration { return &k.Budget }),
	"sync":     durationKnob(func(k *Knobs) *time.Duration { return &k.SyncTime }),
	"skew":     durationKnob(func(k *Knobs) *time.Duration { return &k.WallSkew }),
	"latency":  durationKnob(func(k *Knobs) *time.Duration { return &k.Net.Latency }),
	"late-by":  durationKnob(func(k *Knobs) *time.Duration { return &k.Net.LateBy }),
	"break":    durationKnob(func(k *Knobs) *time.Duration { return &k.Net.BreakWait }),
	"drift":    floatKnob(func(k *Knobs) *float64 { return &k.Drift }),
	"loss":     floatKnob(func(k *Knobs) *float64 { return &k.Net.Loss }),
	"dup":      floatKnob(func(k *Knobs) *float64 { return &k.Net.Duplicate }),
	"reorder":  floatKnob(func(k *Knobs) *float64 { return &k.Net.Reorder }),
	"late":     floatKnob(func(k *Knobs) *float64 { return &k.Net.Late }),
	"mix":      func(k *Knobs, v string) error { k.Mix = v; return nil },
	"strategy": func(k *Knobs, v string) error { k.Strategy = v; return k.checkStrategy() },
	"nemeses": func(k *Knobs, v string) error {
		k.Nemeses = nil
		for _, name := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == '+' }) {
			if !slices.ContainsFunc(nemeses, func(n nemesis) bool { return n.name == name }) {
				return fmt.Errorf("no nemesis is called %q", name)
			}
			k.Nemeses = append(k.Nemeses, name)
		}
		return nil
	},
}

func intKnob(least, most int, at func(*Knobs) *int) func(*Knobs, string) error {
	return func(k *Knobs, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("want a number from %d to %d", least, most)
		}
		*at(k) = n
		return nil
	}
}

func durationKnob(at func(*Knobs) *time.Duration) func(*Knobs, string) error {
	return func(k *Knobs, v string) error {
		d, err := time.ParseDuration(v)
		*at(k) = d
		return err
	}
}

func floatKnob(at func(*Knobs) *float64) func(*Knobs, string) error {
	return func(k *Knobs, v string) error {
		f, err := strconv.ParseFloat(v, 64)
		*at(k) = f
		return err
	}
}

// set changes knobs by "name=value".
func (k *Knobs) set(overrides []string) error {
	for _, o := range overrides {
		name, v, ok := strings.Cut(o, "=")
		f := knobSetters[name]
		if !ok || f == nil {
			return fmt.Errorf("%q is no knob: want name=value with one of %s", o, strings.Join(KnobNames(), ", "))
		}
		if err := f(k, v); err != nil {
			return fmt.Errorf("knob %s: %w", o, err)
		}
	}
	k.Late = max(0, min(k.Late, k.Stores-3))
	k.Members = min(k.Members, k.Stores-k.Late)
	return nil
}

// KnobNames are the names of the knobs that can be set.
func KnobNames() []string {
	var out []string
	// in any order: sorted below
	for name := range knobSetters {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
