package node

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Where the members are. Each has a record of it in shard 1, which every member applies. A member that moved tells the
// leader; until that is heard, and while nobody leads, members look for each other at all addresses that they know.

const (
	// addrInterval lies between two looks at the records, and between two searches.
	addrInterval = time.Second
	// lonelyAfter is how long a member may hear no leader before it looks for the others and asks whether it was removed.
	lonelyAfter = 3 * time.Second
)

// membersRecord keeps the members' addresses in the placement directory, for a member that has no records yet, and for
// those that no record knows.
const membersRecord = "members"

// addresses is what a member knows of where the members are.
type addresses struct {
	current map[shard.StoreID]string // as the transport has them
	record  map[shard.StoreID]string // as shard 1 held them when it was last read
	// confirmed is where a member itself said that it is.
	confirmed map[shard.StoreID]string
	epoch     shard.Epoch // of the descriptor when the records were read
	looked    env.Time
	led       env.Time // when somebody was last known to lead
}

func newAddresses() addresses {
	return addresses{current: make(map[shard.StoreID]string), record: make(map[shard.StoreID]string), confirmed: make(map[shard.StoreID]string)}
}

// addr is where this member listens.
func (m *member) addr() string {
	c := m.n.cfg.Placement
	if a := c.Members[c.ID]; a != "" {
		return a
	}
	return m.n.addr
}

// configured are the members that this one was told at its start, itself included, nil if it joins. What a person has just
// written counts for more than what is remembered.
func (m *member) configured() map[shard.StoreID]string {
	c := m.n.cfg.Placement
	if c.Join {
		return nil
	}
	out := make(map[shard.StoreID]string)
	for _, id := range slices.Sorted(maps.Keys(c.Members)) {
		out[shard.StoreID(id)] = c.Members[id]
	}
	out[shard.StoreID(c.ID)] = m.addr()
	maps.Copy(m.current, out)
	return out
}

// take takes members' addresses from somebody who knows.
func (m *member) take(list []beat.Member) {
	for _, b := range list {
		if b.Addr != "" {
			m.current[b.Store] = b.Addr
		}
	}
}

// remember reads the addresses of an earlier life: those that were kept, and those in the records of shard 1. d is that as
// the directory holds it, nil if it does not.
func (m *member) remember(d *shard.Descriptor) error {
	b, ok, err := m.engine.Record(membersRecord)
	if err != nil {
		return fmt.Errorf("read record %s: %w", membersRecord, err)
	}
	if ok {
		d := codec.Decoder{B: b}
		d.Version(1)
		for range d.Count(2) {
			id := shard.StoreID(d.Uvarint())
			m.current[id] = d.String()
		}
		if err := d.Done(); err != nil {
			return fmt.Errorf("record %s: %w", membersRecord, err)
		}
	}
	if d == nil {
		return nil
	}
	for _, r := range d.Replicas {
		addr, err := placement.MemberAddr(m.engine.Get, r.Store)
		if err != nil {
			return fmt.Errorf("record of member %d: %w", uint64(r.Store), err)
		}
		if addr != "" {
			m.current[r.Store], m.record[r.Store] = addr, addr
		}
	}
	return nil
}

func (m *member) save() error {
	b := codec.AppendUvarint([]byte{1}, uint64(len(m.current)))
	for _, id := range slices.Sorted(maps.Keys(m.current)) {
		b = codec.AppendString(codec.AppendUvarint(b, uint64(id)), m.current[id])
	}
	if err := m.engine.SetRecord(membersRecord, b); err != nil {
		return fmt.Errorf("write record %s: %w", membersRecord, err)
	}
	return nil
}

// followAddrs looks at the records now and again, and at once when the members changed.
func (m *member) followAddrs() {
	now := m.n.env.Now()
	if m.led == 0 || m.store.Leader(shard.MetaID).ID != 0 {
		m.led = now
	}
	d, err := m.store.Descriptor(shard.MetaID)
	if err != nil {
		d = &shard.Descriptor{}
	}
	if now.Sub(m.looked) < addrInterval && d.Epoch == m.epoch {
		return
	}
	m.looked, m.epoch = now, d.Epoch
	if err := m.readVersion(); err != nil {
		m.n.broken(err)
		return
	}
	m.store.HearVersion(m.engine.Version())
	settings, err := placement.SettingsOf(m.engine.Get)
	if err != nil {
		m.n.broken(fmt.Errorf("settings of the cluster: %w", err))
		return
	}
	m.n.hearSettings(settings)
	if err := m.readAddrs(d); err != nil {
		m.n.broken(err)
		return
	}
	m.tellAddr(now)
	m.search(d, now)
}

