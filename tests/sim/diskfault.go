package sim

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/sim/simfs"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// Faults of disks. A world must meet each at a moment that replays, but Pebble works on goroutines of its own, which find
// a fault whenever they come by. So a fault begins with the write-ahead log alone, behind a sync that leaves nothing of it
// under way, and the next sync of the log, in the same step of the world, finds it. From then on the store does nothing
// with its disk, so that whether more of it fails makes no difference. The number of the file depends on timing: traces
// say only the kind of fault (see disk.line).
//
// Left out: syncs of manifests, and of tables that are flushed. At which moment a running store writes them does not
// replay. A start does write them at once, but Pebble tries a flush that fails in Open again and again, for ever: a store
// on a disk that is full does not start, and does not say so either. Whoever starts it here waits until there is room.

// The kinds of faults, by what the reason of a store that stopped has to say.
const (
	diskFull    = "no space left on device"
	syncFailed  = "input/output error"
	diskCorrupt = "corruption"
)

// ailment is what is wrong with a disk beyond being slow.
type ailment struct {
	kind string // of the fault of this life, empty without one
	// full is set until there is room: nothing starts before.
	full bool
	// corrupt is set until the store's directory is wiped.
	corrupt bool
	opened  int // lives of the store that began on this directory
	refused int // lives that did not
	wipes   int
}

// begin is the ailment of the next life, on what a crash has left.
func (d *disk) begin() {
	d.kind = ""
	for _, part := range []string{partStore, partPlacement} {
		if d.parts[part].Torn() {
			d.c.faults["torn-tail"]++
		}
	}
	if d.corrupt {
		d.kind = diskCorrupt
	}
}

// hopeless reports whether there is no use in starting: without room, or after a directory was refused often enough.
func (d *disk) hopeless() bool { return d.full || d.refused >= 3 }

// mend ends what ends without anybody's work.
func (d *disk) mend() {
	d.full = false
	d.parts[partStore].FailSyncs(nil)
}

// about is the kind of a disk's fault that a text speaks of, empty if of none.
func about(text string) string {
	for _, kind := range []string{diskFull, syncFailed} {
		if strings.Contains(text, kind) {
			return kind
		}
	}
	for _, sign := range []string{"corrupt", "checksum mismatch", "error when replaying WAL"} {
		if strings.Contains(text, sign) {
			return diskCorrupt
		}
	}
	return ""
}

// reason is why a process ended or did not start, as a trace may say it.
func (d *disk) reason(err error) error {
	if kind := about(err.Error()); d.kind != "" && kind != "" {
		return errors.New("disk fault: " + kind)
	}
	return err
}

// quiet reports whether a line of a log must not be in a trace: Pebble's own complaints come at any moment.
func (d *disk) quiet(message string) bool {
	return d.kind != "" && (strings.HasPrefix(message, "pebble: ") || strings.HasPrefix(message, "write") || message == "disk is slow")
}

// line is a line of a log as a trace may hold it.
func (d *disk) line(message, whole string) string {
	if kind := about(whole); d.kind != "" && kind != "" {
		return message + ": " + kind
	}
	return whole
}

// where matches what says where a fault is: a file of Pebble's, its number alone, or, of a log, only the directory.
var where = regexp.MustCompile(`\d{6}|NNNNNN\.(log|raft)|open store in data/\w+: pebble: error when replaying WAL`)

// started judges how a start on this disk came out.
func (d *disk) started(s *server, err error) {
	m := d.c.monitors
	if err == nil {
		d.opened++
	}
	switch {
	case d.kind == "":
	case err == nil && d.corrupt:
		m.violated("disk", "%s starts on a directory that is corrupt", s)
	case err == nil:
	case about(err.Error()) != d.kind || !where.MatchString(err.Error()):
		m.violated("disk", "%s does not start for a reason that does not say what is wrong with which file, with a disk of which is true: %s: %v", s, d.kind, err)
	default:
		d.refused++
		d.c.faults["refused: "+d.kind]++
	}
}

