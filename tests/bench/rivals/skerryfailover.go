package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// shardProbers is how many shards are put to at once.
const shardProbers = 64

// kill ends one node after the other, round by round. The time ends when each shard that its store led has taken a put: those go
// through the client, which looks for the new leaders by itself. The shards are idle before that, most of them asleep.
func (s *skerry) kill(ctx context.Context, k *keyspace) (time.Duration, error) {
	victim := s.killed % len(s.procs)
	s.killed++
	keys, err := s.ledBy(ctx, s.serve[victim])
	if err != nil {
		return 0, err
	}
	for _, key := range keys { // the client knows the leaders
		if err := s.db.Put(ctx, key, []byte("before")); err != nil {
			return 0, err
		}
	}
	if err := sleep(ctx, rest); err != nil {
		return 0, err
	}
	begun := time.Now()
	s.procs[victim].stop()
	work := make(chan []byte, len(keys))
	for _, key := range keys {
		work <- key
	}
	close(work)
	err = each(shardProbers, func(int) error {
		for key := range work {
			for s.db.Put(ctx, key, k.values[0]) != nil {
				if ctx.Err() != nil {
					return fmt.Errorf("no put since the leader of %q was killed: %w", key, ctx.Err())
				}
			}
		}
		return nil
	})
	return time.Since(begun), err
}

// ledBy are keys, one of each shard that the store at an address leads.
func (s *skerry) ledBy(ctx context.Context, addr string) (keys [][]byte, err error) {
	stores, err := s.db.Admin().Stores(ctx)
	if err != nil {
		return nil, err
	}
	for sh, err := range s.db.Admin().Shards(ctx) {
		if err != nil {
			return nil, err
		}
		for _, st := range stores {
			if st.Addr == addr && sh.Leader.Store == st.ID {
				keys = append(keys, append(slices.Clone(sh.Users.Start), "/failover"...))
			}
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("a store leads nothing")
	}
	return keys, nil
}

// heal waits until all stores are up and lead alike.
func (s *skerry) heal(ctx context.Context) error {
	if err := startAgain(s.procs); err != nil {
		return err
	}
	for !s.up(ctx) {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("not all stores are up again: %w", err)
		}
	}
	return s.await(ctx, s.shards)
}

func (s *skerry) up(ctx context.Context) bool {
	stores, err := s.db.Admin().Stores(ctx)
	up := 0
	for _, st := range stores {
		if st.State == "up" {
			up++
		}
	}
	return err == nil && up == len(s.procs)
}
