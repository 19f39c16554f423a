// Package shard is the algebra of the keyspace: which keys, which replicas, which epoch.
//
// A shard is a contiguous range of keys that one Raft group replicates. Everything in this package is a value or a
// pure function on values: no clock, no I/O, no goroutine, no lock. Placement, stores and clients all decide with the
// same code, so they cannot disagree on what a split, a merge or a membership change means.
package shard

import "strconv"

// ID identifies a shard for all time. Zero means none. IDs are handed out by placement and never reused; IDs below
// FirstUserID are reserved.
type ID uint64

// StoreID identifies a store (one engine directory) for all time. Zero means none; IDs below FirstUserID are the
// stores of placement members.
type StoreID uint64

// ReplicaID identifies one copy of a shard on a store. It is the Raft id, unique in the cluster, only grows and is
// never reused, so that a message to a removed replica can never reach its successor. Zero means none.
type ReplicaID uint64

// ClusterID tells clusters apart: every handshake and every store directory carries it. Zero means not yet known.
type ClusterID uint64

const (
	// MetaID is the shard of the placement driver's own metadata. It is created once at bootstrap, is never split or
	// balanced, and holds no user keys.
	MetaID ID = 1
	// FirstUserID is the smallest ID that placement hands out, for shards, stores and replicas alike.
	FirstUserID = 1000
)

func (id ID) String() string        { return "s" + strconv.FormatUint(uint64(id), 10) }
func (id StoreID) String() string   { return "st" + strconv.FormatUint(uint64(id), 10) }
func (id ReplicaID) String() string { return "r" + strconv.FormatUint(uint64(id), 10) }
func (id ClusterID) String() string { return strconv.FormatUint(uint64(id), 16) }
