package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/skerrydb/skerry/client"
)

// pebbleAlone is a database of Pebble that nothing of ours stands before.
type pebbleAlone struct {
	t     *testing.T
	dir   string
	cache int64 // bytes, more than all of it
	db    *pebble.DB
}

func newPebbleAlone(t *testing.T, mebi int) *pebbleAlone {
	return &pebbleAlone{t: t, dir: filepath.Join(t.TempDir(), "alone"), cache: int64(mebi) << 22}
}

// open opens the database with an empty cache, after the system has forgotten its files. Blocks are as large as our stores'.
func (p *pebbleAlone) open() {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "*"))
	for _, f := range files {
		err = errors.Join(err, forgetFile(f))
	}
	cache := pebble.NewCache(p.cache)
	defer cache.Unref()
	o := &pebble.Options{Cache: cache, FormatMajorVersion: pebble.FormatValueSeparation, Logger: quiet{}}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 16 << 10
	}
	if err == nil {
		p.db, err = pebble.Open(p.dir, o)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// fill writes and flushes all rows.
func (p *pebbleAlone) fill(all rowSeq) {
	p.t.Helper()
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	p.open()
	defer p.close()
	for kv, err := range all {
		if err == nil {
			err = p.db.Set(kv.Key, kv.Value, pebble.NoSync)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.db.Flush(); err != nil {
		p.t.Fatal(err)
	}
}

// rows are those that one iterator yields.
func (p *pebbleAlone) rows() rowSeq {
	return func(yield func(client.KV, error) bool) {
		it, err := p.db.NewIter(nil)
		if err != nil {
			yield(client.KV{}, err)
			return
		}
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if !yield(client.KV{Key: it.Key(), Value: v}, err) {
				_ = it.Close()
				return
			}
		}
		if err := it.Close(); err != nil {
			yield(client.KV{}, err)
		}
	}
}

func (p *pebbleAlone) close() {
	p.t.Helper()
	if err := p.db.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// quiet is a log that nobody reads.
type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(string, ...any)             {}
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
