package engine

import (
	"bufio"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BenchmarkTableFile writes and syncs a file of 32 MiB in blocks of 10 KB, through the buffer that Pebble has before it, and
// removes it: as a table, and as a plain "file".
func BenchmarkTableFile(b *testing.B) {
	const total, block = 32 << 20, 10_000
	data := make([]byte, block)
	for _, c := range []struct {
		name string
		fs   vfs.FS
	}{{"table", tableFS{vfs.Default}}, {"file", vfs.Default}} {
		b.Run(c.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "000001"+tableSuffix)
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				f, err := c.fs.Create(path, vfs.WriteCategoryUnspecified)
				must(b, err)
				w := bufio.NewWriter(f)
				for n := 0; n < total; n += block {
					_, err := w.Write(data)
					must(b, err)
				}
				must(b, w.Flush())
				must(b, f.Sync())
				must(b, f.Close())
				must(b, c.fs.Remove(path))
			}
		})
	}
}
