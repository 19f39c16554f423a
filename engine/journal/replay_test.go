package journal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestOpenReadsOnce: a start may have to read gigabytes of log, so each segment is read once, but for its first record and the
// newest segment, which say what the chain is.
func TestOpenReadsOnce(t *testing.T) {
	h := newHarness(t)
	for i := range uint64(300) {
		var b Batch
		appendTo(&b, 1+i%7, Life{Replica: 1, Index: 5, Term: 5}, 6+i/7, 1, "e", 200)
		if _, err := h.j.Append(&b); err != nil {
			t.Fatal(err)
		}
	}
	before := h.logs()
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := h.fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, n := range names {
		st, err := h.fs.Stat(h.fs.PathJoin(testDir, n))
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	fs := &countingFS{FS: h.fs}
	j, err := Open(Options{FS: fs, Dir: testDir, SegmentBytes: testSegment})
	if err != nil {
		t.Fatal(err)
	}
	h.j = j
	if after := h.logs(); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
	const head = 400 // a record of this test with its header, and the header once more
	if most := total + 2*testSegment + int64(len(names))*head; fs.read > most || fs.read < total {
		t.Errorf("%d segments of %d bytes: %d bytes were read, want at most %d", len(names), total, fs.read, most)
	}
}

// countingFS counts the bytes that are read from files opened for reading and writing.
type countingFS struct {
	vfs.FS
	read int64
}

func (c *countingFS) OpenReadWrite(name string, cat vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.OpenReadWrite(name, cat, o...)
	return &countingFile{f, c}, err
}

type countingFile struct {
	vfs.File
	c *countingFS
}

func (f *countingFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	f.c.read += int64(n)
	return n, err
}
