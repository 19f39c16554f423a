package placement

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// Settings of the whole cluster: one record of shard 1, told to every store in the answers to its heartbeats. The leader
// goes by those that are placement's at once, and so does whoever leads after it, whatever it was told at its start.

// clusterSettings are the settings and their record, nil if it was never written.
type clusterSettings struct {
	mu  sync.Mutex
	now beat.Settings
	raw []byte
}

func (c *clusterSettings) read() (beat.Settings, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.raw
}

func encodeSettings(s beat.Settings) []byte {
	b := codec.AppendUvarint([]byte{recordVersion}, s.Revision)
	b = codec.AppendUvarint(b, uint64(len(s.Values)))
	for _, m := range s.Values {
		b = codec.AppendString(codec.AppendString(b, m.Key), m.Value)
	}
	return b
}

func decodeSettings(b []byte) (beat.Settings, error) {
	if b == nil {
		return beat.Settings{}, nil
	}
	d := codec.Decoder{B: b}
	d.Version(recordVersion)
	s := beat.Settings{Revision: d.Uvarint()}
	for range d.Count(2) {
		s.Values = append(s.Values, setting.Made{Key: d.String(), Value: d.String()})
	}
	return s, d.Done()
}

// SettingsOf reads the settings from a replica of shard 1, for a node without a store, which placement tells nothing.
func SettingsOf(get func(shard.Key) ([]byte, bool, error)) (beat.Settings, error) {
	b, ok, err := get(recordKey(recordSettings))
	if err != nil || !ok {
		return beat.Settings{}, err
	}
	v, err := raw.DecodeValue(b)
	if err != nil {
		return beat.Settings{}, err
	}
	return decodeSettings(v.User)
}

// loadSettings reads the record at the beginning of a term.
func (s *Server) loadSettings(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordSettings)
	if err != nil {
		return err
	}
	if l.settings.now, err = decodeSettings(b); err != nil {
		return fmt.Errorf("record %s: %w", recordSettings, err)
	}
	l.settings.raw = b
	s.goBySettings(l)
	return nil
}

// setSettings changes settings, all that are named or none, or only tells which there are.
func (s *Server) setSettings(ctx context.Context, l *leadership, o *beat.SettingsOrder, dry bool) (*beat.Outcome, error) {
	if err := s.writes.enter(ctx); err != nil {
		return nil, err
	}
	defer s.writes.leave()
	if err := s.checkSettings(l, o); err != nil {
		return nil, err
	}
	old, oldRaw := l.settings.read()
	want := beat.Settings{Revision: old.Revision + 1, Values: old.Values.With(o.Set, o.Reset)}
	keep, err := s.gcOrder(o)
	switch {
	case err != nil:
		return nil, err
	case dry:
		return &beat.Outcome{Settings: want.Values}, nil
	case len(o.Set)+len(o.Reset) == 0:
		return &beat.Outcome{Settings: old.Values}, nil
	}
	if keep != nil { // first: if it is refused, nothing was set
		if _, err := s.setGC(ctx, l, keep, false); err != nil {
			return nil, err
		}
	}
	b := encodeSettings(want)
	if err := s.replace(ctx, l, recordSettings, oldRaw, b); err != nil {
		return nil, fmt.Errorf("record the settings: %w", err)
	}
	l.settings.mu.Lock()
	l.settings.now, l.settings.raw = want, b
	l.settings.mu.Unlock()
	s.goBySettings(l)
	s.log.Info("settings of the cluster changed", "set", o.Set, "reset", o.Reset, "revision", want.Revision)
	return &beat.Outcome{Settings: want.Values}, nil
}

// checkSettings refuses what no node could go by.
func (s *Server) checkSettings(l *leadership, o *beat.SettingsOrder) error {
	known := func(key string) (setting.Setting, error) {
		row, ok := setting.Find(key)
		switch v := l.clusterVersion(); {
		case !ok:
			return row, invalidf("there is no setting %q of the cluster; 'skerry ctl settings list' shows them", key)
		case v < row.Since:
			return row, invalidf("%s can be set in a cluster of version %s and newer, and this one has version %s: some of its programs may not know it; 'skerry ctl version show' says which",
				key, row.Since, v)
		}
		return row, nil
	}
	seen := make(map[string]bool)
	for _, m := range o.Set {
		row, err := known(m.Key)
		if err == nil {
			if err = row.Check(m.Value); err != nil {
				err = invalidf("%s: %s", m.Key, err)
			}
		}
		if err != nil {
			return err
		}
		if seen[m.Key] {
			return invalidf("%s is named twice", m.Key)
		}
		seen[m.Key] = true
	}
	for _, key := range o.Reset {
		if _, err := known(key); err != nil {
			return err
		}
		if seen[key] {
			return invalidf("%s is named twice", key)
		}
		seen[key] = true
	}
	return nil
}

// gcOrder is what an order says of how long versions are kept, which has a record of its own; nil: nothing.
func (s *Server) gcOrder(o *beat.SettingsOrder) (*beat.GCOrder, error) {
	keep := DefaultGCKeep
	named := false
	for _, key := range o.Reset {
		named = named || key == setting.GCKeep
	}
	for _, m := range o.Set {
		if m.Key == setting.GCKeep {
			var err error
			if keep, err = time.ParseDuration(m.Value); err != nil {
				return nil, invalidf("%s: %s", m.Key, err)
			}
			named = true
		}
	}
	if !named {
		return nil, nil
	}
	ms := uint64(keep.Milliseconds())
	return &beat.GCOrder{KeepMillis: &ms}, nil
}

// goBySettings has the leadership go by its settings, and by what this member was told where they say nothing.
func (s *Server) goBySettings(l *leadership) {
	now, _ := l.settings.read()
	after := s.opt.DownAfter
	if after <= 0 {
		after = downAfter
	}
	l.view.setPatience(patience{
		downAfter: now.Values.Duration(setting.DownAfter, after),
		slowSync:  now.Values.Duration(setting.SlowDisk, slowSync),
		slowTrip:  now.Values.Duration(setting.SlowNet, slowTrip),
	}, s.bookLimits(l))
}

// bookLimits bound what is moved at a time.
func (s *Server) bookLimits(l *leadership) operator.Limits {
	now, _ := l.settings.read()
	out := s.opt.Limits
	out.Receiving = now.Values.Number(setting.MaxReceiving, out.Receiving)
	out.Sending = now.Values.Number(setting.MaxSending, out.Sending)
	return out
}

// limits are the schedulers', which begin nothing beyond what the operators' allow.
func (s *Server) limits(l *leadership) schedule.Limits {
	b := s.bookLimits(l)
	return schedule.Limits{Receiving: b.Receiving, Sending: b.Sending}
}

// patience is how long placement waits before it holds a store for something. Guarded by view.mu.
type patience struct {
	downAfter          time.Duration // see stateLocked
	slowSync, slowTrip time.Duration // see lookForSlowLocked
}

func (v *view) setPatience(p patience, limits operator.Limits) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.patience = p
	v.book.SetLimits(limits)
}
