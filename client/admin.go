package client

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Admin is a cluster as administrators see it. Nothing is taken from the cache of routes: every call asks.
type Admin struct {
	db  *DB
	dry bool // see DryRun
}

// Admin returns the administrator's calls.
func (db *DB) Admin() *Admin { return &Admin{db: db} }

// StoreInfo is a store as placement knows it.
type StoreInfo struct {
	ID                   shard.StoreID
	Addr                 string
	State                string // up, suspect, down, draining, removed
	SeenAgo              time.Duration
	Used, Free, Capacity uint64 // bytes of its disk
	// Shards is how many replicas it holds, by its own word or by that of their leaders, whichever is more.
	Shards, Leaders int
	Version         string // of its binary
	// Unheard: placement has a new leader, to which the store has not reported yet. What only the store could say of itself,
	// its leaderships, disk and version, is not known.
	Unheard bool
	// Draining: an administrator wants it empty, whatever State it is in.
	Draining bool
	// Evicting: an administrator wants it to lead nothing.
	Evicting bool
	Labels   []Label // by key
	Bytes    uint64  // of all replicas on it, about
	SlowDisk bool    // against the others'
	SlowNet  bool    // it is reached slowly, against the others
}

// Label is one label of a store.
type Label = beat.Label

// MemberInfo is a member of the placement driver.
type MemberInfo struct {
	Store   shard.StoreID
	Replica shard.ReplicaID
	Addr    string
	Leader  bool
}

// ShardInfo is a shard as placement knows it.
type ShardInfo struct {
	ID shard.ID
	// Range is in whole keys, each with its mode byte first; Users is its part that holds users' keys.
	Range    shard.Range
	Users    Range
	HasUsers bool // false: the shard holds no users' keys
	Epoch    shard.Epoch
	Replicas []shard.Replica
	// Leader is zero if it is not known.
	Leader  shard.Replica
	Term    uint64
	Applied uint64
	// Bytes is about the size of its data, keys and values as they are; 0 if it was not measured yet.
	Bytes uint64
	// Reads and Writes are what it is asked for in a second, about, as its leader said some seconds ago.
	Reads, Writes float32
}

// ReplicaInfo is a replica as its own store sees it.
type ReplicaInfo struct {
	Store   shard.StoreID
	Replica shard.ReplicaID
	Role    string
	Epoch   shard.Epoch
	Leading bool
	Asleep  bool
	Leader  shard.Replica // whom it believes to lead; zero: nobody
	Term    uint64
	// Applied ≤ Committed ≤ Last are indexes of its log; Truncated is the last index that it no longer holds.
	Applied, Committed, Last, Truncated uint64
	LogBytes                            int64
	// Followers is the leader's picture of the others.
	Followers []FollowerInfo
	// Err says why the store could not be asked; then only Store, Replica and Role are set.
	Err error
}

// FollowerInfo is how far a replica is, as its leader sees it.
type FollowerInfo struct {
	Replica shard.ReplicaID
	Match   uint64
	State   string
	Active  bool
}

// Stores lists the stores in the order of their ids.
func (a *Admin) Stores(ctx context.Context) ([]StoreInfo, error) {
	r, err := a.locate(ctx, "list stores", nil, 1)
	if err != nil {
		return nil, err
	}
	out := make([]StoreInfo, 0, len(r.Stores))
	for _, s := range r.Stores {
		out = append(out, StoreInfo{ID: s.ID, Addr: s.Addr, State: s.State.String(), SeenAgo: s.SeenAgo, Used: s.Used,
			Free: s.Free, Capacity: s.Capacity, Shards: s.Shards, Leaders: s.Leaders, Version: s.Version,
			Draining: s.Draining, Evicting: s.Evicting, Unheard: s.Unheard, Labels: s.Labels, Bytes: s.Bytes, SlowDisk: s.SlowDisk, SlowNet: s.SlowNet})
	}
	slices.SortFunc(out, func(x, y StoreInfo) int { return compareIDs(x.ID, y.ID) })
	return out, nil
}

