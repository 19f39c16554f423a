package sim

import (
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memTableBytes never fills in a world: a rotation of the write-ahead log by size would depend on the heights of a skip
// list, which Pebble draws from randomness that has no seed.
const memTableBytes = 32 << 20

// disk is one server's: its files, and how long it takes.
type disk struct {
	c      *cluster
	fs     vfs.FS
	mem    *vfs.MemFS
	hung   time.Duration // until then, in the world's time, no call ends
	slow   int           // how many times slower than usual; 0 is not
	frozen bool
}

func (c *cluster) newDisk() *disk {
	d := &disk{c: c, mem: vfs.NewCrashableMem()}
	d.fs = d.mem
	return d
}

// delay is how long a call takes; while the disk hangs it asks again and again.
func (d *disk) delay(string) (time.Duration, bool) {
	if wait := d.hung - d.c.w.Now(); wait > 0 {
		return min(wait, 100*time.Millisecond), true
	}
	t := d.c.w.Between(50*time.Microsecond, d.c.knobs.SyncTime)
	if d.slow > 0 {
		t *= time.Duration(d.slow)
	}
	return t, false
}

// wipe removes a directory of a server that is down.
func (d *disk) wipe(dir string) { _ = d.fs.RemoveAll(dir) }

func (d *disk) freeze() {
	d.mem = d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 1))})
}

func (d *disk) crash() {
	d.fs = d.mem
}
