package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// What the tests of this package put between a store and the others, or its machine.

// edit is what becomes of the raft messages of a cluster's stores.
type edit struct {
	mu   sync.Mutex
	keep func(from, to shard.StoreID, id shard.ID, m *raftpb.Message) bool
}

func (e *edit) set(f func(from, to shard.StoreID, id shard.ID, m *raftpb.Message) bool) {
	e.mu.Lock()
	e.keep = f
	e.mu.Unlock()
}

// into is an Options.Store.
func (e *edit) into(o *raftstore.Options) {
	from := o.Store
	o.Transport = &Edited{Transport: o.Transport, Keep: func(to shard.StoreID, id shard.ID, m *raftpb.Message) bool {
		e.mu.Lock()
		keep := e.keep
		e.mu.Unlock()
		return keep == nil || keep(from, to, id, m)
	}}
}

// noSnapshots loses every snapshot.
type noSnapshots struct{ raftstore.Transport }

func (noSnapshots) SendSnapshot(context.Context, shard.StoreID, []byte, func() ([]byte, error)) error {
	return errors.New("lost")
}

// flaky breaks off the first few snapshots, before, amid and after their chunks.
type flaky struct {
	raftstore.Transport
	cut *atomic.Int32
}

func (f *flaky) SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error {
	n := f.cut.Add(-1)
	if n < 0 {
		return f.Transport.SendSnapshot(ctx, to, header, next)
	}
	if n%4 == 0 {
		return errors.New("lost before it began")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if n%4 == 1 {
		cancel()
	}
	chunks := 0
	return f.Transport.SendSnapshot(ctx, to, header, func() ([]byte, error) {
		if chunks++; chunks > int(n%2) {
			return nil, errors.New("lost on the way")
		}
		return next()
	})
}

// ordered holds back snapshots of the left side until one of a right side was refused.
type ordered struct {
	raftstore.Transport
	left       *shard.ID
	rightFirst bool
	refused    *atomic.Int32
}

func (o *ordered) SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error {
	// The header begins with a version, the sender and the shard.
	isLeft := header[2] == byte(*o.left)
	if o.rightFirst && isLeft && o.refused.Load() == 0 {
		return errors.New("not yet")
	}
	err := o.Transport.SendSnapshot(ctx, to, header, next)
	if err != nil && !isLeft {
		o.refused.Add(1)
	}
	return err
}

// slowDestroy makes the removal of data wait, as long as wait says when it begins.
type slowDestroy struct {
	env.Env
	wait func() time.Duration
}

func (e slowDestroy) Go(name string, f func()) {
	e.Env.Go(name, func() {
		if name == "destroy" {
			time.Sleep(e.wait())
		}
		f()
	})
}
