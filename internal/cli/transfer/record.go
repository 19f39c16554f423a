// Package transfer carries keys between a cluster and files: directory trees, JSON lines and CSV.
//
// An import reads its source in one fixed order, cuts it into batches by bytes, and writes several batches at once. It
// knows at every moment up to where everything is written; that position goes into a checkpoint file, from which the
// same command goes on after a crash. Writing a key again with the same value changes nothing, so batches whose outcome
// is unknown are simply written again, and a checkpoint may lag behind.
//
// An export reads the shards of a range side by side if the target is a tree, and in the order of the keys if it is one
// file. What is exported gives the same keys and values, byte for byte, when it is imported again. Times to live are not
// carried.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/skerrydb/skerry/client"
)

// Format is a form of files.
type Format string

// The formats.
const (
	Tree  Format = "tree"  // a directory: relative slash path -> content
	JSONL Format = "jsonl" // a JSON object per line: {"key":…,"value":…}, or key_base64 and value_base64
	CSV   Format = "csv"   // a header line with key,value and perhaps encoding
)

// Record is one key and its value, and where it stands in the source.
type Record struct {
	client.KV
	// Pos names the record in its source: a path in a tree, the number of the record elsewhere. A source skips
	// everything up to a Pos that it gave out before.
	Pos string
	// Bytes of the source that this record took.
	Bytes int64
}

// Source gives records in an order that does not change from run to run.
type Source interface {
	// Records yields the records after the position after, all of them if it is empty. An error ends it.
	Records(after string) iter.Seq2[Record, error]
	// Total is how many keys and bytes Records(after) will yield; zero where that is not known.
	Total(after string) (keys, bytes int64, err error)
}

// Target takes records. Write is called by one goroutine per part of the range, each part once, keys ascending.
type Target interface {
	// Write keeps nothing of kv once it has returned.
	Write(kv client.KV) (bytes int64, err error)
	// Close finishes what was written.
	Close() error
}

// DB is what this package needs of *client.DB.
type DB interface {
	PutMany(ctx context.Context, kvs []client.KV, opts ...client.PutOption) error
	Scan(ctx context.Context, r client.Range, opts ...client.ScanOption) iter.Seq2[client.KV, error]
	Partitions(ctx context.Context, r client.Range) ([]client.Partition, error)
}

// lineSource is what JSON lines and CSV have in common: records are numbered, and the number is the position.
type lineSource struct {
	size int64 // of the input in bytes; zero if not known
	// next reads one record, with io.EOF after the last.
	next func() (Record, error)
}

// Total counts the skipped part too, because it has to be read again.
func (l *lineSource) Total(string) (keys, bytes int64, err error) { return 0, l.size, nil }

func (l *lineSource) Records(after string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var n, skip uint64
		var skipped int64 // bytes, counted with the first record that is yielded
		if after != "" {
			if _, err := fmt.Sscanf(after, "%d", &skip); err != nil {
				yield(Record{}, fmt.Errorf("position %q is not the number of a record", after))
				return
			}
		}
		for {
			rec, err := l.next()
			if errors.Is(err, io.EOF) {
				if n < skip {
					yield(Record{}, fmt.Errorf("the input has only %d records but %d were imported before; it is not the same input", n, skip))
				}
				return
			}
			if n++; err != nil {
				yield(Record{}, fmt.Errorf("record %d: %w", n, err))
				return
			}
			if n <= skip {
				skipped += rec.Bytes
				continue
			}
			rec.Pos, rec.Bytes, skipped = fmt.Sprint(n), rec.Bytes+skipped, 0
			if !yield(rec, nil) {
				return
			}
		}
	}
}