// breakLog makes writes or syncs of the write-ahead log of a part fail, and lets the part find that.
func (s *server) breakLog(part, kind string) {
	c, fs := s.c, s.disk.parts[part]
	fs.Freeze()
	if s.node.SyncWAL(part) != nil {
		return // it has stopped already
	}
	s.disk.kind = kind
	if kind == diskFull {
		fs.FailWrites(simfs.IsLog)
	} else {
		fs.FailSyncs(simfs.IsLog)
	}
	if err := s.node.SyncWAL(part); err == nil || about(err.Error()) != kind || !where.MatchString(err.Error()) {
		c.monitors.violated("disk", "the %s of %s on a disk of which is true: %s: a sync returns %v", part, s, kind, err)
	}
	c.mustStop(s)
}

// panicked reports whether a panic of a task is the end of a process whose disk is broken: raft panics when its log cannot
// be read any more, with the reason for which the store stopped.
func (s *server) panicked(m *world.Machine, reason string) bool {
	kind := about(reason)
	if s.machine != m || s.disk.kind == "" || kind != s.disk.kind {
		return false
	}
	m.Log("panic: %s", kind)
	s.c.faults["panic: "+kind]++
	s.broken = errors.New("disk fault: " + kind)
	return true
}

// mustStop demands that a process whose disk is broken ends by itself.
func (c *cluster) mustStop(s *server) {
	life := s.lives
	c.env.Go("must-stop", func() {
		for range 200 {
			_ = c.env.Sleep(context.Background(), 50*time.Millisecond)
			if s.lives != life || !s.up() || s.broken != nil || s.machine.Paused() {
				return
			}
		}
		c.monitors.violated("disk", "%s goes on although its disk is broken", s)
	})
}

// sound reports whether a server runs, with its store, on a disk with which nothing is wrong yet.
func (s *server) sound() bool {
	return s.up() && !s.alone && s.node != nil && s.broken == nil && s.disk.kind == "" && !s.disk.full
}

// fillDisk lets a server's disk be full for a while. Its supervisor starts it again as soon as there is room.
func (c *cluster) fillDisk() {
	s := c.anyServer()
	if !s.sound() {
		return
	}
	c.main.Log("the disk of %s is full", s)
	s.disk.full = true
	s.breakLog(partStore, diskFull)
	if s.seated() {
		s.breakLog(partPlacement, diskFull)
	}
	c.later(50*time.Millisecond, 6*time.Second, func() {
		c.main.Log("the disk of %s has room again", s)
		s.disk.mend()
		c.startIfDown(s)
	})
}

// failSyncs lets a sync of the write-ahead log of one part fail, or for a while those of the tables that snapshots come
// in.
func (c *cluster) failSyncs() {
	s := c.anyServer()
	if !s.sound() {
		return
	}
	if c.w.Chance(0.3) {
		c.main.Log("syncs of staged tables of %s fail", s)
		c.faults["fail-sync: staged tables"]++
		s.disk.kind = syncFailed
		s.disk.parts[partStore].FailSyncs(isStaged)
		c.later(50*time.Millisecond, 6*time.Second, func() {
			c.main.Log("syncs of %s work again", s)
			s.disk.mend()
		})
		return
	}
	part := partStore
	if s.seated() && c.w.Chance(0.4) {
		part = partPlacement
	}
	if c.w.Chance(0.4) {
		c.failRaftLog(s, part)
		return
	}
	c.main.Log("a sync of the log of the %s of %s fails", part, s)
	c.faults["fail-sync: write-ahead log"]++
	s.breakLog(part, syncFailed)
}

// failRaftLog lets one sync of a raft log fail, whenever the next one is: it is a task of ours that asks for it.
func (c *cluster) failRaftLog(s *server, part string) {
	c.main.Log("the next sync of the raft log of the %s of %s fails", part, s)
	s.disk.kind = syncFailed
	failed := false
	s.disk.parts[part].FailSyncs(func(name string) bool {
		if failed || !simfs.IsRaftLog(name) {
			return false
		}
		failed = true
		c.faults["fail-sync: raft log"]++
		return true
	})
}

