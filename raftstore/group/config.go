package group

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/shard"
)

// Defaults of Settings' zero fields. Timing: a lease lasts (10 - 1) * 100 ms * (1 - 0.05) = 855 ms from the moment its
// round was begun, a voter keeps still for 10 * 100 ms after it heard its leader.
const (
	// DefaultElectionTicks is how many ticks without a leader begin an election (raft draws from [n, 2n-1]).
	DefaultElectionTicks = 10
	// DefaultHeartbeatTicks is how many ticks lie between raft heartbeats: five chances per election timeout.
	DefaultHeartbeatTicks = 2
	// DefaultTickInterval is the length of a tick while a group is awake.
	DefaultTickInterval = 100 * time.Millisecond
	// DefaultMaxDrift bounds how much faster one machine's clock may run than another's, as a fraction.
	DefaultMaxDrift = 0.05

	// DefaultMaxSizePerMsg bounds the entries of one MsgApp, in bytes. A follower is caught up by messages of this
	// size; larger ones delay the heartbeats of all groups on the same stream.
	DefaultMaxSizePerMsg = 1 << 20
	// DefaultMaxCommittedSizePerReady bounds the entries handed out for applying and not yet applied, in bytes: the
	// memory that one group's backlog may pin.
	DefaultMaxCommittedSizePerReady = 4 << 20
	// DefaultMaxUncommittedBytes bounds a leader's uncommitted tail, in bytes: what it may pile up while its followers
	// do not answer. Twice the largest value, so that two of them can be under way.
	DefaultMaxUncommittedBytes = 16 << 20
	// DefaultMaxInflightMsgs bounds the unanswered MsgApps to one follower.
	DefaultMaxInflightMsgs = 512
	// DefaultMaxInflightBytes bounds the same in bytes: 32 MiB per round trip is beyond any disk behind it.
	DefaultMaxInflightBytes = 32 << 20
)

// Config is what a Group is made of.
type Config struct {
	Shard   shard.ID
	Replica shard.ReplicaID
	Store   shard.StoreID

	// Storage is the log as far as it is synced, and the state at the start. Its InitialState must hold a repaired
	// commit index and a ConfState that is not nil. It is called from within the Group's methods only.
	Storage raft.Storage
	// Applied is the index that the state covers.
	Applied uint64

	// Settings come from NewSettings; nil means the defaults.
	Settings *Settings

	// Now is the present. A replica counts as having just heard its leader when it starts: before a crash it may have
	// acknowledged a round on which a lease now rests.
	Now Instant
	// Heard, unless zero, is used in place of Now for that: the right side of a split inherits it from the left.
	Heard Instant
}

// Settings are what the groups of a store have in common. They must not change while there are groups.
type Settings struct {
	ElectionTicks  int
	HeartbeatTicks int
	TickInterval   time.Duration
	MaxDrift       float64

	MaxSizePerMsg            uint64
	MaxCommittedSizePerReady uint64
	MaxUncommittedBytes      uint64
	MaxInflightBytes         uint64
	MaxInflightMsgs          int

	// Logger receives raft's log; nil discards everything but panics.
	Logger raft.Logger

	tick    Instant // length of one; zero if the settings were not made by NewSettings
	promise Instant // how long a voter keeps still after it heard its leader
	lease   Instant // how long a leader may count on that
}

// NewSettings fills in the defaults of zero fields, and refuses what raft would panic on.
func NewSettings(s Settings) (*Settings, error) {
	setDefault(&s.ElectionTicks, DefaultElectionTicks)
	setDefault(&s.HeartbeatTicks, DefaultHeartbeatTicks)
	setDefault(&s.TickInterval, DefaultTickInterval)
	setDefault(&s.MaxDrift, DefaultMaxDrift)
	setDefault(&s.MaxSizePerMsg, DefaultMaxSizePerMsg)
	setDefault(&s.MaxCommittedSizePerReady, DefaultMaxCommittedSizePerReady)
	setDefault(&s.MaxUncommittedBytes, DefaultMaxUncommittedBytes)
	setDefault(&s.MaxInflightMsgs, DefaultMaxInflightMsgs)
	setDefault(&s.MaxInflightBytes, DefaultMaxInflightBytes)
	if s.Logger == nil {
		s.Logger = quietLogger{}
	}
	switch {
	case s.HeartbeatTicks < 0 || s.ElectionTicks <= s.HeartbeatTicks:
		return nil, errors.New("settings of groups: election ticks must exceed heartbeat ticks")
	case s.TickInterval < 0:
		return nil, errors.New("settings of groups: tick interval must be positive")
	case s.MaxDrift < 0 || s.MaxDrift >= 1:
		return nil, errors.New("settings of groups: max drift must lie in [0, 1)")
	case s.MaxInflightMsgs < 0 || s.MaxInflightBytes < s.MaxSizePerMsg:
		return nil, errors.New("settings of groups: messages in flight must be able to hold one message")
	}
	s.tick = Instant(s.TickInterval)
	s.promise = s.tick * Instant(s.ElectionTicks)
	s.lease = leaseSpan(s.ElectionTicks, s.TickInterval, s.MaxDrift)
	return &s, nil
}

