package placement

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/placement/schedule"
)

// policy is what administrators want of placement: rules, and times of rest. Both are records of shard 1.
type policy struct {
	mu sync.Mutex
	// rules are what holds; raw is their record as it stands, nil if they were never set.
	rules schedule.Rules
	raw   []byte
	// pause is until when nothing is scheduled, in milliseconds of placement's wall clock; pauseRaw its record.
	pause    uint64
	pauseRaw []byte
}

// maxPause bounds a pause: one that was forgotten ends by itself, and a store that is lost meanwhile is not replaced.
const maxPause = 24 * time.Hour

func (p *policy) current() schedule.Rules {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules
}

// implied reports whether the rules were never set, and so are what this member was told at its start.
func (p *policy) implied() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.raw == nil
}

// left is how long a pause goes on, 0 if there is none.
func (p *policy) left(now uint64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now >= p.pause {
		return 0
	}
	return min(time.Duration(p.pause-now)*time.Millisecond, maxPause) // a clock that was set back does not prolong it
}

// loadPolicy reads rules and pause at the beginning of a term.
func (s *Server) loadPolicy(ctx context.Context, l *leadership) error {
	p := &l.policy
	p.rules = schedule.Rules{Replicas: s.opt.Replicas}
	raw, err := s.get(ctx, recordRules)
	if err != nil {
		return err
	}
	if raw != nil {
		if p.rules, err = schedule.DecodeRules(raw); err != nil {
			return fmt.Errorf("record %s: %w", recordRules, err)
		}
	}
	p.raw = raw
	if p.pauseRaw, err = s.get(ctx, recordPause); err != nil {
		return err
	}
	if p.pause, err = decodeNumber(p.pauseRaw); err != nil {
		return fmt.Errorf("record %s: %w", recordPause, err)
	}
	return nil
}

// setRules makes checked rules those that hold.
func (s *Server) setRules(ctx context.Context, l *leadership, rules schedule.Rules) error {
	p, raw := &l.policy, schedule.EncodeRules(rules)
	p.mu.Lock()
	old := p.raw
	p.mu.Unlock()
	if err := s.replace(ctx, l, recordRules, old, raw); err != nil {
		return fmt.Errorf("record the rules: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.raw = rules, raw
	return nil
}

// setPause begins a pause, or ends it with 0.
func (s *Server) setPause(ctx context.Context, l *leadership, length time.Duration) error {
	p := &l.policy
	until := uint64(0)
	if length > 0 {
		until = s.millis() + uint64(length.Milliseconds())
	}
	raw := encodeNumber(until)
	p.mu.Lock()
	old := p.pauseRaw
	p.mu.Unlock()
	if err := s.replace(ctx, l, recordPause, old, raw); err != nil {
		return fmt.Errorf("record the pause: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause, p.pauseRaw = until, raw
	return nil
}
