package placement

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard/beat"
)

// How the safe points move by themselves is a record of shard 1. Placement keeps it; the node whose member leads acts by it
// (cmd/node), because the locks between the two points are resolved by a client.

// DefaultGCKeep is how far back reads stay possible unless an administrator says otherwise.
const DefaultGCKeep = 10 * time.Minute

// Bounds of what an administrator may say: a transaction may last for a while, and a year is for ever.
const (
	minGCKeep = time.Second
	maxGCKeep = 366 * 24 * time.Hour
)

// gcSetting is the setting and its record, nil if it was never written.
type gcSetting struct {
	mu  sync.Mutex
	now beat.GCSetting
	raw []byte
}

func encodeGC(g beat.GCSetting) []byte {
	return codec.AppendBool(codec.AppendUvarint([]byte{recordVersion}, g.KeepMillis), g.Paused)
}

func decodeGC(b []byte) (beat.GCSetting, error) {
	if b == nil {
		return beat.GCSetting{KeepMillis: uint64(DefaultGCKeep.Milliseconds())}, nil
	}
	d := codec.Decoder{B: b}
	d.Version(recordVersion)
	g := beat.GCSetting{KeepMillis: d.Uvarint(), Paused: d.Bool()}
	return g, d.Done()
}

// loadGC reads the record at the beginning of a term.
func (s *Server) loadGC(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordGC)
	if err != nil {
		return err
	}
	if l.gc.now, err = decodeGC(b); err != nil {
		return fmt.Errorf("record %s: %w", recordGC, err)
	}
	l.gc.raw = b
	return nil
}

// setGC changes the setting, or only tells it.
func (s *Server) setGC(ctx context.Context, l *leadership, o *beat.GCOrder, dry bool) (*beat.Outcome, error) {
	l.gc.mu.Lock()
	old, raw := l.gc.now, l.gc.raw
	l.gc.mu.Unlock()
	want := old
	if o.KeepMillis != nil {
		want.KeepMillis = *o.KeepMillis
		if want.KeepMillis < uint64(minGCKeep.Milliseconds()) || want.KeepMillis > uint64(maxGCKeep.Milliseconds()) {
			return nil, invalidf("versions are to be kept for %d s; give at least %s and at most %s", want.KeepMillis/1000, minGCKeep, maxGCKeep)
		}
	}
	if o.Paused != nil {
		want.Paused = *o.Paused
	}
	out := &beat.Outcome{GC: &want}
	if dry || want == old {
		return out, nil
	}
	b := encodeGC(want)
	if err := s.replace(ctx, l, recordGC, raw, b); err != nil {
		return nil, fmt.Errorf("set how long versions are kept: %w", err)
	}
	l.gc.mu.Lock()
	l.gc.now, l.gc.raw = want, b
	l.gc.mu.Unlock()
	return out, nil
}