// check refuses what raft would panic on.
func (c *Config) check() error {
	switch {
	case c.Shard == 0 || c.Replica == 0:
		return errors.New("config: shard and replica must be named")
	case uint64(c.Replica) > maxField:
		return errors.New("config: replica id is out of range")
	case c.Storage == nil:
		return errors.New("config: storage is missing")
	case c.Settings != nil && c.Settings.tick == 0:
		return errors.New("config: settings were not made by NewSettings")
	}
	if c.Settings == nil {
		var err error
		c.Settings, err = NewSettings(Settings{})
		return err
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// raft is the library's configuration. Every guard is on; the read-only mode is the one that asks a quorum.
func (s *Settings) raft(id shard.ReplicaID, storage raft.Storage, applied uint64) *raft.Config {
	return &raft.Config{
		ID:                        uint64(id),
		ElectionTick:              s.ElectionTicks,
		HeartbeatTick:             s.HeartbeatTicks,
		Storage:                   storage,
		Applied:                   applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             s.MaxSizePerMsg,
		MaxCommittedSizePerReady:  s.MaxCommittedSizePerReady,
		MaxUncommittedEntriesSize: s.MaxUncommittedBytes,
		MaxInflightMsgs:           s.MaxInflightMsgs,
		MaxInflightBytes:          s.MaxInflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    s.Logger,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	}
}

// checkStorage reads what a replica starts from and refuses what contradicts itself.
//
// INVARIANT: truncated <= applied <= commit <= last and term >= term(last). Raft's answers are built on it, and it would
// panic on some violations much later, with less to say.
func checkStorage(s raft.Storage, applied uint64) (*pb.HardState, *pb.ConfState, uint64, error) {
	hs, cs, err := s.InitialState()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read initial state: %w", err)
	}
	first, err := s.FirstIndex()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read first index: %w", err)
	}
	last, err := s.LastIndex()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read last index: %w", err)
	}
	lastTerm, err := s.Term(last)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read term of entry %d: %w", last, err)
	}
	commit := hs.GetCommit()
	if first == 0 || first-1 > applied || applied > commit || commit > last || hs.GetTerm() < lastTerm {
		return nil, nil, 0, fmt.Errorf("state contradicts itself: first %d, applied %d, commit %d, last %d of term %d, term %d",
			first, applied, commit, last, lastTerm, hs.GetTerm())
	}
	if cs == nil {
		return nil, nil, 0, errors.New("storage has no configuration, not even an empty one")
	}
	if why := confStateFault(cs); why != "" {
		return nil, nil, 0, fmt.Errorf("configuration %s: %s", raft.DescribeConfState(cs), why)
	}
	return hs, cs, last, nil
}

// quietLogger drops everything but the end of the world.
type quietLogger struct{}

var _ raft.Logger = quietLogger{}

func (quietLogger) Debug(...any)            {}
func (quietLogger) Debugf(string, ...any)   {}
func (quietLogger) Info(...any)             {}
func (quietLogger) Infof(string, ...any)    {}
func (quietLogger) Warning(...any)          {}
func (quietLogger) Warningf(string, ...any) {}
func (quietLogger) Error(...any)            {}
func (quietLogger) Errorf(string, ...any)   {}

func (quietLogger) Fatal(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (quietLogger) Fatalf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
func (quietLogger) Panic(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (quietLogger) Panicf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
