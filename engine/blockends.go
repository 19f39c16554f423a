package engine

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/sstable/block/blockkind"
	"github.com/cockroachdb/pebble/v2/sstable/colblk"
)

// blockEnds are keys of which each is not less than those of one block of a table, and less than those of the next, from the table's
// index. No data is read, and nothing goes into the cache.
func (e *Engine) blockEnds(file uint64) (ends [][]byte, err error) {
	f, err := e.fs.Open(e.path(dbDir, tableName(file)))
	if err != nil {
		return nil, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o := e.opts.MakeReaderOptions()
	setNum(&o.CacheOpts.FileNum, file)
	r, err := sstable.NewReader(context.Background(), readable, o)
	if err != nil {
		return nil, errors.Join(err, readable.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	layout, err := r.Layout()
	if err != nil {
		return nil, err
	}
	for _, h := range layout.Index {
		if ends, err = appendEnds(ends, r, h); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// appendEnds appends what one block of a table's index has.
func appendEnds(ends [][]byte, r *sstable.Reader, h block.Handle) ([][]byte, error) {
	b, err := r.BlockReader().Read(context.Background(), block.NoReadEnv, nil, h, blockkind.Index, colblk.InitIndexBlockMetadata)
	if err != nil {
		return nil, err
	}
	var it colblk.IndexIter
	if err := it.InitHandle(r.Comparer, b, sstable.NoTransforms); err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		ends = append(ends, append([]byte(nil), it.Separator()...))
	}
	return ends, it.Close()
}
