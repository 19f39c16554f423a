package sim

import (
	"time"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/tests/sim/simfs"
)

// memTableBytes is small, so that worlds see flushes and compactions.
const memTableBytes = 512 << 10

// The parts of a node, each with a directory of its own.
const (
	partStore     = "store"
	partPlacement = "placement"
)

// disk is one server's: the files of its parts, and how long it takes.
type disk struct {
	c       *cluster
	parts   map[string]*simfs.FS
	hung    time.Duration // until then, in the world's time, no call ends
	slow    int           // how many times slower than usual; 0 is not
	crashes int
	seats   int            // how often the directory of placement was lost
	lives   map[string]int // of a part: how often it was opened
	ailment
}

func (c *cluster) newDisk() *disk {
	return &disk{c: c, lives: map[string]int{}, parts: map[string]*simfs.FS{partStore: simfs.New(), partPlacement: simfs.New()}}
}

// part is node.Config.Disk.
func (d *disk) part(name string) node.Disk {
	fs := d.parts[name]
	synced := uint64(0)
	d.lives[name]++
	return node.Disk{FS: fs, BulkBytes: d.c.knobs.Bulk, SegmentBytes: d.c.knobs.Segment, LogInDatabase: d.lives[name] <= d.c.knobs.OldLogs,
		Synced: func(seq uint64) { synced = max(synced, seq); fs.Durable(seq) },
		Ingesting: func(seq uint64) {
			d.c.monitors.seen["ingest"]++
			if synced < seq {
				d.c.monitors.violated("ingest", "tables become part of a store before its log is synced up to %d: it is up to %d", seq, synced)
			}
		}}
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

// freeze stops the disk at the moment of a crash: nothing becomes more durable.
func (d *disk) freeze() {
	d.parts[partStore].Freeze()
	d.parts[partPlacement].Freeze()
}

// crash leaves what survives of it.
func (d *disk) crash() {
	d.crashes++
	for i, part := range []string{partStore, partPlacement} {
		d.parts[part] = d.parts[part].Crash(d.c.knobs.Seed+uint64(i)<<56, d.crashes)
	}
	d.begin()
}

// wipe empties the directory of one part of a server that is down.
func (d *disk) wipe(part string) {
	d.parts[part] = simfs.New()
	d.wipes++
	d.corrupt, d.opened, d.refused = false, 0, 0
	d.begin()
}

// loseSeat empties the directory of placement of a server that is down.
func (d *disk) loseSeat() {
	d.parts[partPlacement] = simfs.New()
	d.seats++
}
