package raftstore

import (
	"context"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// pacer shares a rate of bytes among those who read in the background. Nothing is saved up: who comes after a pause begins
// anew.
type pacer struct {
	env  env.Env
	rate int64 // bytes per second

	mu   sync.Mutex // leaf
	next env.Time   // when the next read may begin
}

func newPacer(e env.Env, rate int64) *pacer { return &pacer{env: e, rate: rate} }

// take waits until n more bytes may be read. The error is ctx's.
func (p *pacer) take(ctx context.Context, n int) error {
	p.mu.Lock()
	now := p.env.Now()
	begin := max(p.next, now)
	p.next = begin.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	if wait := begin.Sub(now); wait > 0 {
		return p.env.Sleep(ctx, wait)
	}
	return ctx.Err()
}
