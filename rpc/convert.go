package rpc

import (
	"time"

	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/internal/version"
	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// The two forms of what stores and placement say: values of shard and beat inside, messages on the wire.

func epochTo(e shard.Epoch) *placementv1.Epoch {
	return &placementv1.Epoch{ConfVer: e.ConfVer, Version: e.Version}
}

func epochFrom(e *placementv1.Epoch) shard.Epoch {
	return shard.Epoch{ConfVer: e.GetConfVer(), Version: e.GetVersion()}
}

func descTo(d *shard.Descriptor) *placementv1.Descriptor {
	if d == nil {
		return nil
	}
	out := &placementv1.Descriptor{Id: uint64(d.ID), Start: d.Range.Start, End: d.Range.End, Epoch: epochTo(d.Epoch)}
	for _, r := range d.Replicas {
		out.Replicas = append(out.Replicas, &placementv1.Replica{Id: uint64(r.ID), StoreId: uint64(r.Store), Role: uint32(r.Role)})
	}
	return out
}

func descFrom(d *placementv1.Descriptor) *shard.Descriptor {
	if d == nil {
		return nil
	}
	out := &shard.Descriptor{ID: shard.ID(d.GetId()), Range: shard.Range{Start: d.GetStart(), End: d.GetEnd()}, Epoch: epochFrom(d.GetEpoch())}
	for _, r := range d.GetReplicas() {
		out.Replicas = append(out.Replicas, shard.Replica{ID: shard.ReplicaID(r.GetId()), Store: shard.StoreID(r.GetStoreId()), Role: shard.Role(r.GetRole())})
	}
	return out
}

func convert[A, B any](in []A, f func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i := range in {
		out[i] = f(in[i])
	}
	return out
}

func storeTo(s beat.Store) *placementv1.Store {
	return &placementv1.Store{Id: uint64(s.ID), Addr: s.Addr, State: uint32(s.State), SeenAgoMs: s.SeenAgo.Milliseconds(),
		UsedBytes: s.Used, FreeBytes: s.Free, CapacityBytes: s.Capacity, Shards: int64(s.Shards), Leaders: int64(s.Leaders),
		Incarnation: s.Incarnation, Version: s.Version, Draining: s.Draining, Evicting: s.Evicting, Unheard: s.Unheard, SizeBytes: s.Bytes, SlowDisk: s.SlowDisk, SlowNet: s.SlowNet,
		Labels: convert(s.Labels, func(l beat.Label) *placementv1.Label { return &placementv1.Label{Key: l.Key, Value: l.Value} })}
}

func storeFrom(s *placementv1.Store) beat.Store {
	return beat.Store{ID: shard.StoreID(s.GetId()), Addr: s.GetAddr(), State: beat.State(s.GetState()),
		SeenAgo: time.Duration(s.GetSeenAgoMs()) * time.Millisecond, Used: s.GetUsedBytes(), Free: s.GetFreeBytes(),
		Capacity: s.GetCapacityBytes(), Shards: int(s.GetShards()), Leaders: int(s.GetLeaders()),
		Incarnation: s.GetIncarnation(), Version: s.GetVersion(), Draining: s.GetDraining(), Evicting: s.GetEvicting(), Unheard: s.GetUnheard(), Bytes: s.GetSizeBytes(), SlowDisk: s.GetSlowDisk(), SlowNet: s.GetSlowNet(),
		Labels: convert(s.GetLabels(), func(l *placementv1.Label) beat.Label { return beat.Label{Key: l.GetKey(), Value: l.GetValue()} })}
}

func memberTo(m beat.Member) *placementv1.Member {
	return &placementv1.Member{StoreId: uint64(m.Store), ReplicaId: uint64(m.Replica), Addr: m.Addr, Leader: m.Leader}
}

func memberFrom(m *placementv1.Member) beat.Member {
	return beat.Member{Store: shard.StoreID(m.GetStoreId()), Replica: shard.ReplicaID(m.GetReplicaId()), Addr: m.GetAddr(), Leader: m.GetLeader()}
}

func routeTo(r beat.Route) *placementv1.Route {
	return &placementv1.Route{Descriptor_: descTo(r.Desc), Leader: uint64(r.Leader), Term: r.Term, Applied: r.Applied, SizeBytes: r.Bytes, Reads: r.Reads, Writes: r.Writes}
}

func routeFrom(r *placementv1.Route) beat.Route {
	return beat.Route{Desc: descFrom(r.GetDescriptor_()), Leader: shard.ReplicaID(r.GetLeader()), Term: r.GetTerm(), Applied: r.GetApplied(), Bytes: r.GetSizeBytes(), Reads: rate(r.GetReads()), Writes: rate(r.GetWrites())}
}

func routesTo(r *beat.Routes) *placementv1.Routes {
	return &placementv1.Routes{Full: r.Full, ClusterId: uint64(r.Cluster), Routes: convert(r.Routes, routeTo),
		Stores: convert(r.Stores, storeTo), Members: convert(r.Members, memberTo)}
}

func routesFrom(r *placementv1.Routes) *beat.Routes {
	return &beat.Routes{Full: r.GetFull(), Cluster: shard.ClusterID(r.GetClusterId()), Routes: convert(r.GetRoutes(), routeFrom),
		Stores: convert(r.GetStores(), storeFrom), Members: convert(r.GetMembers(), memberFrom)}
}

func ledTo(l beat.Led) *placementv1.LedShard {
	return &placementv1.LedShard{Descriptor_: descTo(l.Desc), Leader: uint64(l.Leader), Term: l.Term, Applied: l.Applied,
		SizeBytes: l.Bytes, Down: convert(l.Down, func(id shard.ReplicaID) uint64 { return uint64(id) })}
}

func ledFrom(l *placementv1.LedShard) beat.Led {
	return beat.Led{Desc: descFrom(l.GetDescriptor_()), Leader: shard.ReplicaID(l.GetLeader()), Term: l.GetTerm(), Applied: l.GetApplied(),
		Bytes: l.GetSizeBytes(), Down: convert(l.GetDown(), func(id uint64) shard.ReplicaID { return shard.ReplicaID(id) })}
}

func heldTo(h beat.Replica) *placementv1.HeldReplica {
	return &placementv1.HeldReplica{ShardId: uint64(h.Shard), ReplicaId: uint64(h.Replica), Epoch: epochTo(h.Epoch), Born: h.Born}
}

func heldFrom(h *placementv1.HeldReplica) beat.Replica {
	return beat.Replica{Shard: shard.ID(h.GetShardId()), Replica: shard.ReplicaID(h.GetReplicaId()), Epoch: epochFrom(h.GetEpoch()), Born: h.GetBorn()}
}

func rateTo(r beat.Rate) *placementv1.ShardRates {
	return &placementv1.ShardRates{ShardId: uint64(r.Shard), Term: r.Term, Reads: r.Reads, Writes: r.Writes, ReadBytes: r.ReadBytes, WriteBytes: r.WriteBytes}
}

// rateFrom takes what is no rate for none: what stores say is added up.
func rateFrom(r *placementv1.ShardRates) beat.Rate {
	return beat.Rate{Shard: shard.ID(r.GetShardId()), Term: r.GetTerm(), Rates: beat.Rates{Reads: rate(r.GetReads()), Writes: rate(r.GetWrites()),
		ReadBytes: rate(r.GetReadBytes()), WriteBytes: rate(r.GetWriteBytes())}}
}

// maxRate is more than any machine does.
const maxRate = 1e12

func rate(f float32) float32 {
	if f > 0 && f <= maxRate {
		return f
	}
	return 0
}

func tripTo(t beat.Trip) *placementv1.Trip {
	return &placementv1.Trip{StoreId: uint64(t.Store), Micros: t.Micros}
}

func tripFrom(t *placementv1.Trip) beat.Trip {
	return beat.Trip{Store: shard.StoreID(t.GetStoreId()), Micros: t.GetMicros()}
}

func versionsTo(r version.Range) *placementv1.Versions {
	return &placementv1.Versions{Oldest: uint64(r.Oldest), Newest: uint64(r.Newest)}
}

func versionsFrom(r *placementv1.Versions) version.Range {
	return version.Range{Oldest: version.Number(r.GetOldest()), Newest: version.Number(r.GetNewest())}
}

func settingTo(s setting.Made) *placementv1.Setting {
	return &placementv1.Setting{Key: s.Key, Value: s.Value}
}

func settingFrom(s *placementv1.Setting) setting.Made {
	return setting.Made{Key: s.GetKey(), Value: s.GetValue()}
}

func reportTo(r *beat.Report) *placementv1.HeartbeatRequest {
	return &placementv1.HeartbeatRequest{ClusterId: uint64(r.Cluster), StoreId: uint64(r.Store), Addr: r.Addr,
		Incarnation: r.Incarnation, Version: r.Version, UsedBytes: r.Used, FreeBytes: r.Free, CapacityBytes: r.Capacity,
		Shards: int64(r.Shards), Leaders: int64(r.Leaders), MaxId: r.MaxID, Versions: versionsTo(r.Versions), ClusterVersion: uint64(r.Active), Leaving: r.Leaving, Number: r.Number, Since: r.Since, SyncTimeUs: r.SyncTime.Microseconds(), Full: r.Full, Led: convert(r.Led, ledTo), Rates: convert(r.Rates, rateTo), Trips: convert(r.Trips, tripTo),
		Replicas: convert(r.Replicas, heldTo), Created: convert(r.Created, func(id shard.ID) uint64 { return uint64(id) })}
}

func reportFrom(r *placementv1.HeartbeatRequest) *beat.Report {
	return &beat.Report{Cluster: shard.ClusterID(r.GetClusterId()), Store: shard.StoreID(r.GetStoreId()), Addr: r.GetAddr(),
		Incarnation: r.GetIncarnation(), Version: r.GetVersion(), Used: r.GetUsedBytes(), Free: r.GetFreeBytes(),
		Capacity: r.GetCapacityBytes(), Shards: int(r.GetShards()), Leaders: int(r.GetLeaders()), MaxID: r.GetMaxId(), Versions: versionsFrom(r.GetVersions()), Active: version.Number(r.GetClusterVersion()), Leaving: r.GetLeaving(), Number: r.GetNumber(), Since: r.GetSince(),
		SyncTime: time.Duration(r.GetSyncTimeUs()) * time.Microsecond, Full: r.GetFull(), Led: convert(r.GetLed(), ledFrom), Rates: convert(r.GetRates(), rateFrom), Trips: convert(r.GetTrips(), tripFrom), Replicas: convert(r.GetReplicas(), heldFrom),
		Created: convert(r.GetCreated(), func(id uint64) shard.ID { return shard.ID(id) })}
}

func instructionTo(i beat.Instruction) *placementv1.Instruction {
	out := &placementv1.Instruction{ShardId: uint64(i.Shard), Epoch: epochTo(i.Epoch), TransferToStoreId: uint64(i.TransferTo),
		SplitAt: convert(i.SplitAt, func(k shard.Key) []byte { return k })}
	if i.Change != nil {
		out.Change = i.Change.Append(nil)
	}
	return out
}

func instructionFrom(i *placementv1.Instruction) (beat.Instruction, error) {
	out := beat.Instruction{Shard: shard.ID(i.GetShardId()), Epoch: epochFrom(i.GetEpoch()), TransferTo: shard.StoreID(i.GetTransferToStoreId()),
		SplitAt: convert(i.GetSplitAt(), func(k []byte) shard.Key { return k })}
	if len(i.GetChange()) > 0 {
		c, err := shard.DecodeChange(i.GetChange())
		if err != nil {
			return out, err
		}
		out.Change = &c
	}
	return out, nil
}

func answerTo(a *beat.Answer) *placementv1.HeartbeatReply {
	return &placementv1.HeartbeatReply{NowMs: uint64(a.Now), Members: convert(a.Members, memberTo), Stores: convert(a.Stores, storeTo),
		NeedFull: a.NeedFull, Create: convert(a.Create, descTo), Instructions: convert(a.Instructions, instructionTo), Removed: a.Removed,
		SafePoint: a.SafePoints.Safe, CollectPoint: a.SafePoints.Collect, ClusterVersion: uint64(a.Version), SettingsRevision: a.Settings.Revision, Settings: convert(a.Settings.Values, settingTo)}
}

func answerFrom(a *placementv1.HeartbeatReply) (*beat.Answer, error) {
	out := &beat.Answer{Now: shard.Millis(a.GetNowMs()), Members: convert(a.GetMembers(), memberFrom), Stores: convert(a.GetStores(), storeFrom),
		NeedFull: a.GetNeedFull(), Create: convert(a.GetCreate(), descFrom), Removed: a.GetRemoved(),
		SafePoints: beat.SafePoints{Safe: a.GetSafePoint(), Collect: a.GetCollectPoint()}, Version: version.Number(a.GetClusterVersion()),
		Settings: beat.Settings{Revision: a.GetSettingsRevision(), Values: convert(a.GetSettings(), settingFrom)}}
	for _, i := range a.GetInstructions() {
		in, err := instructionFrom(i)
		if err != nil {
			return nil, err
		}
		out.Instructions = append(out.Instructions, in)
	}
	return out, nil
}
