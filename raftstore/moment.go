package raftstore

import (
	"errors"
	"sync/atomic"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
)

// moment tells whoever reads a shard's data piece by piece, and its state in memory, whether all of it was of one moment: the
// state batches of the replica's worker are counted before they become visible, and again after the state in memory
// followed. What else changes data of a replica takes its descriptor away first.
type moment struct {
	begun, over atomic.Uint64 // INVARIANT: over <= begun; only the worker adds
}

func (m *moment) begin() { m.begun.Add(1) }
func (m *moment) end()   { m.over.Add(1) }

// now begins a reading.
func (m *moment) now() uint64 { return m.over.Load() }

// still reports, at the end of a reading, that nothing became visible since now returned at, nor was about to then.
func (m *moment) still(at uint64) bool { return m.begun.Load() == at }

// peeks reads one key after the other, each as it is now. It implements raw.Reader for a Get.
type peeks struct {
	e     *engine.Engine
	value []byte
}

// Get implements raw.Reader.
func (p *peeks) Get(k shard.Key) ([]byte, bool, error) {
	found, err := p.e.Peek(k, func(v []byte) { p.value = append(p.value[:0], v...) })
	return p.value, found, err
}

// Scan implements raw.Reader.
func (p *peeks) Scan(shard.Range, bool, func(shard.Key, []byte) bool) error {
	return errors.New("a range is not read key by key")
}