// Members lists the members of the placement driver.
func (a *Admin) Members(ctx context.Context) ([]MemberInfo, error) {
	r, err := a.locate(ctx, "list members", nil, 1)
	if err != nil {
		return nil, err
	}
	members := r.Members
	if len(members) == 0 {
		members = a.db.place.memberList()
	}
	out := make([]MemberInfo, 0, len(members))
	for _, m := range members {
		out = append(out, MemberInfo(m))
	}
	slices.SortFunc(out, func(x, y MemberInfo) int { return compareIDs(x.Store, y.Store) })
	return out, nil
}

func compareIDs[T ~uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Shards yields all shards in the order of their keys. An error ends it.
func (a *Admin) Shards(ctx context.Context) iter.Seq2[ShardInfo, error] {
	return func(yield func(ShardInfo, error) bool) {
		for from := shard.Key(nil); ; {
			r, err := a.locate(ctx, "list shards", from, locateRoutes)
			if err != nil {
				yield(ShardInfo{}, err)
				return
			}
			moved := false
			for i := range r.Routes {
				d := r.Routes[i].Desc
				if len(d.Range.End) != 0 && d.Range.End.Compare(from) <= 0 {
					continue // yielded already
				}
				if !yield(shardInfo(&r.Routes[i]), nil) || len(d.Range.End) == 0 {
					return
				}
				from, moved = d.Range.End, true
			}
			if !moved {
				return
			}
		}
	}
}

// Shard describes the shard that holds a user's key.
func (a *Admin) Shard(ctx context.Context, key []byte) (ShardInfo, error) {
	k := shard.RawKey(key)
	r, err := a.locate(ctx, "look up shard", k, 1)
	if err != nil {
		return ShardInfo{}, err
	}
	for i := range r.Routes {
		if r.Routes[i].Desc.Range.Contains(k) {
			return shardInfo(&r.Routes[i]), nil
		}
	}
	return ShardInfo{}, refuse("look up shard", key, ErrNoShard, "placement knows no shard that holds this key", "wait for the cluster to be set up")
}

// ShardByID describes a shard, or returns ErrNoShard. It looks through all of them if the client does not know where the shard lies.
func (a *Admin) ShardByID(ctx context.Context, id shard.ID) (ShardInfo, error) {
	if rt, ok := a.db.routes.get(id); ok {
		r, err := a.locate(ctx, "look up shard", rt.desc.Range.Start, 1)
		if err != nil {
			return ShardInfo{}, err
		}
		for i := range r.Routes {
			if r.Routes[i].Desc.ID == id {
				return shardInfo(&r.Routes[i]), nil
			}
		}
	}
	for s, err := range a.Shards(ctx) {
		if err != nil || s.ID == id {
			return s, err
		}
	}
	return ShardInfo{}, refuse("look up shard "+id.String(), nil, ErrNoShard, "placement does not know it", "list them with `skerry ctl shard list`")
}

func shardInfo(r *beat.Route) ShardInfo {
	s := ShardInfo{ID: r.Desc.ID, Range: r.Desc.Range, Epoch: r.Desc.Epoch, Replicas: slices.Clone(r.Desc.Replicas), Term: r.Term, Applied: r.Applied, Bytes: r.Bytes, Reads: r.Reads, Writes: r.Writes}
	s.Users, s.HasUsers = userRange(r.Desc.Range)
	s.Leader, _ = r.Desc.Replica(r.Leader)
	return s
}

// locate asks placement until it answers.
func (a *Admin) locate(ctx context.Context, op string, key shard.Key, limit int) (*beat.Routes, error) {
	e := a.db.begin(ctx, op, nil)
	for {
		if stop := e.over(); stop != nil {
			return nil, e.stopped(stop)
		}
		r, err := a.db.place.locate(ctx, key, limit)
		if err == nil {
			r.Routes = slices.DeleteFunc(r.Routes, func(rt beat.Route) bool { return rt.Desc == nil })
			return r, nil
		}
		if stop := e.pause(noRoute, err, 0); stop != nil {
			return nil, e.stopped(stop)
		}
	}
}

// Replicas asks every store of a shard about its replica. A store that does not answer has its Err set.
func (a *Admin) Replicas(ctx context.Context, id shard.ID) ([]ReplicaInfo, error) {
	s, err := a.ShardByID(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]ReplicaInfo, len(s.Replicas))
	parallel(a.db.env, len(out), func(i int) { out[i] = a.replica(ctx, id, s.Replicas[i]) })
	return out, nil
}

