package beat

import (
	"encoding/json"
	"time"

	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
)

// Order is what an administrator asks of placement's leader. One of its pointers is set.
type Order struct {
	// DryRun: say what would be done, and do nothing.
	DryRun bool `json:"dry_run,omitempty"`

	Move      *MoveOrder      `json:"move,omitempty"`
	Scatter   *ScatterOrder   `json:"scatter,omitempty"`
	Transfer  *TransferOrder  `json:"transfer,omitempty"`
	Drain     *StoreOrder     `json:"drain,omitempty"`
	Undrain   *StoreOrder     `json:"undrain,omitempty"`
	Evict     *StoreOrder     `json:"evict_leaders,omitempty"`
	Admit     *StoreOrder     `json:"allow_leaders,omitempty"`
	Remove    *StoreOrder     `json:"remove,omitempty"`
	Label     *LabelOrder     `json:"label,omitempty"`
	Operators *OperatorsOrder `json:"operators,omitempty"`
	Cancel    *CancelOrder    `json:"cancel,omitempty"`
	Rules     *RulesOrder     `json:"rules,omitempty"`
	Pause     *PauseOrder     `json:"pause,omitempty"`
	Explain   *ExplainOrder   `json:"explain,omitempty"`
	Plan      *PlanOrder      `json:"plan,omitempty"`

	Members        *MembersOrder `json:"members,omitempty"`
	RemoveMember   *MemberOrder  `json:"remove_member,omitempty"`
	TransferMember *MemberOrder  `json:"transfer_member,omitempty"`
	// SafePoints moves them forward; zeros only ask.
	SafePoints *SafePoints `json:"safe_points,omitempty"`
	// GC says how the safe points move by themselves; without anything in it it only asks.
	GC *GCOrder `json:"gc,omitempty"`
	// Version asks for the cluster's version, or, with Raise, raises it.
	Version *VersionOrder `json:"version,omitempty"`
	// Settings changes settings of the cluster; without anything in it it only asks.
	Settings *SettingsOrder `json:"settings,omitempty"`
}

// VersionOrder asks which version the cluster has, and who stands in the way of the next one.
type VersionOrder struct {
	// Raise raises it to the newest that any node knows, if all do.
	Raise bool `json:"raise,omitempty"`
}

// VersionStatus is the version of the cluster as people see it.
type VersionStatus struct {
	Version version.Number `json:"cluster_version"`
	// Target is the newest that any node knows; if it is Version, there is nothing to finalize.
	Target version.Number `json:"newest_version"`
	Nodes  []NodeVersion  `json:"nodes"`
}

// NodeVersion is what a store or a placement member can take part in.
type NodeVersion struct {
	Role     string         `json:"role"` // store or member
	ID       shard.StoreID  `json:"id"`
	Addr     string         `json:"addr"`
	Program  string         `json:"program,omitempty"` // the version of its binary
	Versions version.Range  `json:"versions"`
	Active   version.Number `json:"active,omitempty"` // the one that it goes by; 0: not known
	// Why it stands in the way of Target; empty: it does not.
	Why string `json:"in_the_way,omitempty"`
}

// InTheWay are the nodes that must be upgraded, started or removed before the version can be raised.
func (s *VersionStatus) InTheWay() []NodeVersion {
	var out []NodeVersion
	for _, n := range s.Nodes {
		if n.Why != "" {
			out = append(out, n)
		}
	}
	return out
}

// SettingsOrder changes settings: those in Set are made, those in Reset are as each node was told at its start again.
type SettingsOrder struct {
	Set   []setting.Made `json:"set,omitempty"`
	Reset []string       `json:"reset,omitempty"`
}

// GCOrder changes what is set; the others stay.
type GCOrder struct {
	KeepMillis *uint64 `json:"keep_millis,omitempty"`
	Paused     *bool   `json:"paused,omitempty"`
}

// GCSetting is how the safe points move by themselves.
type GCSetting struct {
	// KeepMillis is how far back reads stay possible.
	KeepMillis uint64 `json:"keep_millis"`
	// Paused: they do not move by themselves.
	Paused bool `json:"paused"`
}

// MembersOrder asks who takes part in placement itself, and who did.
type MembersOrder struct{}

// MemberOrder names a placement member.
type MemberOrder struct {
	Member shard.StoreID `json:"member"`
}

// MoveOrder moves a shard's replica from one store to another.
type MoveOrder struct {
	Shard shard.ID      `json:"shard"`
	From  shard.StoreID `json:"from"`
	To    shard.StoreID `json:"to"`
}

// ScatterOrder spreads the shards that share a key with [Start, End) over the stores: both are whole keys, with their mode.
type ScatterOrder struct {
	Shards []shard.ID `json:"shards,omitempty"`
	Start  shard.Key  `json:"start,omitempty"`
	End    shard.Key  `json:"end,omitempty"` // empty: the end of the keyspace
	// Range: Start and End say which shards, and not Shards.
	Range bool `json:"range,omitempty"`
}

// TransferOrder hands a shard's leadership to its voter on a store.
type TransferOrder struct {
	Shard shard.ID      `json:"shard"`
	To    shard.StoreID `json:"to"`
}

// StoreOrder names a store.
type StoreOrder struct {
	Store shard.StoreID `json:"store"`
	// Force: also where the rest cannot hold what is on it.
	Force bool `json:"force,omitempty"`
}

