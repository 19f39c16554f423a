package mvcc_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/mvcc/mvcctest"
)

// samples is a command of every kind, all fields set.
func samples() []mvcc.Command {
	a, b := mvcc.Key([]byte("a")), mvcc.Key([]byte("b"))
	return []mvcc.Command{
		&mvcc.Prewrite{Mode: mvcc.Async, Floor: 21, StartTS: 10, ForUpdateTS: 12, MaxCommitTS: 100, TTLMillis: 7, Primary: a,
			Secondaries: []shard.Key{b}, Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: a, Value: bytes.Repeat([]byte("v"), 300), Held: true},
				{Kind: mvcc.Insert, Key: b, Value: []byte("v")}}},
		&mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: 10, MaxCommitTS: 100, TTLMillis: 7, Primary: a,
			Mutations: []mvcc.Mutation{{Kind: mvcc.Delete, Key: a}, {Kind: mvcc.Touch, Key: b}}},
		mvcc.NewCommit(10, 13, a, b), mvcc.NewRollback(10, a, b),
		&mvcc.CheckStatus{Primary: a, StartTS: 10, CallerTS: 12, CurrentTS: 14, RollbackMissing: true, AsTwoPhase: true},
		mvcc.NewCheckSecondaries(10, a, b), &mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: 10, CommitTS: 13}}, List: []shard.Key{a, b}},
		&mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: 10}, {StartTS: 12, CommitTS: 14}}, Range: shard.Range{Start: a, End: b}, Limit: 3},
		&mvcc.Heartbeat{Primary: a, StartTS: 10, TTLMillis: 7}, mvcc.NewPessimisticLock(10, 12, a, 7, a, b),
		mvcc.NewPessimisticRollback(10, 12, a, b), &mvcc.GC{SafePoint: 10, Range: shard.Range{Start: a, End: b}, Limit: 3},
		&mvcc.Add{Floor: 21, StartTS: 10, MaxCommitTS: 100, Key: a, Delta: -3},
	}
}

