package main

import (
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

// role is what a node is started as.
type role string

const (
	roleServer    role = "server" // a store, and placement unless it only joins
	roleStore     role = "store"
	rolePlacement role = "placement"
)

// defaultDataDir is where a node keeps its data if nobody says otherwise.
const defaultDataDir = "skerry-data"

// nodeConfig turns settings into what a node is.
//
// A `skerry server` that names neither members nor a cluster to join is a cluster of its own: the only placement member,
// which begins by itself, and one replica of each shard. With --members it is one of several members, and with --join
// alone it brings a store and no member, unless it says --member or --replace.
func nodeConfig(r role, v *config.Values) (node.Config, error) {
	c := node.Config{Listen: v.Text(keyListen), Advertise: v.Text(keyAdvertise), DataDir: v.Text(keyData), Memory: v.Bool(keyMemory), Join: v.List(keyJoin)}
	if c.Memory && c.DataDir != "" {
		return c, settingsf("--memory and --data exclude each other; give one of them")
	}
	if !c.Memory && c.DataDir == "" {
		c.DataDir = defaultDataDir
	}
	var err error
	if c.TLS, err = nodeTLS(v); err != nil {
		return c, err
	}
	switch {
	case joinsAsMember(r, v):
		c.Placement = joinConfig(v)
	case r != roleStore && (r == rolePlacement || len(c.Join) == 0 || len(v.List(keyMembers)) > 0):
		if v.Bool(keyMember) || v.Number(keyReplace) != 0 {
			return c, settingsf("--member and --replace are for a node that joins: name nodes of the cluster with --join, and leave --members out")
		}
		p, err := placementConfig(r, v)
		if err != nil {
			return c, err
		}
		c.Placement = p
	}
	if p := c.Placement; p != nil {
		p.CheckEvery, p.CheckBytesPerSecond = v.Duration(keyCheckEvery), v.Size(keyCheckRate)
	}
	if r != rolePlacement {
		if c.Placement == nil && len(c.Join) == 0 {
			return c, settingsf("a store needs a cluster: name its placement members with --join host:4400")
		}
		c.Store = &node.StoreConfig{CacheBytes: cacheBytes(v), MemTableBytes: v.Size(keyMemTable), SnapshotBytesPerSecond: v.Size(keySnapshotRate),
			MemoryBudget: memoryBudget(v), CapacityBytes: v.Size(keyCapacity), LowSpace: v.Size(keyLowSpace), SplitBytes: orNever(v.Size(keySplitSize)), SplitWork: orNever(v.Number(keySplitLoad)),
			SlowOperation: orNever(v.Duration(keySlowOperation)), CheckEvery: v.Duration(keyCheckEvery), CheckBytesPerSecond: v.Size(keyCheckRate)}
	}
	return c, checkUnused(&c, v)
}

// joinsAsMember reports whether the node brings a new placement member to a cluster that runs.
func joinsAsMember(r role, v *config.Values) bool {
	return len(v.List(keyJoin)) > 0 && len(v.List(keyMembers)) == 0 && (r == rolePlacement || r == roleServer && (v.Bool(keyMember) || v.Number(keyReplace) != 0))
}

// joinConfig is a new member's. What the first members were told of the cluster is on record by then.
func joinConfig(v *config.Values) *node.PlacementConfig {
	return &node.PlacementConfig{CollectGarbage: true, Join: true, Replace: uint64(v.Number(keyReplace)), ID: uint64(v.Number(keyMemberID)), Bootstrap: v.Bool(keyBootstrap),
		DownAfter: v.Duration(keyDownAfter), Receiving: v.Number(keyMaxReceiving), Sending: v.Number(keyMaxSending)}
}

// orNever is a setting as node takes it, where zero is the default and not never.
func orNever[T ~int | ~int64](bound T) T {
	if bound == 0 {
		return -1
	}
	return bound
}

// memoryBudget is a part of the machine's memory, unless somebody chose it.
func memoryBudget(v *config.Values) int64 {
	if n := v.Size(keyMemoryBudget); n > 0 {
		return n
	}
	return node.DefaultMemoryBudget()
}

// cacheBytes is a part of the machine's memory, unless somebody chose it.
func cacheBytes(v *config.Values) int64 {
	if n := v.Size(keyCache); n > 0 {
		return n
	}
	return node.DefaultCacheBytes()
}

// minDownAfter leaves a store time to start again.
const minDownAfter = 10 * time.Second

func placementConfig(r role, v *config.Values) (*node.PlacementConfig, error) {
	split, err := splitKeys(v)
	if err != nil {
		return nil, err
	}
	p := &node.PlacementConfig{CollectGarbage: true, ID: uint64(v.Number(keyMemberID)), Bootstrap: v.Bool(keyBootstrap), Replicas: v.Number(keyReplicas),
		SplitKeys: split, Stores: v.Number(keyStores), DownAfter: v.Duration(keyDownAfter), Receiving: v.Number(keyMaxReceiving), Sending: v.Number(keyMaxSending)}
	if p.DownAfter < minDownAfter {
		return nil, settingsf("--down-after %s: at least %s, or a restart would cost a copy of everything", p.DownAfter, minDownAfter)
	}
	for _, text := range v.List(keyMembers) {
		id, addr, err := parseMember(text)
		if err != nil {
			return nil, err
		}
		if p.Members == nil {
			p.Members = make(map[uint64]string)
		}
		if p.Members[id] != "" {
			return nil, settingsf("--members names member %d twice; give each a number of its own", id)
		}
		p.Members[id] = addr
	}
	if len(p.Members) > 0 {
		return p, memberOf(p)
	}
	// The only member.
	if p.ID == 0 {
		p.ID = 1
	}
	if r == roleServer && !v.Given(keyBootstrap) {
		p.Bootstrap = true
	}
	if r == roleServer && p.Replicas == 0 {
		p.Replicas = 1
	}
	return p, nil
}

// memberOf checks that a member knows which of the members it is.
func memberOf(p *node.PlacementConfig) error {
	if p.ID == 0 {
		return settingsf("which of the members is this one? say --member-id, one of %v", slices.Sorted(maps.Keys(p.Members)))
	}
	if p.Members[p.ID] == "" {
		return settingsf("--member-id %d is not among --members, which has %v", p.ID, slices.Sorted(maps.Keys(p.Members)))
	}
	return nil
}

// checkUnused refuses settings of a part that this node does not have: they were meant for something.
func checkUnused(c *node.Config, v *config.Values) error {
	if c.Placement != nil {
		return nil
	}
	for _, key := range placementKeys {
		if o := v.Origin(key); o.Source == config.FromFlag {
			return settingsf("--%s is for placement members, and this node only joins (--join); give it to a member, or leave --join out", key)
		}
	}
	return nil
}

// splitKeys reads the keys from the list and the file, in order and each once.
func splitKeys(v *config.Values) ([]string, error) {
	texts := slices.Clone(v.List(keySplitKeys))
	if file := v.Text(keySplitKeysFile); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fault.Errorf(fault.BadFile, "split keys: %w; name a file that can be read (--split-keys-file)", err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				texts = append(texts, line)
			}
		}
	}
	var keys []string
	for _, text := range texts {
		k, err := output.Unescape(text)
		if err != nil {
			return nil, settingsf("split key %w", err)
		}
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// logger makes the log of a node, and what changes its level.
func logger(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar) {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // checked with the settings
	v := &slog.LevelVar{}
	v.Set(l)
	o := &slog.HandlerOptions{Level: v}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), v
	}
	return slog.New(slog.NewTextHandler(w, o)), v
}