// LabelOrder gives a store labels, in place of those of the same keys; an empty value takes one away.
type LabelOrder struct {
	Store  shard.StoreID `json:"store"`
	Labels []Label       `json:"labels"`
}

// OperatorsOrder asks which operators there are.
type OperatorsOrder struct {
	ID      uint64   `json:"id,omitempty"`    // only this one
	Shard   shard.ID `json:"shard,omitempty"` // only those of this shard
	History bool     `json:"history,omitempty"`
}

// CancelOrder ends an operator; what is half done of it is undone.
type CancelOrder struct {
	ID uint64 `json:"id"`
}

// RulesOrder asks for the rules, or, with Set, gives others. With DryRun they are only checked.
type RulesOrder struct {
	Set json.RawMessage `json:"set,omitempty"`
}

// PauseOrder keeps the schedulers from beginning anything for a time; 0 ends that.
type PauseOrder struct {
	For time.Duration `json:"for_ns"`
}

// ExplainOrder asks why a shard or a store is as it is.
type ExplainOrder struct {
	Shard shard.ID      `json:"shard,omitempty"`
	Store shard.StoreID `json:"store,omitempty"`
}

// PlanOrder asks what would happen if a store left, or if empty ones came.
type PlanOrder struct {
	Without  shard.StoreID `json:"without,omitempty"`
	Add      int           `json:"add,omitempty"`
	AddBytes uint64        `json:"add_bytes,omitempty"` // the capacity of each; 0: as large as the largest
}

// Outcome answers an Order.
type Outcome struct {
	// Operators are those that were asked for, begun, or would be.
	Operators []Operator `json:"operators,omitempty"`
	// Lines say the rest in sentences for a person.
	Lines []string        `json:"lines,omitempty"`
	Rules json.RawMessage `json:"rules,omitempty"`
	// Paused is how long nothing is scheduled yet.
	Paused time.Duration `json:"paused_ns,omitempty"`
	Plan   *Plan         `json:"plan,omitempty"`
	// Members are all that there ever were, by number.
	Members []MemberStatus `json:"members,omitempty"`
	// SafePoints are those that hold now.
	SafePoints *SafePoints `json:"safe_points,omitempty"`
	// GC is the setting that holds now.
	GC *GCSetting `json:"gc,omitempty"`
	// Version is the version of the cluster.
	Version *VersionStatus `json:"version,omitempty"`
	// Settings are those of the cluster, by key.
	Settings setting.Values `json:"settings,omitempty"`
}

// MemberStatus is a placement member as people see it.
type MemberStatus struct {
	Member shard.StoreID `json:"member"`
	Addr   string        `json:"addr,omitempty"`
	State  string        `json:"state"` // voter, joining, leaving, removed
	Leader bool          `json:"leader,omitempty"`
	// Live: the leader hears it.
	Live bool `json:"live,omitempty"`
	// Step is what is done about it next, or what it waits for.
	Step string `json:"step,omitempty"`
}

// Operator is one plan of placement for one shard, as people see it.
type Operator struct {
	ID     uint64          `json:"id"` // 0: it would be begun
	Kind   string          `json:"kind"`
	Shard  shard.ID        `json:"shard"`
	State  string          `json:"state"` // planned, running, finished, cancelled, timed out, superseded
	Voters []shard.StoreID `json:"voters,omitempty"`
	Leader shard.StoreID   `json:"leader_store,omitempty"`
	Why    string          `json:"why"`
	Reason string          `json:"reason,omitempty"` // why it ended
	// Step is what is due next, or what it waits for.
	Step   string        `json:"step,omitempty"`
	Bytes  uint64        `json:"bytes,omitempty"`
	ByHand bool          `json:"by_hand,omitempty"`
	Age    time.Duration `json:"age_ns"`            // since it was begun
	Took   time.Duration `json:"took_ns,omitempty"` // from its beginning to its end
}

// Plan is what would happen, and how the stores would be filled in the end.
type Plan struct {
	// Possible: every shard would stand as it should.
	Possible  bool        `json:"possible"`
	Operators []PlanCount `json:"operators,omitempty"`
	Bytes     uint64      `json:"bytes"` // that would be copied
	Stores    []PlanStore `json:"stores"`
	// Unplaced are some of the shards that would not stand as they should; UnplacedCount is how many there are.
	Unplaced      []Unplaced `json:"unplaced,omitempty"`
	UnplacedCount int        `json:"unplaced_count,omitempty"`
	// Unfinished: it was given up after too many operators.
	Unfinished bool `json:"unfinished,omitempty"`
}

// PlanCount is how many operators of a kind.
type PlanCount struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Bytes uint64 `json:"bytes"`
}

// PlanStore is one store before and after; one that would be added has no id.
type PlanStore struct {
	Store        shard.StoreID `json:"store,omitempty"`
	New          bool          `json:"new,omitempty"`
	Shards       int           `json:"shards"`
	ShardsAfter  int           `json:"shards_after"`
	Leaders      int           `json:"leaders"`
	LeadersAfter int           `json:"leaders_after"`
	Bytes        uint64        `json:"bytes"`
	BytesAfter   uint64        `json:"bytes_after"`
	Capacity     uint64        `json:"capacity_bytes"`
}

// Unplaced is a shard that cannot be as it should.
type Unplaced struct {
	Shard shard.ID `json:"shard"`
	Why   string   `json:"why"`
}