func (a *Admin) replica(ctx context.Context, id shard.ID, rep shard.Replica) ReplicaInfo {
	out := ReplicaInfo{Store: rep.Store, Replica: rep.ID, Role: rep.Role.String()}
	addr, ok := a.db.routes.address(rep.Store)
	if !ok {
		out.Err = fmt.Errorf("the address of %s is not known", rep.Store)
		return out
	}
	c, sc := a.db.scopes.enter(ctx, a.db.env.Now().Add(askTimeout))
	infos, err := a.db.conn.Replicas(c, addr, id)
	a.db.scopes.leave(sc)
	if err != nil {
		out.Err = err
		return out
	}
	for i := range infos {
		if infos[i].Store == rep.Store {
			return replicaInfo(&infos[i], rep.Role)
		}
	}
	out.Err = &shard.NotFoundError{Shard: id, Store: rep.Store}
	return out
}

func replicaInfo(i *rpc.ReplicaInfo, role shard.Role) ReplicaInfo {
	out := ReplicaInfo{Store: i.Store, Replica: i.Replica, Role: role.String(), Leading: i.Leading, Asleep: i.Asleep, Leader: i.Leader,
		Term: i.Term, Applied: i.Applied, Committed: i.Committed, Last: i.Last, Truncated: i.Truncated, LogBytes: i.LogBytes}
	if i.Desc != nil {
		out.Epoch = i.Desc.Epoch
		if own, ok := i.Desc.Replica(i.Replica); ok {
			out.Role = own.Role.String()
		}
	}
	for _, f := range i.Followers {
		out.Followers = append(out.Followers, FollowerInfo(f))
	}
	return out
}

// TransferLeader hands a shard's leadership to its replica on another store, and returns once that has begun. It may be
// asked for again without harm.
func (a *Admin) TransferLeader(ctx context.Context, id shard.ID, to shard.StoreID) error {
	op := fmt.Sprintf("transfer leader of %s to %s", id, to)
	s, err := a.ShardByID(ctx, id)
	if err != nil {
		return err
	}
	e := a.db.begin(ctx, op, nil)
	rt := route{desc: &shard.Descriptor{ID: s.ID, Range: s.Range, Epoch: s.Epoch, Replicas: s.Replicas}, lead: lead{leader: s.Leader}}
	for {
		if stop := e.over(); stop != nil {
			return e.stopped(stop)
		}
		from := e.pick(&rt, false)
		addr, ok, stop := e.reach(from)
		if stop != nil {
			return e.stopped(stop)
		}
		if !ok {
			rt.leader = shard.Replica{}
			continue
		}
		if err = a.transfer(&e, addr, id, to, from.Store); err == nil {
			return nil
		}
		if isRejected(err) {
			return e.rejected(err)
		}
		if stop := e.learn(&rt, from, err); stop != nil {
			return e.stopped(stop)
		}
	}
}

func (a *Admin) transfer(e *effort, addr string, id shard.ID, to, from shard.StoreID) error {
	e.attempts++
	e.shard, e.store = id, from
	c, sc := a.db.scopes.enter(e.ctx, e.now.Add(askTimeout))
	defer a.db.scopes.leave(sc)
	return a.db.conn.TransferLeader(c, addr, id, to)
}

// RemoveStore declares a store gone for good: its replicas are replaced on other stores, one step after the other, and
// its id never comes back. It returns when placement has recorded it; Stores and Shards show how far the repair is.
// Calling it again is harmless. It is refused with ErrInvalid for an unknown store, and for a live one whose replicas
// no other store could take.
func (a *Admin) RemoveStore(ctx context.Context, id shard.StoreID) error {
	e := a.db.begin(ctx, fmt.Sprintf("remove %s", id), nil)
	for {
		if stop := e.over(); stop != nil {
			return e.stopped(stop)
		}
		err := a.db.place.ask(ctx, func(ctx context.Context, addr string) error { return a.db.conn.RemoveStore(ctx, addr, id) })
		if err == nil {
			return nil
		}
		if isRejected(err) || isForeign(err) {
			return e.rejected(err)
		}
		if stop := e.pause(noRoute, err, 0); stop != nil {
			return e.stopped(stop)
		}
	}
}
