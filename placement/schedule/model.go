package schedule

import (
	"slices"

	"github.com/skerrydb/skerry/shard"
)

// model is a copy of a cluster in which operators take no time and always succeed.
type model struct {
	stores  []Store
	at      map[shard.StoreID]int
	shards  []Shard // in the order of keys
	byID    map[shard.ID]int
	rules   Rules
	replica shard.ReplicaID // handed out last
}

// newModel copies a view. Operators under way count as done, as they do in the view's stores.
func newModel(v *View) *model {
	m := &model{stores: slices.Clone(v.Stores), at: make(map[shard.StoreID]int), byID: make(map[shard.ID]int, v.Count), rules: v.Rules}
	for i := range m.stores {
		m.at[m.stores[i].ID] = i
		m.stores[i].Receiving, m.stores[i].Sending = 0, 0
	}
	v.Shards(nil, func(sh *Shard) bool {
		m.byID[sh.Desc.ID] = len(m.shards)
		m.shards = append(m.shards, *sh)
		for _, r := range sh.Desc.Replicas {
			m.replica = max(m.replica, r.ID)
		}
		return true
	})
	for i := range m.shards {
		if sh := &m.shards[i]; sh.Pending != nil {
			goal := *sh.Pending
			sh.Pending = nil
			m.settle(sh, goal.Voters, goal.Leader)
		}
	}
	return m
}

// view is a View of the model as it stands.
func (m *model) view() *View {
	return &View{Stores: m.stores, Count: len(m.shards), Rules: m.rules,
		Shards: func(from shard.Key, f func(*Shard) bool) {
			i, found := slices.BinarySearchFunc(m.shards, from, func(sh Shard, k shard.Key) int { return sh.Desc.Range.Start.Compare(k) })
			if !found && i > 0 && m.shards[i-1].Desc.Range.Contains(from) {
				i--
			}
			for ; i < len(m.shards) && f(&m.shards[i]); i++ {
			}
		},
		Lookup: func(id shard.ID) *Shard {
			if i, ok := m.byID[id]; ok {
				return &m.shards[i]
			}
			return nil
		}}
}

// apply carries out a proposal and keeps the counts of the stores.
func (m *model) apply(p Proposal) {
	sh := &m.shards[m.byID[p.Shard]]
	before := sh.Desc
	m.count(sh, -1)
	m.settle(sh, p.Goal.Voters, p.Goal.Leader)
	m.count(sh, 1)
	for _, r := range sh.Desc.Replicas {
		if i, ok := m.at[r.Store]; ok && !holds(before, r.Store) {
			m.stores[i].Free -= min(m.stores[i].Free, sh.Bytes)
		}
	}
	for _, r := range before.Replicas {
		if i, ok := m.at[r.Store]; ok && !holds(sh.Desc, r.Store) && m.stores[i].Capacity > 0 {
			m.stores[i].Free = min(m.stores[i].Capacity, m.stores[i].Free+sh.Bytes)
		}
	}
}

func holds(d *shard.Descriptor, id shard.StoreID) bool {
	_, ok := d.ReplicaOn(id)
	return ok
}

// settle makes voters (empty: as they are) the only replicas.
func (m *model) settle(sh *Shard, voters []shard.StoreID, leader shard.StoreID) {
	if len(voters) > 0 {
		d := &shard.Descriptor{ID: sh.Desc.ID, Range: sh.Desc.Range, Epoch: sh.Desc.Epoch}
		d.Epoch.ConfVer++
		for _, r := range sh.Desc.Replicas {
			if slices.Contains(voters, r.Store) {
				d.Replicas = append(d.Replicas, shard.Replica{ID: r.ID, Store: r.Store, Role: shard.Voter})
			}
		}
		for _, id := range voters {
			if !holds(sh.Desc, id) {
				m.replica++
				d.Replicas = append(d.Replicas, shard.Replica{ID: m.replica, Store: id, Role: shard.Voter})
			}
		}
		sh.Desc = d
	}
	if leader != 0 {
		sh.Leader = leader
	} else if !holds(sh.Desc, sh.Leader) {
		sh.Leader = sh.Desc.Replicas[0].Store
	}
}

// count adds a shard to the counts of its stores, or takes it out.
func (m *model) count(sh *Shard, sign int) {
	for _, r := range sh.Desc.Replicas {
		if i, ok := m.at[r.Store]; ok {
			m.stores[i].Shards += sign
			m.stores[i].Bytes += uint64(sign) * sh.Bytes
			m.stores[i].Work += float64(sign) * float64(sh.Follow)
		}
	}
	if i, ok := m.at[sh.Leader]; ok {
		m.stores[i].Leaders += sign
		m.stores[i].Work += float64(sign) * (float64(sh.Work) - float64(sh.Follow))
	}
}

// recount counts everything anew.
func (m *model) recount() {
	for i := range m.stores {
		m.stores[i].Shards, m.stores[i].Bytes, m.stores[i].Leaders = 0, 0, 0
		m.stores[i].Work = 0
	}
	for i := range m.shards {
		m.count(&m.shards[i], 1)
	}
}
