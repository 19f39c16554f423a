package engine

import (
	"io"
	"testing"

	"github.com/skerrydb/skerry/internal/buffer"
)

// BenchmarkSnapshot takes 64 MiB of rows of 256 bytes out of one store, "read", and writes them to the files of another, "copy": what
// moving a replica costs beside the network.
func BenchmarkSnapshot(b *testing.B) {
	const n, value = 1 << 18, 256
	dir := b.TempDir()
	fill(b, dir, n, value)
	from, err := Open(dir, Options{})
	must(b, err)
	defer mustClose(b, from)
	to, err := Open(b.TempDir(), Options{})
	must(b, err)
	defer mustClose(b, to)
	d := desc(1002, rng("key/", "key0"), 12)
	create(b, from, newState(d, 12))
	bench := func(what string, round func() error) {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(n * value)
			for b.Loop() {
				must(b, round())
			}
		})
	}
	each := func(with func([]byte) error) error {
		src, err := from.NewSnapshotSource(d, 0)
		if err != nil {
			return err
		}
		defer src.Close()
		for {
			c, err := src.Next()
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = with(c)
			}
			if err != nil {
				return err
			}
			buffer.Frames.Give(c)
		}
	}
	bench("read", func() error { return each(func([]byte) error { return nil }) })
	bench("copy", func() error {
		sink, err := to.NewSnapshotSink(d.ID, "bench")
		if err != nil {
			return err
		}
		defer sink.Discard()
		if err := each(sink.Write); err != nil {
			return err
		}
		return sink.Finish()
	})
}
