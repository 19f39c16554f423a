// Package placementsim runs the real schedulers over a synthetic cluster: a thousand stores, a million shards, and
// simulated seconds in which snapshots take as long as their bytes, operators sometimes fail half way, stores are lost
// and come, and what happened reaches placement with a heartbeat. No store runs, no byte is copied.
//
// It asks what a test of single decisions cannot: whether the cluster becomes even, whether it then rests, how many
// bytes that takes beside what is necessary, and what a call of Propose costs.
package placementsim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// Config is a synthetic cluster. Its stores stand in Zones zones, in racks of RackStores.
type Config struct {
	Stores, Shards, Zones, RackStores int
	Replicas                          int
	// Capacity of store i in bytes.
	Capacity func(i int) uint64
	// Bytes of a shard, drawn once.
	Bytes func(r *rand.Rand) uint64
	// Work of a shard's leader in a second, drawn once; nil: nothing is asked for. leader is the store that leads it at first.
	Work func(r *rand.Rand, leader int) float64
	// FailurePercent is how many of a hundred operators end half way.
	FailurePercent int
	Seed           uint64
}

// What things take in the simulated world.
const (
	bandwidthBytes = 64 << 20 // a second, of one snapshot
	stepSeconds    = 3        // for the steps of a move beside its copy
	leaderSeconds  = 1
	reportSeconds  = 1 // until a heartbeat tells placement
	beginsPerCall  = 1024
	followParts    = 10 // of a leader's work that each follower has: a tenth of it is writes
	firstStore     = shard.StoreID(1001)
	firstShard     = shard.ID(100_000)
)

// World is a cluster at one simulated second.
type World struct {
	cfg    Config
	rand   *rand.Rand
	now    int // seconds
	stores []schedule.Store
	shards []schedule.Shard
	rules  schedule.Rules
	sched  *schedule.Scheduler
	ends   endings
	nextID shard.ReplicaID
	Tally  Tally
	judge  judge
}

// New builds a cluster in which every store of a zone holds the same number of replicas, give or take one.
func New(cfg Config) *World {
	w := &World{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 7)), nextID: 1 << 32, sched: schedule.New(cfg.Seed, schedule.Limits{})}
	w.rules = schedule.Rules{Replicas: cfg.Replicas, Isolation: []string{"zone", "rack", "host"}}
	for range cfg.Stores {
		w.addStore()
	}
	w.place()
	w.judge = judge{world: w}
	return w
}

func (w *World) addStore() {
	i := len(w.stores)
	zone := i % w.cfg.Zones
	rack := i / w.cfg.Zones / w.cfg.RackStores
	w.stores = append(w.stores, schedule.Store{ID: firstStore + shard.StoreID(i), Capacity: w.cfg.Capacity(i), Free: w.cfg.Capacity(i),
		Labels: []schedule.Label{{Key: "host", Value: fmt.Sprint("h", i)}, {Key: "rack", Value: fmt.Sprint("r", rack)}, {Key: "zone", Value: fmt.Sprint("z", zone)}}})
}

