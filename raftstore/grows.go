package raftstore

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// Commands that add data are told from those that only take away, or end what others began: only the former are refused
// while a disk is nearly full, and the latter have memory of their own.

// rawGrows reports whether a raw command adds data. Its conditions do not.
func rawGrows(cmd *raw.Command) bool {
	return slices.ContainsFunc(cmd.Ops, func(op raw.Op) bool { return op.Kind == raw.Put })
}

// txnGrows reports whether a command of a transaction adds data. Locks are small and do not stay: a transaction that
// deletes may lock and prewrite.
func txnGrows(cmd mvcc.Command) bool {
	switch cmd := cmd.(type) {
	case *mvcc.Prewrite:
		return slices.ContainsFunc(cmd.Mutations, func(m mvcc.Mutation) bool { return m.Kind == mvcc.Put || m.Kind == mvcc.Insert })
	case *mvcc.Add:
		return true
	}
	return false
}

// bodyGrows is the same of a command in a log entry.
func bodyGrows(body []byte) bool {
	if len(body) == 0 {
		return false
	}
	if body[0] == raw.KindRaw {
		cmd, err := raw.DecodeCommand(body)
		return err == nil && rawGrows(cmd)
	}
	cmd, err := mvcc.Decode(body)
	return err == nil && txnGrows(cmd)
}

// entriesGrow reports whether entries add data.
func entriesGrow(entries []*raftpb.Entry) bool {
	grows := false
	for _, e := range entries {
		if e.GetType() != raftpb.EntryNormal {
			continue
		}
		apply.Commands(e.GetData(), func(_ uint64, _ call.OpID, body []byte) bool {
			grows = bodyGrows(body)
			return !grows
		})
		if grows {
			return true
		}
	}
	return false
}
