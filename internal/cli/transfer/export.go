package transfer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/skerrydb/skerry/client"
)

// ExportOptions say how to export.
type ExportOptions struct {
	Range client.Range
	// Parallel is how many shards are read at once. Above 1 the target's Write must be safe for concurrent use and the
	// order of the keys is lost.
	Parallel int
	// Progress hears of every key that is written.
	Progress func(keys int, bytes int64)
}

// Export writes every key of a range to target, which it closes. The export is no view of one moment: a key that exists
// throughout is there once, one that comes or goes meanwhile may be there or not.
func Export(ctx context.Context, db DB, target Target, o ExportOptions) (err error) {
	defer func() {
		if cerr := target.Close(); err == nil {
			err = cerr
		}
	}()
	if o.Parallel <= 1 {
		return exportRange(ctx, db, target, o.Range, o.Progress)
	}
	parts, err := db.Partitions(ctx, o.Range)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(o.Parallel, len(parts)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(parts)); i = next.Add(1) - 1 {
				if err := exportRange(ctx, db, target, parts[i].Range, o.Progress); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func exportRange(ctx context.Context, db DB, target Target, r client.Range, progress func(int, int64)) error {
	for kv, err := range db.Scan(ctx, r, client.ReuseRows()) {
		if err != nil {
			return err
		}
		n, err := target.Write(kv)
		if err != nil {
			return err
		}
		progress(1, n)
	}
	return nil
}
