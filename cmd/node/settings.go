package node

import (
	"log/slog"
	"sync"

	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard/beat"
)

// nodeSettings are the settings of the cluster as this node last heard them, from the answers to its store's heartbeats or,
// with a placement member, from its replica of shard 1. Where they say nothing, the node goes by what it was told at its
// start. Safe for concurrent use; mu is a leaf.
type nodeSettings struct {
	mu    sync.Mutex
	heard beat.Settings
	level slog.Level // as told at the start
}

func (s *nodeSettings) begin(c *Config) {
	if c.LogLevel != nil {
		s.level = c.LogLevel.Level()
	}
}

// hearSettings takes the settings of the cluster, unless newer ones were heard.
func (n *Node) hearSettings(heard beat.Settings) {
	s := &n.settings
	s.mu.Lock()
	if heard.Revision <= s.heard.Revision {
		s.mu.Unlock()
		return
	}
	s.heard = heard
	level := s.level
	if text := heard.Values.Text(setting.LogLevel, ""); text != "" {
		_ = level.UnmarshalText([]byte(text)) // checked by Text
	}
	if n.cfg.LogLevel != nil {
		n.cfg.LogLevel.Set(level)
	}
	s.mu.Unlock()
	n.log.Info("settings of the cluster", "revision", heard.Revision, "settings", heard.Values)
	if n.store != nil {
		n.store.goBySettings()
	}
}

// goBySettings gives the store the bounds that the settings say.
func (a *storeAgent) goBySettings() {
	store, c := a.open(), a.n.cfg.Store
	if store == nil {
		return // it is opened with them
	}
	a.n.settings.mu.Lock()
	defer a.n.settings.mu.Unlock()
	store.SetBounds(c.bounds(a.n.settings.heard.Values))
}

// bounds are a store's, as it was told where nothing was set.
func (c *StoreConfig) bounds(v setting.Values) raftstore.Bounds {
	return raftstore.Bounds{
		SlowOperation:          v.Duration(setting.SlowOperation, c.slowOperation()),
		SnapshotBytesPerSecond: v.Size(setting.SnapshotRate, c.SnapshotBytesPerSecond),
		SplitBytes:             uint64(v.Size(setting.SplitSize, int64(c.splitBytes()))),
		SplitWork:              float64(v.Number(setting.SplitLoad, int(c.splitWork()))),
	}
}
