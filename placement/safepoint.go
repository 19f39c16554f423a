package placement

import (
	"context"
	"fmt"
	"sync"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard/beat"
)

// The cluster's safe point of transactions: one record of shard 1, told to every store in the answers to its heartbeats.
//
// Whoever moves it does so in three steps: the safe point first; then every shard takes it up, and every lock below it is
// resolved, in all shards, because a lock may have its primary in another one; and only then the bound up to which stores
// collect versions. Placement keeps the two numbers and their order, and does neither of the steps.

// safePoints are the two numbers and their record, nil if it was never written.
type safePoints struct {
	mu  sync.Mutex
	now beat.SafePoints
	raw []byte
}

func (p *safePoints) read() (beat.SafePoints, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.raw
}

func encodeSafePoints(p beat.SafePoints) []byte {
	return codec.AppendUvarint(codec.AppendUvarint([]byte{recordVersion}, p.Safe), p.Collect)
}

func decodeSafePoints(b []byte) (beat.SafePoints, error) {
	if b == nil {
		return beat.SafePoints{}, nil
	}
	d := codec.Decoder{B: b}
	d.Version(recordVersion)
	p := beat.SafePoints{Safe: d.Uvarint(), Collect: d.Uvarint()}
	return p, d.Done()
}

// loadSafePoints reads the record at the beginning of a term.
func (s *Server) loadSafePoints(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordSafe)
	if err != nil {
		return err
	}
	if l.safe.now, err = decodeSafePoints(b); err != nil {
		return fmt.Errorf("record %s: %w", recordSafe, err)
	}
	l.safe.raw = b
	return nil
}

// moveSafePoints moves both forward, or only tells them.
//
// INVARIANT: neither goes back, collect is never above safe, and a transaction that begins from now on lies at or above safe.
func (s *Server) moveSafePoints(ctx context.Context, l *leadership, o *beat.SafePoints, dry bool) (*beat.Outcome, error) {
	old, raw := l.safe.read()
	want := beat.SafePoints{Safe: max(old.Safe, o.Safe), Collect: max(old.Collect, o.Collect)}
	l.tso.mu.Lock()
	past := l.tso.alloc.Past(s.millis())
	l.tso.mu.Unlock()
	switch {
	case want.Safe > past:
		return nil, invalidf("the safe point %d lies in the future; fetch a timestamp, and stay below it", o.Safe)
	case want.Collect > want.Safe:
		return nil, invalidf("versions up to %d would be collected, above the safe point %d; move that first", want.Collect, want.Safe)
	}
	out := &beat.Outcome{SafePoints: &want}
	if dry || want == old {
		return out, nil
	}
	b := encodeSafePoints(want)
	if err := s.replace(ctx, l, recordSafe, raw, b); err != nil {
		return nil, fmt.Errorf("move the safe point: %w", err)
	}
	l.safe.mu.Lock()
	l.safe.now, l.safe.raw = want, b
	l.safe.mu.Unlock()
	return out, nil
}
