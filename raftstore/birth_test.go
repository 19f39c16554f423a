package raftstore

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/tests/memdisk"
)

// TestBirthTerm: a replica that a message gave birth to, and whose store lost all that was not synced right after, knows
// the term of whoever spoke to it; else nobody could ever tell it that it was removed.
func TestBirthTerm(t *testing.T) {
	for _, c := range []struct {
		kind raftpb.MessageType
		want uint64
	}{{raftpb.MsgHeartbeat, 7}, {raftpb.MsgApp, 7}, {raftpb.MsgVote, 7}, {raftpb.MsgPreVote, 6}} {
		t.Run(c.kind.String(), func(t *testing.T) {
			fs := memdisk.New()
			e := openEngine(t, fs)
			s, err := Open(Options{Env: env.Real{}, Engine: e, Store: 9, Transport: &sent{}})
			if err != nil {
				t.Fatal(err)
			}
			m := message{id: 5, from: 8, msg: &raftpb.Message{Type: c.kind.Enum(), To: proto.Uint64(12), From: proto.Uint64(11), Term: proto.Uint64(7)}}
			err = s.workers[0].call(context.Background(), func(done func(error)) {
				if s.workers[0].birth(m) == nil {
					done(errors.New("not born"))
				}
				done(nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			_ = s.Close()
			_ = e.Close()
			states, err := openEngine(t, after).Replicas()
			if err != nil || len(states) != 1 || states[0].Replica != 12 || states[0].Hard.Term != c.want {
				t.Fatalf("after a crash: %+v, %v; want one replica in term %d", states, err, c.want)
			}
		})
	}
}

func openEngine(t *testing.T, fs vfs.FS) *engine.Engine {
	t.Helper()
	e, err := engine.Open("store", engine.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}
