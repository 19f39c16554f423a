// Package node is the only place where the parts are joined: engines, stores, placement and rpc become one process.
// The command, the tests and client/embed start clusters through it.
//
// A node listens on one address. It may host a placement member, a store, or both; each has an engine directory of its
// own below the data directory. Goroutines: the gRPC server's; the member's agent, which tells the other members'
// addresses and the cluster's id; the store's agent, which registers, opens the store and sends its heartbeats.
package node

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// Config says what a node is.
type Config struct {
	// Listen is host:port; port 0 picks one.
	Listen string
	// Advertise is the address that others dial; the bound one if empty.
	Advertise string
	// DataDir holds the directories placement and store. Unused with Memory.
	DataDir string
	// Memory keeps everything in memory, for playing and for tests: it is lost at the end.
	Memory bool
	// FS is the filesystem of DataDir; nil is the real one.
	FS vfs.FS
	// Disk, if not nil, gives each part ("placement", "store") a disk of its own.
	Disk    func(part string) Disk
	Version string
	Logger  *slog.Logger
	// LogLevel is the level of Logger, which settings of the cluster change; nil: nobody changes it.
	LogLevel *slog.LevelVar
	// Env is the world; nil is the real one.
	Env env.Env
	// TLS secures what the node serves and dials; nil is plain text. Without meaning if Wire is not nil.
	TLS *TLS
	// Wire is the network; nil is gRPC. The node closes it.
	Wire Wire
	// Observer makes what watches the replicas of a part, "store" or "placement"; nil in production.
	Observer func(part string) raftstore.Observer
	// Coverage counts which rows of the tables of states are taken; nil in production.
	Coverage *fsm.Coverage

	Placement *PlacementConfig // nil: no placement member here
	Store     *StoreConfig     // nil: no store here
	// Join lists addresses of placement members, for a node without one.
	Join []string
	// Began, if not nil, is given the node before it opens anything. It is for the simulator, which ends nodes that still start.
	Began func(*Node)
	// OnBroken is called when a part stopped because going on could damage data. The process should end. It may be
	// called with locks held: it must not block.
	OnBroken func(error)
}

// Disk is a simulated one: a filesystem, and what is told of the engine on it; see engine.Options.
type Disk struct {
	FS                vfs.FS
	Synced, Ingesting func(seq uint64)
	BulkBytes         int64
	SegmentBytes      int64
	LogInDatabase     bool
}

// PlacementConfig is this node's member of the placement driver.
type PlacementConfig struct {
	// ID is this member's number, 1 to 5; Members are all initial members, number to address.
	ID      uint64
	Members map[uint64]string
	// Bootstrap allows an empty directory to begin a new cluster.
	Bootstrap bool
	// Join brings a new member to the placement that runs at Config.Join, if the directory is empty: it gets a number that
	// was never used. ID, Members and Bootstrap are empty then.
	Join bool
	// Replace is the member in whose place a new one comes; 0: none. Without meaning once the directory has a number.
	Replace uint64
	// Replicas is how many copies of each shard there shall be; default 3.
	Replicas int
	// SplitKeys are user keys at which the first shards are cut.
	SplitKeys []string
	// Stores is how many stores must register before the first shards are made; default Replicas.
	Stores int
	// DownAfter is how long a store may be silent before its replicas are replaced; default 30 minutes.
	DownAfter time.Duration
	// Receiving and Sending are how many shards may be copied to one store, and from one, at a time; default 4.
	Receiving, Sending int
	// CheckEvery and CheckBytesPerSecond are as a store's.
	CheckEvery          time.Duration
	CheckBytesPerSecond int64
	// Patience is how long an operator of placement may run that copies nothing; others get ten times as much, and a second
	// for each MiB; default one minute.
	Patience time.Duration
	// Tick is one Raft tick; default raftstore.DefaultTick.
	Tick time.Duration
	// CollectGarbage has this node move the safe point of transactions while its member leads; see gcAgent. It opens a client
	// of its own over Config.TLS.
	CollectGarbage bool
	// LogEntries is how long the log of placement's shard grows before it is cut; default raftstore.DefaultLogEntries.
	LogEntries uint64
}

// StoreConfig is this node's store.
type StoreConfig struct {
	CacheBytes, MemTableBytes int64
	// MemoryBudget is the memory for what is under way, see package budget; zero is budget.DefaultBytes.
	MemoryBudget int64
	// LowSpace is below how many free bytes of the disk the store takes no more data; zero: a part of the disk's size, below
	// zero: the disk is not looked at. See raftstore.Options.
	LowSpace int64
	// CapacityBytes is how much of the disk the store may take; zero: all of it.
	CapacityBytes int64
	// SnapshotBytesPerSecond limits snapshots received; 0 is no limit.
	SnapshotBytesPerSecond int64
	// SplitBytes is the size from which on shards are split; zero is DefaultSplitBytes, less than zero is never.
	SplitBytes int64
	// SplitWork is how many requests a second a shard may have before it is split, with each 4 KiB that they carry as one
	// more; zero is DefaultSplitWork, less than zero is no bound.
	SplitWork int
	// SlowOperation is how long an operation may take in the store before a line is logged, with where the time went; zero is
	// DefaultSlowOperation, less than zero is never.
	SlowOperation time.Duration
	// CheckEvery is how often the store's data are checked in the background; zero or less is never. CheckBytesPerSecond is how
	// fast; zero is raftstore.DefaultCheckBytesPerSecond. See raftstore.Options.
	CheckEvery          time.Duration
	CheckBytesPerSecond int64
	// Tick is one Raft tick; default raftstore.DefaultTick.
	Tick time.Duration
	// Workers drive the groups; default one for every four cores.
	Workers int
	// LogEntries is how long a shard's log grows before it is cut; default raftstore.DefaultLogEntries.
	LogEntries uint64
}

