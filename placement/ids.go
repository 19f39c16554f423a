package placement

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/placement/tso"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// idWindow is how many ids one write reserves: a crash loses at most as many numbers, of 2^64.
const idWindow = 1000

// maxCount bounds one request for ids or timestamps.
const maxCount = 1 << 16

// errRaced says that a record was not what this leadership had read: another leader wrote it, or an earlier write of this
// one took effect after all.
var errRaced = errors.New("the record has changed since it was read")

// ids hands out numbers below a persisted bound.
type ids struct {
	mu        sync.Mutex
	next      uint64
	bound     uint64
	persisted []byte // the record as it stands
}

// timestamps does the same for timestamps.
type timestamps struct {
	mu        sync.Mutex
	alloc     *tso.Allocator
	persisted []byte
}

// clusterID is put-if-absent: the first leader draws it, everyone after reads it. A cluster begins with the newest version that
// its first leader knows.
func (s *Server) clusterID(ctx context.Context) (shard.ClusterID, error) {
	b, err := s.get(ctx, recordCluster)
	if err != nil {
		return 0, err
	}
	if b == nil {
		b = encodeNumber(s.env.Rand() | 1)
		key := recordKey(recordCluster)
		res, err := s.meta.Commit(ctx, &raw.Command{Conditions: []raw.Condition{unchanged(key, nil)}, Ops: []raw.Op{putOp(key, b),
			putOp(recordKey(recordClusterVersion), encodeNumber(uint64(version.Newest())))}})
		if err != nil {
			return 0, err
		}
		if res.Failed >= 0 {
			return 0, errRaced // read it in the next turn
		}
	}
	n, err := decodeNumber(b)
	return shard.ClusterID(n), err
}

func (s *Server) loadIDs(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordIDs)
	if err != nil {
		return err
	}
	bound, err := decodeNumber(b)
	bound = max(bound, shard.FirstUserID)
	l.ids.next, l.ids.bound, l.ids.persisted = bound, bound, b
	return err
}

func (s *Server) loadTimestamps(ctx context.Context, l *leadership) error {
	b, err := s.get(ctx, recordTSO)
	if err != nil {
		return err
	}
	bound, err := decodeNumber(b)
	l.tso.alloc, l.tso.persisted = tso.New(bound), b
	return err
}

// AllocIDs reserves count numbers that were never used for a shard, a store or a replica.
func (s *Server) AllocIDs(ctx context.Context, count int) (uint64, error) {
	if count <= 0 || count > maxCount {
		return 0, &shard.InvalidError{Why: fmt.Sprintf("ask for 1 to %d ids, not %d", maxCount, count)}
	}
	l, err := s.leading()
	if err != nil {
		return 0, err
	}
	for {
		l.ids.mu.Lock()
		first, enough := l.ids.next, l.ids.next+uint64(count) <= l.ids.bound
		if enough {
			l.ids.next += uint64(count)
		}
		l.ids.mu.Unlock()
		if enough {
			return first, s.confirm(ctx, l)
		}
		if err := s.raiseIDs(ctx, l, count); err != nil {
			return 0, err
		}
	}
}

func (s *Server) raiseIDs(ctx context.Context, l *leadership, count int) error {
	if err := s.raise.enter(ctx); err != nil {
		return err
	}
	defer s.raise.leave()
	l.ids.mu.Lock()
	next, bound, old := l.ids.next, l.ids.bound, l.ids.persisted
	l.ids.mu.Unlock()
	if next+uint64(count) <= bound {
		return nil // raised meanwhile
	}
	bound = next + uint64(count) + idWindow
	b := encodeNumber(bound)
	if bug.UnpersistedIDs.On() {
		b = old
	} else if err := s.replace(ctx, l, recordIDs, old, b); err != nil {
		return fmt.Errorf("raise the bound of ids: %w", err)
	}
	l.ids.mu.Lock()
	l.ids.bound, l.ids.persisted = bound, b
	l.ids.mu.Unlock()
	return nil
}

// replace writes a record if it still holds what this leader knows.
func (s *Server) replace(ctx context.Context, l *leadership, name string, old, b []byte) error {
	key := recordKey(name)
	return s.write(ctx, l, &raw.Command{Conditions: []raw.Condition{unchanged(key, old)}, Ops: []raw.Op{putOp(key, b)}})
}

// Timestamps reserves count even timestamps: first, first+2, ...
func (s *Server) Timestamps(ctx context.Context, count int) (uint64, error) {
	if count <= 0 || count > maxCount {
		return 0, &shard.InvalidError{Why: fmt.Sprintf("ask for 1 to %d timestamps, not %d", maxCount, count)}
	}
	l, err := s.leading()
	if err != nil {
		return 0, err
	}
	for {
		l.tso.mu.Lock()
		first, err := l.tso.alloc.Next(s.millis(), count)
		l.tso.mu.Unlock()
		if err == nil {
			return first, s.confirm(ctx, l)
		}
		if err := s.raiseTimestamps(ctx, l, count); err != nil {
			return 0, err
		}
	}
}

func (s *Server) millis() uint64 { return uint64(s.env.Wall().UnixMilli()) }

func (s *Server) raiseTimestamps(ctx context.Context, l *leadership, count int) error {
	if err := s.raise.enter(ctx); err != nil {
		return err
	}
	defer s.raise.leave()
	l.tso.mu.Lock()
	low := l.tso.alloc.Low(s.millis())
	want, old := l.tso.alloc.Want(s.millis()), l.tso.persisted
	l.tso.mu.Unlock()
	if !low {
		if count == 0 {
			return nil // nobody waits, and enough is left
		}
		// Somebody waits although the clock is far from the bound: it was used up by counting, or raised meanwhile.
	}
	b := encodeNumber(want)
	if bug.UnpersistedTimestamps.On() {
		b = old
	} else if err := s.replace(ctx, l, recordTSO, old, b); err != nil {
		return fmt.Errorf("raise the bound of timestamps: %w", err)
	}
	l.tso.mu.Lock()
	l.tso.alloc.Raised(want)
	l.tso.persisted = b
	l.tso.mu.Unlock()
	return nil
}
