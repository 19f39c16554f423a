package placement

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard/beat"
)

// TestSettings: what was set holds for whoever leads, and is told to stores; what no node could go by is refused, all of it.
func TestSettings(t *testing.T) {
	s, ms := members(t, 2)
	steps(t, ms)
	lead := ms[0]
	set := func(o beat.SettingsOrder) (setting.Values, error) {
		out, err := lead.Administer(t.Context(), &beat.Order{Settings: &o})
		if err != nil {
			return nil, err
		}
		return out.Settings, nil
	}
	id := must[beat.Registration](t)(lead.Register(t.Context(), beat.Newcomer{Addr: "addr", Versions: version.Ours()})).Store
	told := func() beat.Settings {
		t.Helper()
		return must[*beat.Answer](t)(beatFrom(lead, id, nil)).Settings
	}
	expect := func(when string, after time.Duration, sending int, keep time.Duration) {
		t.Helper()
		l := lead.current()
		if l.view.patience.downAfter != after || lead.limits(l).Sending != sending || l.gc.now.KeepMillis != uint64(keep.Milliseconds()) {
			t.Fatalf("%s: %+v, %+v, %+v", when, l.view.patience, lead.limits(l), l.gc.now)
		}
	}
	expect("at first", downAfter, 0, DefaultGCKeep)
	if a := told(); a.Revision != 0 || len(a.Values) != 0 {
		t.Fatalf("told %+v", a)
	}
	all := must[setting.Values](t)(set(beat.SettingsOrder{Set: []setting.Made{{Key: setting.DownAfter, Value: "2h"}, {Key: setting.MaxSending, Value: "9"}, {Key: setting.GCKeep, Value: "1h"}, {Key: setting.SplitSize, Value: "64MiB"}}}))
	if len(all) != 4 || all[0].Key != setting.DownAfter {
		t.Fatalf("%v", all)
	}
	expect("set", 2*time.Hour, 9, time.Hour)
	for _, bad := range []struct {
		o   beat.SettingsOrder
		why string
	}{
		{beat.SettingsOrder{Set: []setting.Made{{Key: setting.MaxSending, Value: "8"}, {Key: "down-afer", Value: "1h"}}}, "there is no setting"},
		{beat.SettingsOrder{Set: []setting.Made{{Key: setting.MaxSending, Value: "8"}, {Key: setting.DownAfter, Value: "1s"}}}, "out of bounds"},
		{beat.SettingsOrder{Set: []setting.Made{{Key: setting.MaxSending, Value: "8"}, {Key: setting.MaxSending, Value: "7"}}}, "twice"},
		{beat.SettingsOrder{Reset: []string{setting.MaxSending, "x"}}, "there is no setting"},
	} {
		_, err := set(bad.o)
		refuse(t, bad.why, err)
	}
	s.elect(2)
	steps(t, ms)
	steps(t, ms)
	lead = ms[1]
	expect("under the next leader", 2*time.Hour, 9, time.Hour)
	if a := told(); a.Revision != 1 || a.Values.Size(setting.SplitSize, 0) != 64<<20 {
		t.Fatalf("told %+v", a)
	}
	must[setting.Values](t)(set(beat.SettingsOrder{Reset: []string{setting.DownAfter, setting.GCKeep}}))
	expect("reset", downAfter, 9, DefaultGCKeep)
	if a := told(); a.Revision != 2 || len(a.Values) != 2 {
		t.Fatalf("told %+v", a)
	}
}

// TestSettingsWaitForTheVersion: while a program may be there that knows no settings, none can be made.
func TestSettingsWaitForTheVersion(t *testing.T) {
	_, m := elderly(t, nil)
	_, err := m.Administer(t.Context(), &beat.Order{Settings: &beat.SettingsOrder{Set: []setting.Made{{Key: setting.MaxSending, Value: "8"}}}})
	refuse(t, "version 2 and newer", err)
}
