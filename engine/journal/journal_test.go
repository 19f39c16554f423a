package journal

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/tests/memdisk"
)

const testDir = "/log"

// TestJournal runs the transcripts. Commands:
//
//	append shard first n life=(replica,index,term) size=N term=T   one record; several lines make one record of several items
//	grow first last                                                entries of shard 1, three to a segment
//	sync, truncate shard index, forget shard, dead, free seq, mark
//	adopt shard=(replica,index,term)...                            what lives
//	read shard lo hi
//	segments, logs, shrink
//	close, open                                                    in order
//	crash                                                          what is not synced is lost; opens again
//	keep                                                           the end of the process alone: nothing is lost
//	flip file offset, cut file size                                damage, while it is closed
func TestJournal(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		h := newHarness(t)
		datadriven.RunTest(t, path, h.run)
	})
}

type harness struct {
	t     *testing.T
	fs    *memdisk.FS
	ahead bool
	j     *Journal
	at    Place
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t, fs: memdisk.New()}
	if err := h.fs.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := h.fs.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	h.open()
	return h
}

const testSegment = 1 << 10

func (h *harness) open() string {
	j, err := Open(Options{FS: h.fs, Dir: testDir, SegmentBytes: testSegment, Ahead: h.ahead})
	if err != nil {
		h.j = nil
		return err.Error() + "\n"
	}
	h.j = j
	return h.logs()
}

func (h *harness) run(t *testing.T, d *datadriven.TestData) string {
	num := func(i int) (v uint64) {
		if _, err := fmt.Sscan(d.CmdArgs[i].Key, &v); err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		return v
	}
	switch d.Cmd {
	case "append":
		return h.append(d)
	case "grow":
		for i := num(0); i <= num(1); i++ {
			h.mustPut(i)
		}
		return h.logs()
	case "sync":
		if err := h.j.Sync(h.at); err != nil {
			return err.Error()
		}
		return ""
	case "truncate":
		h.j.Truncate(num(0), num(1))
	case "forget":
		h.j.Forget(num(0))
	case "dead":
		return fmt.Sprintln(h.j.Dead())
	case "free":
		h.j.Free(num(0))
		return h.segments()
	case "adopt":
		lives := map[uint64]Life{}
		for _, a := range d.CmdArgs {
			var id uint64
			var l Life
			if _, err := fmt.Sscan(a.Key, &id); err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			d.ScanArgs(t, a.Key, &l.Replica, &l.Index, &l.Term)
			lives[id] = l
		}
		if err := h.j.Adopt(lives); err != nil {
			return err.Error()
		}
	case "read":
		var b strings.Builder
		err := h.j.Read(num(0), num(1), num(2), func(index uint64, v []byte) (bool, error) {
			fmt.Fprintf(&b, "%d %s\n", index, strings.TrimRight(string(v), "."))
			return true, nil
		})
		if err != nil {
			return err.Error()
		}
		return b.String()
	case "segments":
		return h.segments()
	case "shrink":
		h.j.Shrink()
		return h.segments()
	case "close":
		if err := h.j.Close(); err != nil {
			return err.Error()
		}
		return ""
	case "open":
		return h.open()
	case "crash":
		h.fs = h.fs.CrashClone(vfs.CrashCloneCfg{})
		return h.open()
	case "keep":
		_ = h.j.Abandon()
		return h.open()
	case "flip", "cut":
		return h.damage(d.Cmd, d.CmdArgs[0].Key, int(num(1)))
	case "logs":
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	return h.logs()
}

// append makes one record of the lines of input, or of the arguments.
func (h *harness) append(d *datadriven.TestData) string {
	var b Batch
	lines := strings.Split(strings.TrimSpace(d.Input), "\n")
	for _, line := range lines {
		var shard, first, n, term uint64
		var l Life
		size := 0
		if _, err := fmt.Sscanf(line, "%d %d %d life=%d,%d,%d term=%d size=%d", &shard, &first, &n, &l.Replica, &l.Index, &l.Term, &term, &size); err != nil {
			h.t.Fatalf("%s: %q: %v", d.Pos, line, err)
		}
		appendTo(&b, shard, l, first, n, fmt.Sprintf("%d", term), size)
	}
	at, err := h.j.Append(&b)
	if err != nil {
		return err.Error()
	}
	h.at = at
	return h.logs()
}

// appendTo adds entries whose values say what they are, padded to a size.
func appendTo(b *Batch, shard uint64, l Life, first, n uint64, what string, size int) {
	b.Append(shard, l, first, int(n))
	for i := range n {
		v := fmt.Sprintf("%d/%d:%s", shard, first+i, what)
		v += strings.Repeat(".", max(0, size-len(v)))
		copy(b.Entry(len(v)), v)
	}
}

func (h *harness) logs() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(h.j.logs)) {
		l := h.j.logs[id]
		fmt.Fprintf(&b, "%d: r%d behind %d/%d", id, l.life.Replica, l.life.Index, l.life.Term)
		if len(l.refs) > 0 {
			fmt.Fprintf(&b, ", %d to %d in segments %d to %d", l.first, l.last(), l.refs[0].seq, l.refs[len(l.refs)-1].seq)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (h *harness) segments() string {
	var b strings.Builder
	for _, s := range h.j.segs {
		fmt.Fprintf(&b, "%d in %s: %d bytes behind %d at %d, %d entries\n", s.seq, fileName(s.slot), s.end, s.prev.seq, s.prev.off, s.entries)
	}
	for _, d := range h.j.freed {
		fmt.Fprintf(&b, "%s freed, said at %d %d\n", fileName(d.s.slot), d.said.seq, d.said.off)
	}
	for _, s := range h.j.free {
		fmt.Fprintf(&b, "%s free\n", fileName(s.slot))
	}
	fmt.Fprintf(&b, "synced to %d at %d\n", h.j.synced.seq, h.j.synced.off)
	return b.String()
}

// damage flips a bit of a file, or cuts it, while nobody has it open.
func (h *harness) damage(how, name string, at int) string {
	path := h.fs.PathJoin(testDir, name)
	f, err := h.fs.Open(path)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err.Error()
	}
	if at >= len(b) {
		return fmt.Sprintf("%s has %d bytes\n", name, len(b))
	}
	if how == "flip" {
		b[at] ^= 4
	} else {
		b = b[:at]
	}
	if f, err = h.fs.Create(path, vfs.WriteCategoryUnspecified); err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
