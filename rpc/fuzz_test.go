package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
)

// FuzzError: whatever the trailer of a failed call holds, the call has failed, and only a well-formed error says with
// what.
func FuzzError(f *testing.F) {
	for _, err := range wireErrors() {
		f.Add(call.AppendError(nil, err))
	}
	f.Add([]byte{})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		failed := status.Error(codes.Internal, "broken")
		err := fromStatus(context.Background(), failed, metadata.Pairs(errorTrailer, string(b)), "fuzz")
		if err == nil || err.Error() == "" {
			t.Fatalf("the error is gone: %v", err)
		}
		if done := doneError(b); (len(b) == 0) != (done == nil) {
			t.Fatalf("%x at the end of a snapshot is %v", b, done)
		}
	})
}

// FuzzHeartbeat: any bytes of a heartbeat, of the answer to one, and of routes either are refused, or are values that go
// over the wire and come back as themselves.
func FuzzHeartbeat(f *testing.F) {
	d := &shard.Descriptor{ID: 7, Range: shard.Range{Start: shard.RawKey([]byte("a")), End: shard.RawKey([]byte("b"))},
		Epoch: shard.Epoch{ConfVer: 3, Version: 4}, Replicas: []shard.Replica{{ID: 1001, Store: 1002, Role: shard.Voter}}}
	seed := func(m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(reportTo(&beat.Report{Cluster: 1, Store: 1002, Addr: "here", Full: true, Led: []beat.Led{{Desc: d, Leader: 1001, Term: 9, Down: []shard.ReplicaID{3}}},
		Replicas: []beat.Replica{{Shard: 7, Replica: 1001, Epoch: d.Epoch, Born: true}}, Created: []shard.ID{7},
		Rates: []beat.Rate{{Shard: 7, Term: 9, Rates: beat.Rates{Reads: 1.5, WriteBytes: 4096}}}, Trips: []beat.Trip{{Store: 1003, Micros: 250}}}))
	seed(answerTo(&beat.Answer{Now: 5, SafePoints: beat.SafePoints{Safe: 9, Collect: 8}, Create: []*shard.Descriptor{d}, Stores: []beat.Store{{ID: 1002, Addr: "here", State: beat.Up, SeenAgo: time.Second}},
		Instructions: []beat.Instruction{{Shard: 7, Epoch: d.Epoch, Change: &shard.Change{Kind: shard.LeaveJoint}}}}))
	seed(routesTo(&beat.Routes{Full: true, Cluster: 1, Routes: []beat.Route{{Desc: d, Leader: 1001, Applied: 8, Reads: 3}}, Members: []beat.Member{{Store: 1, Addr: "here"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var report placementv1.HeartbeatRequest
		if proto.Unmarshal(b, &report) == nil {
			r := reportFrom(&report)
			sameOverWire(t, r, reportFrom(reportTo(r)))
			for _, l := range r.Led {
				if l.Desc != nil {
					_ = l.Desc.Validate()
				}
			}
		}
		var reply placementv1.HeartbeatReply
		if proto.Unmarshal(b, &reply) == nil {
			if a, err := answerFrom(&reply); err == nil {
				again, err := answerFrom(answerTo(a))
				if err != nil {
					t.Fatal(err)
				}
				sameOverWire(t, a, again)
			}
		}
		var routes placementv1.Routes
		if proto.Unmarshal(b, &routes) == nil {
			r := routesFrom(&routes)
			sameOverWire(t, r, routesFrom(routesTo(r)))
		}
	})
}

func sameOverWire[T any](t *testing.T, sent, got T) {
	t.Helper()
	if !reflect.DeepEqual(sent, got) {
		t.Fatalf("%+v comes back as %+v", sent, got)
	}
}

// FuzzOrder: any bytes of an order either are refused, or mean what their own encoding means.
func FuzzOrder(f *testing.F) {
	f.Add([]byte(`{"dry_run":true,"move":{"shard":1004,"from":1000,"to":1003}}`))
	f.Add([]byte(`{"rules":{"set":{"replicas":3}}}`))
	f.Add([]byte(`{"scatter":{"range":true,"start":"cmE=","shards":[1,2]}}`))
	f.Add([]byte(`{"pause":{"for_ns":600000000000}}`))
	f.Add([]byte(`{"move":{"shard":1,"form":2}}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeJSON[beat.Order](b)
		if err != nil {
			return
		}
		once, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeJSON[beat.Order](once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s reads back as %s, %v", once, twice, err)
		}
	})
}