func (c *StoreConfig) splitBytes() uint64 {
	if c.SplitBytes == 0 {
		return DefaultSplitBytes
	}
	return uint64(max(c.SplitBytes, 0))
}

func (c *StoreConfig) splitWork() float64 {
	if c.SplitWork == 0 {
		return DefaultSplitWork
	}
	return float64(max(c.SplitWork, 0))
}

// DefaultSlowOperation is what is logged as slow unless the configuration says otherwise: longer than any operation takes in a
// store that is well.
const DefaultSlowOperation = 500 * time.Millisecond

func (c *StoreConfig) slowOperation() time.Duration {
	if c.SlowOperation == 0 {
		return DefaultSlowOperation
	}
	return max(c.SlowOperation, 0)
}

// maxMemberID leaves the ids below shard.FirstUserID to members and what may come.
const maxMemberID = 5

func (c *Config) check() error {
	if err := c.checkAddrs(); err != nil {
		return err
	}
	if c.Placement == nil && c.Store == nil {
		return fmt.Errorf("a node needs a role: placement, store, or both")
	}
	if c.DataDir == "" && !c.Memory {
		return fmt.Errorf("a node needs a data directory (--data), or --memory to keep nothing")
	}
	if p := c.Placement; p != nil && p.Join {
		return c.checkJoin()
	} else if p != nil {
		if p.ID == 0 || p.ID > maxMemberID {
			return fmt.Errorf("member id %d: it must be 1 to %d", p.ID, maxMemberID)
		}
		if len(p.Members) > 0 {
			if _, ok := p.Members[p.ID]; !ok {
				return fmt.Errorf("member id %d is not among the members %v", p.ID, slices.Sorted(maps.Keys(p.Members)))
			}
		}
		if n := len(p.Members); n > 1 && n%2 == 0 {
			return fmt.Errorf("%d placement members: use 1, 3 or 5; an even number survives no more failures than one less", n)
		}
		prev := ""
		for _, k := range p.SplitKeys {
			if k <= prev {
				return fmt.Errorf("split key %q after %q: split keys must ascend and not be empty", k, prev)
			}
			if len(k) > shard.MaxKeyBytes {
				return fmt.Errorf("split key %.20q... has %d bytes, at most %d are allowed", k, len(k), shard.MaxKeyBytes)
			}
			prev = k
		}
	} else if len(c.Join) == 0 {
		return fmt.Errorf("a store without a placement member on its node needs addresses of placement (--join)")
	}
	return nil
}

// checkAddrs refuses addresses that others cannot dial: they would dial themselves, or each other.
func (c *Config) checkAddrs() error {
	if c.Advertise != "" && !dialable(c.Advertise, true) {
		return fmt.Errorf("--advertise %s: others cannot dial that; name this machine and the port", c.Advertise)
	}
	p := c.Placement
	alone := len(c.Join) == 0 && (p == nil || len(p.Members) < 2)
	if c.Advertise == "" && !alone && !dialable(c.Listen, false) {
		return fmt.Errorf("--listen %s is on all addresses of this machine, and others must know which to dial: say it with --advertise host:port", c.Listen)
	}
	if p == nil {
		return nil
	}
	at := make(map[string]uint64)
	for _, id := range slices.Sorted(maps.Keys(p.Members)) {
		addr := p.Members[id]
		if other := at[addr]; other != 0 {
			return fmt.Errorf("members %d and %d are both at %s (--members): each needs an address of its own", other, id, addr)
		}
		at[addr] = id
	}
	return nil
}

// dialable reports whether another machine may be able to dial an address.
func dialable(addr string, port bool) bool {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return true // whoever dials or listens says more
	}
	ip, err := netip.ParseAddr(host)
	return host != "" && (err != nil || !ip.IsUnspecified()) && (!port || p != "0")
}

func (c *Config) checkJoin() error {
	p := c.Placement
	switch {
	case len(c.Join) == 0:
		return fmt.Errorf("a new placement member needs addresses of placement (--join)")
	case p.ID != 0 || len(p.Members) > 0 || p.Bootstrap:
		return fmt.Errorf("a placement member that joins gets its number from placement: leave --member-id, --members and --bootstrap out")
	case len(p.SplitKeys) > 0:
		return fmt.Errorf("--split-keys are for the first members: this one joins a cluster that has its shards")
	}
	return nil
}