// isStaged matches the tables that a snapshot is received in, before Pebble has them.
func isStaged(name string) bool {
	return strings.Contains(name, "/staging/") && strings.HasSuffix(name, ".sst")
}

// corrupt spoils the directory of a store. It must not start any more; its administrator removes it from the cluster,
// wipes the directory, and it comes back as a new store.
//
// INVARIANT: as with replace, one store is replaced at a time, and only while every shard has all its replicas: of a
// majority of a shard's replicas nothing is ever spoilt.
func (c *cluster) corrupt() {
	s := c.anyServer()
	if c.replacing || c.reseating || !s.sound() || !c.placesWithout(s) {
		return // a node that does not start takes its member with it
	}
	c.replaceBy("corrupt", s, c.auditor.corrupt)
}

func (a *auditor) corrupt(s *server) error {
	ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	old, err := a.spareStore(ctx, s)
	if err != nil || old == 0 {
		return err
	}
	if s.seated() { // its member goes with it; one of the first may not even have begun
		if _, err := a.seats(ctx); err != nil {
			return err
		}
		if err := a.agreed(ctx); err != nil {
			return err
		}
	}
	if !s.sound() || s.removed {
		return errors.New("it is down by now")
	}
	s.spoil(a.c.w.Chance(0.5) && s.disk.opened > 1, a.c.w.Rand())
	a.removeForGood(old, s)
	return nil
}

// logFill is how many syncs (33 bytes each) go behind a record of the log that is spoilt. Pebble takes a bad record for
// the torn end of the newest log unless a later block of 32 KiB says that it was synced, and what blocks say is too low by
// what was written over their borders; the first log of a new database says nothing at all (it has the format of old
// versions). A bit that flips there is not found, and everything behind it is lost without a word, which worlds see as a
// broken promise. So bits are flipped only where that is found.
const logFill = 6000

// spoil ends a process, flips a bit of a record of its store's log, or bits of all tables, and starts it again.
func (s *server) spoil(log bool, h uint64) {
	c := s.c
	if log {
		for range logFill {
			if err := s.node.SyncWAL(partStore); err != nil {
				c.main.Log("not corrupted: %v", err)
				return
			}
		}
		s.crash()
		if !s.disk.parts[partStore].CorruptLog(h, logFill-1) {
			c.monitors.violated("disk", "the log of %s holds no record", s)
		}
	} else {
		s.crash()
		if err := s.disk.settleTables(); err != nil {
			c.monitors.violated("disk", "the store of %s does not open after a crash: %v", s, err)
		}
		if s.disk.parts[partStore].CorruptTables(storeDir) == 0 {
			c.monitors.violated("disk", "the store of %s has no tables", s)
		}
	}
	what := map[bool]string{true: "a record of the log", false: "the tables"}[log]
	c.main.Log("%s of the store of %s are corrupt", what, s)
	c.faults["corrupt: "+what]++
	s.disk.corrupt = true
	s.disk.begin()
	s.start()
}

// storeDir is where a server's store lies on its disk.
const storeDir = "data/" + partStore

// settleTables brings everything that a store holds into tables, which a start does.
func (d *disk) settleTables() error {
	fs := d.parts[partStore]
	e, err := engine.Open(storeDir, engine.Options{FS: fs, Synced: fs.Durable, MemTableBytes: memTableBytes})
	if err != nil {
		return err
	}
	return e.Close()
}

// removeForGood removes a store that cannot start from the cluster, however often that has to be asked for, lets its
// server begin anew, and waits until all replicas are made anew.
func (a *auditor) removeForGood(old shard.StoreID, s *server) {
	for {
		_ = a.env.Sleep(context.Background(), 300*time.Millisecond)
		ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
		err := a.db.Admin().RemoveStore(ctx, old)
		cancel()
		a.m.Log("remove %s, whose disk is corrupt: %v", old, err)
		if err == nil {
			break
		}
	}
	a.c.faults["store-removed"]++
	wipes := s.disk.wipes
	s.crash()
	s.disk.wipe(partStore)
	s.removed, s.refusals = false, 0
	s.start()
	a.awaitReplaced(old, s, wipes)
}
