package main

import (
	"context"
	"time"
)

const (
	// failoverTimeout bounds one failover, and healTimeout the way back.
	failoverTimeout = time.Minute
	healTimeout     = 5 * time.Minute
	// rest comes before a server is killed, so that what was done before is over.
	rest = 5 * time.Second
)

// failover measures one failover, and leaves the side whole.
func (b *bench) failover(ctx context.Context, side rival) (*sample, error) {
	limited, cancel := context.WithTimeout(ctx, failoverTimeout)
	defer cancel()
	before := machine()
	took, err := side.kill(limited, b.keys)
	if err != nil {
		return nil, err
	}
	spell := machine().since(before)
	limited, cancel = context.WithTimeout(ctx, healTimeout)
	defer cancel()
	if err := side.heal(limited); err != nil {
		return nil, err
	}
	return &sample{took: took, steal: percent(spell.stolen, spell.all)}, sleep(ctx, rest)
}

// sleep waits so long, or until there is nobody who waits for it.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
