package engine

import (
	"fmt"
	"io"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// DefaultChunkBytes is the target size of a snapshot chunk: large enough that its overhead is nothing, small enough for
// flow control.
const DefaultChunkBytes = 256 << 10

// SnapshotMeta says what a snapshot holds: all data of Desc.Range and all locks there, as they are after Applied.
type SnapshotMeta struct {
	Desc    *shard.Descriptor
	Applied shard.Applied
}

// SnapshotSource reads a snapshot of one replica from one view of the store, so that it lies at exactly one applied
// index whatever happens meanwhile. The view keeps files alive until Close.
type SnapshotSource struct {
	r          *Reader
	meta       SnapshotMeta
	chunkBytes int
	next       uint64 // number of the next chunk
	valid      bool   // the iterator stands on a key
	locks      bool   // it stands among the locks, behind which there is nothing
	done       bool
}

// NewSnapshotSource opens a snapshot of the shard that d names, as its replica here is now. Its descriptor is read from
// the view, and may be newer than d. chunkBytes is the size at which a chunk is finished; 0 is DefaultChunkBytes.
func (e *Engine) NewSnapshotSource(d *shard.Descriptor, chunkBytes int) (*SnapshotSource, error) {
	s := &SnapshotSource{r: e.NewReader(), chunkBytes: int(orDefault(int64(chunkBytes), DefaultChunkBytes))}
	if err := s.open(d.ID); err != nil {
		_ = s.r.Close()
		return nil, err
	}
	return s, nil
}

func (s *SnapshotSource) open(id shard.ID) error {
	desc, ok, err := s.r.descriptor(id)
	if err != nil {
		return err
	}
	applied, ok2, err := s.r.Applied(id)
	if err != nil {
		return err
	}
	if !ok || !ok2 {
		return fmt.Errorf("engine: snapshot of %s: no initialised replica here", id)
	}
	s.meta = SnapshotMeta{Desc: desc, Applied: applied}
	span := keys.DataSpan(desc.Range)
	s.r.it.SetBounds(span.Start, span.End)
	s.valid = s.r.it.First()
	s.goOn()
	return s.r.check()
}

// goOn goes from the end of the data to the locks.
func (s *SnapshotSource) goOn() {
	if s.valid || s.locks || s.r.it.Error() != nil {
		return
	}
	s.locks = true
	if span := lockSpan(s.meta.Desc.Range); !span.Empty() {
		s.r.it.SetBounds(span.Start, span.End)
		s.valid = s.r.it.First()
	}
}

// Meta says what the snapshot holds.
func (s *SnapshotSource) Meta() SnapshotMeta { return s.meta }

// Next returns the next chunk, which belongs to the caller, who may give it to buffer.Frames; or io.EOF after the last. There is at
// least one.
func (s *SnapshotSource) Next() ([]byte, error) {
	if s.r.err != nil {
		return nil, s.r.err
	}
	if s.done {
		return nil, io.EOF
	}
	var w chunkWriter
	w.begin(s.next, s.chunkBytes+s.chunkBytes/8)
	for s.valid && len(w.b) < s.chunkBytes {
		v, err := s.r.it.ValueAndErr()
		if err != nil {
			return nil, s.r.check()
		}
		w.add(s.r.it.Key(), v)
		s.valid = s.r.it.Next()
		s.goOn()
	}
	if err := s.r.check(); err != nil {
		return nil, err
	}
	s.next++
	s.done = !s.valid
	return w.finish(s.done), nil
}

// Close gives up the view.
func (s *SnapshotSource) Close() error { return s.r.Close() }