// readAddrs takes up what changed in the records since they were last read: what they held before may be older than what
// this member was told at its start.
func (m *member) readAddrs(d *shard.Descriptor) error {
	was := maps.Clone(m.current)
	for _, r := range d.Replicas {
		addr, err := placement.MemberAddr(m.engine.Get, r.Store)
		if err != nil {
			return fmt.Errorf("record of member %d: %w", uint64(r.Store), err)
		}
		if addr != "" && (addr != m.record[r.Store] || m.current[r.Store] == "") {
			m.record[r.Store] = addr
			m.set(r.Store, addr)
		}
	}
	if len(d.Replicas) > 0 {
		// No members any more. What a person wrote stays known to search.
		maps.DeleteFunc(m.current, func(id shard.StoreID, _ string) bool {
			_, ok := d.ReplicaOn(id)
			return !ok && id != m.self
		})
	}
	if maps.Equal(was, m.current) {
		return nil
	}
	m.n.dir.settle(memberList(m.current))
	return m.save()
}

func (m *member) set(id shard.StoreID, addr string) {
	m.current[id] = addr
	m.transport.SetAddr(id, addr)
	m.n.dir.learn([]beat.Member{{Store: id, Addr: addr}})
}

// tellAddr tells placement's leader where this member is if the record says otherwise. One that has heard no leader for a
// while asks also to hear whether it was removed: those that are left may not know where it is.
func (m *member) tellAddr(now env.Time) {
	lonely := now.Sub(m.led) > lonelyAfter
	if m.record[m.self] == m.addr() && !lonely {
		return
	}
	token, err := tokenOf(m.n.env, m.engine)
	if err != nil {
		m.n.broken(err)
		return
	}
	ident, _, err := m.engine.Ident()
	if err != nil || ident.Cluster == 0 {
		return // the first of all members, who have elected nobody yet
	}
	_, err = m.ask(beat.Candidate{Cluster: ident.Cluster, Member: m.self, Token: token, Addr: m.addr(), Versions: version.Ours(), Began: true})
	if invalid(err) {
		m.end(fmt.Errorf("member %d cannot go on: %w", uint64(m.self), err))
	} else if err != nil {
		m.waits.info("placement's leader does not know where this member is", "member", uint64(m.self), "err", err)
	}
}

// search asks the nodes at all addresses that are known of a member which of them is right, until one answers: what a person
// wrote may be newer than the record, or older. While nobody leads it asks wherever a member was known.
func (m *member) search(d *shard.Descriptor, now env.Time) {
	var at []string
	add := func(addr string) {
		if addr != "" && addr != m.addr() && !slices.Contains(at, addr) {
			at = append(at, addr)
		}
	}
	c := m.n.cfg.Placement
	for _, r := range d.Replicas {
		known := slices.DeleteFunc([]string{m.current[r.Store], m.record[r.Store], c.Members[uint64(r.Store)]}, func(a string) bool { return a == "" })
		if r.Store == m.self || len(slices.Compact(slices.Sorted(slices.Values(known)))) < 2 || m.confirmed[r.Store] == m.current[r.Store] {
			continue
		}
		for _, addr := range known {
			add(addr)
		}
	}
	lonely := now.Sub(m.led) > lonelyAfter
	if lonely {
		for _, addr := range m.n.dir.list() {
			add(addr)
		}
	}
	for i := 0; i < min(len(at), maxVisits); i++ {
		others := m.visit(at[i])
		if lonely { // it may know where others are by now
			for _, addr := range others {
				add(addr)
			}
		}
	}
}

// maxVisits bounds one search: members, where they were, and where somebody else thinks that they are.
const maxVisits = 32

// visit asks a node whether it is the one where a member is, and returns where it believes the members to be.
func (m *member) visit(addr string) []string {
	ctx, cancel := m.n.env.WithTimeout(m.n.ctx, callTimeout)
	defer cancel()
	info, err := m.n.wire.Node(ctx, addr)
	ident, _, err2 := m.engine.Ident()
	switch {
	case err != nil, err2 != nil, info.Member == 0, info.Member == m.self, info.Cluster != 0 && ident.Cluster != 0 && info.Cluster != ident.Cluster:
	default:
		if m.current[info.Member] != addr {
			m.n.log.Info("member found at another address", "member", uint64(info.Member), "addr", addr)
			m.set(info.Member, addr)
		}
		m.confirmed[info.Member] = addr
	}
	return info.Members
}