// TestSamples: every sample passes Check and CheckIn, is not served outside its shard, takes a floor exactly if it
// computes a timestamp, and comes apart as it was; reads that fail are errors and never answers.
func TestSamples(t *testing.T) {
	in := &shard.Descriptor{ID: 10, Range: shard.Range{Start: shard.Key("xa"), End: shard.Key("xc")}}
	out := &shard.Descriptor{ID: 10, Range: shard.Range{Start: shard.Key("xc")}}
	for i, c := range samples() {
		body := c.Append(nil)
		var misplaced *shard.KeyNotInShardError
		if err := errors.Join(c.Check(), mvcc.CheckIn(c, in)); err != nil {
			t.Errorf("sample %d: %v", i, err)
		}
		if err := mvcc.CheckIn(c, out); !errors.As(err, &misplaced) {
			t.Errorf("sample %d is served outside: %v", i, err)
		}
		back, err := mvcc.Decode(body)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("sample %d: %+v reads back as %+v, %v", i, c, back, err)
		}
		if _, _, err := mvcc.Evaluate(c, &mvcctest.Map{Fail: true}, mvcc.State{Locks: 1}); !errors.Is(err, mvcctest.ErrRead) {
			t.Errorf("sample %d with failing reads: %v", i, err)
		}
		var floor mvcc.Timestamp
		takes := mvcc.SetFloor(body, 41)
		switch c, _ := mvcc.Decode(body); c := c.(type) {
		case *mvcc.Prewrite:
			floor = c.Floor
		case *mvcc.Add:
			floor = c.Floor
		}
		if takes != (floor == 41) || takes != (i < 2 || i == len(samples())-1) {
			t.Errorf("sample %d: floor %d, %v", i, floor, takes)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, c := range samples() {
		f.Add(c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := mvcc.Decode(b)
		if err != nil {
			return
		}
		if back, err := mvcc.Decode(c.Append(nil)); err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%+v reads back as %+v, %v", c, back, err)
		}
		_ = c.Check()
		s := newShard()
		if _, err := s.do(prewrite(10, args{opt: map[string]string{"primary": "a"}, rest: []string{"a=1", "b=v*300"}})); err != nil {
			t.Fatal(err)
		}
		for range 2 { // whatever decodes can be evaluated, and keeps the count of locks
			if _, err := s.do(c); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzResult(f *testing.F) {
	l := mvcc.LockInfo{Key: shard.Key("k"), Primary: shard.Key("p"), StartTS: 2, Kind: mvcc.LockPut, ExpireAt: 3, ForUpdateTS: 4,
		MinCommitTS: 5, Async: true, Secondaries: []shard.Key{shard.Key("s")}}
	r := mvcc.Result{CommitTS: 3, Async: true, MinCommitTS: 5, Status: mvcc.StatusLocked, Expired: true, Locks: []mvcc.LockInfo{l},
		Rows: []mvcc.Row{{Key: shard.Key("k"), Found: true, Value: []byte("v"), CommitTS: 9}}, Next: shard.Key("n"), Count: 7,
		Rejected: []*mvcc.Rejected{{Reason: mvcc.Locked, Key: shard.Key("k"), StartTS: 4, Other: 2, CommitTS: 6, Primary: shard.Key("p"), Lock: &l}}}
	if back, err := mvcc.DecodeResult(r.Append(nil)); err != nil || !reflect.DeepEqual(*back, r) {
		f.Fatalf("%+v reads back as %+v, %v", r, back, err)
	}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := mvcc.DecodeResult(b)
		if err != nil {
			return
		}
		if back, err := mvcc.DecodeResult(r.Append(nil)); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v reads back as %+v, %v", r, back, err)
		}
	})
}

func FuzzQuery(f *testing.F) {
	a, b := mvcc.Key([]byte("a")), mvcc.Key([]byte("b"))
	f.Add((&mvcc.Query{Kind: mvcc.Get, TS: 20, OwnTS: 10, Bypass: []mvcc.Timestamp{4, 8}, Keys: []shard.Key{b, a}}).Append(nil))
	f.Add((&mvcc.Query{Kind: mvcc.Scan, TS: 20, Range: shard.Range{Start: a, End: b}, Reverse: true, KeysOnly: true, Limit: 3, MaxBytes: 9}).Append(nil))
	changes := mvcc.Query{Kind: mvcc.Changes, TS: 20, Range: shard.Range{Start: a, End: b}, After: 8, AfterKey: a, Previous: true, WaitMillis: 9}
	f.Add(changes.Append(nil))
	changes.AfterKey, changes.Previous = nil, false
	f.Add(changes.Append(nil))
	s := newShard()
	if _, err := s.do(prewrite(10, args{opt: map[string]string{"primary": "a"}, rest: []string{"a=1", "b=v*300"}})); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := mvcc.DecodeQuery(b)
		if err != nil {
			return
		}
		if back, err := mvcc.DecodeQuery(q.Append(nil)); err != nil || !reflect.DeepEqual(back, q) {
			t.Fatalf("%+v reads back as %+v, %v", q, back, err)
		}
		if q.Check() == nil {
			if _, err := q.Run(s.w, shard.Range{}, s.st); err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add((&mvcc.Answer{Rejected: &mvcc.Rejected{Reason: mvcc.TooOld, StartTS: 2, CommitTS: 4}}).Append(nil))
	f.Add((&mvcc.Answer{Rows: []mvcc.Row{{Key: shard.Key("k"), Found: true}}, More: true, Next: shard.Key("n"), Range: shard.Range{Start: shard.Key("k"), End: shard.Key("n")}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := mvcc.DecodeAnswer(b)
		if err != nil {
			return
		}
		if back, err := mvcc.DecodeAnswer(a.Append(nil)); err != nil || !reflect.DeepEqual(back, a) {
			t.Fatalf("%+v reads back as %+v, %v", a, back, err)
		}
	})
}

func FuzzLock(f *testing.F) {
	f.Add((&mvcc.Lock{Kind: mvcc.LockPut, StartTS: 2, Primary: shard.Key("p"), ExpireAt: 3, ForUpdateTS: 4, MinCommitTS: 5, Async: true,
		Secondaries: []shard.Key{shard.Key("s")}, Value: []byte("v")}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		mvcc.ShowRecord(b)
		l, err := mvcc.DecodeLock(b)
		if err != nil {
			return
		}
		if back, err := mvcc.DecodeLock(l.Append(nil)); err != nil || !reflect.DeepEqual(back, l) {
			t.Fatalf("%+v reads back as %+v, %v", l, back, err)
		}
	})
}