// place deals the replicas of each shard to different zones, the stores of each zone in an order of their own that is
// shuffled again after each turn. A store with twice the capacity comes twice.
func (w *World) place() {
	deck := make([][]shard.StoreID, w.cfg.Zones)
	unit := w.stores[0].Capacity
	for i := range w.stores {
		unit = min(unit, w.stores[i].Capacity)
	}
	deal := func(zone int) shard.StoreID {
		if len(deck[zone]) == 0 {
			for i := zone; i < len(w.stores); i += w.cfg.Zones {
				for range max(1, w.stores[i].Capacity/max(1, unit)) {
					deck[zone] = append(deck[zone], w.stores[i].ID)
				}
			}
			w.rand.Shuffle(len(deck[zone]), func(a, b int) { deck[zone][a], deck[zone][b] = deck[zone][b], deck[zone][a] })
		}
		last := len(deck[zone]) - 1
		id := deck[zone][last]
		deck[zone] = deck[zone][:last]
		return id
	}
	w.shards = make([]schedule.Shard, w.cfg.Shards)
	for i := range w.shards {
		d := &shard.Descriptor{ID: firstShard + shard.ID(i), Range: w.rangeOf(i), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
		for r := range w.cfg.Replicas {
			w.nextID++
			d.Replicas = append(d.Replicas, shard.Replica{ID: w.nextID, Store: deal((i + r) % w.cfg.Zones), Role: shard.Voter})
		}
		sh := &w.shards[i]
		*sh = schedule.Shard{Desc: d, Bytes: w.cfg.Bytes(w.rand), Leader: d.Replicas[0].Store}
		for _, r := range d.Replicas[1:] {
			if w.store(r.Store).Leaders < w.store(sh.Leader).Leaders {
				sh.Leader = r.Store
			}
		}
		if cfg := w.cfg; cfg.Work != nil {
			work := cfg.Work(w.rand, int(sh.Leader-firstStore))
			sh.Work, sh.Follow = schedule.Busy(work, work/followParts)
		}
		w.count(sh, 1)
		for _, r := range d.Replicas {
			w.store(r.Store).Free -= min(w.store(r.Store).Free, sh.Bytes)
		}
	}
}

func (w *World) rangeOf(i int) (r shard.Range) {
	if i > 0 {
		r.Start = keyOf(i)
	}
	if i < w.cfg.Shards-1 {
		r.End = keyOf(i + 1)
	}
	return r
}

func keyOf(i int) shard.Key {
	return binary.BigEndian.AppendUint32(shard.Key{byte(shard.ModeRaw)}, uint32(i))
}

func (w *World) store(id shard.StoreID) *schedule.Store { return &w.stores[id-firstStore] }

func (w *World) shard(id shard.ID) *schedule.Shard { return &w.shards[id-firstShard] }

// View is what placement sees. It shares the world's memory.
func (w *World) View() *schedule.View {
	return &schedule.View{Stores: w.stores, Count: len(w.shards), Rules: w.rules, Now: time.Duration(w.now) * time.Second, Lookup: w.shard,
		Shards: func(from shard.Key, f func(*schedule.Shard) bool) {
			i := 0
			if len(from) == 5 {
				i = int(binary.BigEndian.Uint32(from[1:]))
			}
			for ; i < len(w.shards) && f(&w.shards[i]); i++ {
			}
		}}
}

// willHold are the stores that a shard has replicas on when its operator has ended.
func willHold(sh *schedule.Shard) []shard.StoreID {
	if sh.Pending != nil && len(sh.Pending.Voters) > 0 {
		return sh.Pending.Voters
	}
	var ids []shard.StoreID
	for _, r := range sh.Desc.Replicas {
		ids = append(ids, r.Store)
	}
	return ids
}

// willLead is the store that leads a shard when its operator has ended.
func willLead(sh *schedule.Shard) shard.StoreID {
	if sh.Pending != nil && sh.Pending.Leader != 0 {
		return sh.Pending.Leader
	}
	return sh.Leader
}

// count adds a shard to what its stores will have, or takes it out.
func (w *World) count(sh *schedule.Shard, sign int) {
	for _, id := range willHold(sh) {
		s := w.store(id)
		s.Shards += sign
		s.Bytes += uint64(sign) * sh.Bytes
		s.Work += float64(sign) * float64(sh.Follow)
	}
	if lead := willLead(sh); lead != 0 {
		s := w.store(lead)
		s.Leaders += sign
		s.Work += float64(sign) * (float64(sh.Work) - float64(sh.Follow))
	}
}

// set changes a store's state. The shards that it leads elect another of their voters that answers.
func (w *World) set(id shard.StoreID, state schedule.State) {
	w.store(id).State = state
	if state != schedule.Down && state != schedule.Removed {
		return
	}
	for i := range w.shards {
		sh := &w.shards[i]
		if sh.Leader != id {
			continue
		}
		w.count(sh, -1)
		for _, r := range sh.Desc.Replicas {
			if r.Role != shard.Learner && alive(w.store(r.Store)) {
				sh.Leader = r.Store
				break
			}
		}
		w.count(sh, 1)
	}
}

func alive(s *schedule.Store) bool { return s.State == schedule.Up || s.State == schedule.Draining }

// voters are the stores of a shard's voters as its last report shows them.
func voters(d *shard.Descriptor) []shard.StoreID {
	var ids []shard.StoreID
	for _, r := range d.Replicas {
		if r.Role == shard.Voter || r.Role == shard.IncomingVoter {
			ids = append(ids, r.Store)
		}
	}
	slices.Sort(ids)
	return ids
}
