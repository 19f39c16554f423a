package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// seen is what a watcher was told.
type seen struct {
	commit     client.Timestamp
	key, value string // "" is removed
	before     string
	hadBefore  bool
}

// follower is a watcher in a test: it lists its range at some moment, then watches it from there until progress reaches the
// end that it is told.
type follower struct {
	name   string
	opts   []client.WatchOption
	rng    client.Range
	from   client.Timestamp
	events []seen
	state  map[string]string // the list, and the events over it
	err    error
}

func (w *follower) run(ctx context.Context, db *client.DB, end *atomic.Uint64) {
	w.state = map[string]string{}
	for kv, err := range db.At(w.from).Scan(ctx, w.rng) {
		if err != nil {
			w.err = err
			return
		}
		w.state[string(kv.Key)] = string(kv.Value)
	}
	from := w.from
	for w.err == nil {
		again := 0
		for ev, err := range db.Watch(ctx, w.rng, from, w.opts...) {
			switch {
			case errors.Is(err, client.ErrUnavailable) && ctx.Err() == nil:
				again = 1
			case err != nil:
				w.err = err
			case ev.Progress != 0:
				if ev.Progress <= from {
					w.err = fmt.Errorf("progress to %d after %d", ev.Progress, from)
				}
				if from = ev.Progress; end.Load() != 0 && uint64(from) >= end.Load() {
					return
				}
				// Now and then another watch goes on.
				if again = len(w.events) % 7; again == 1 {
					break
				}
				continue
			default:
				w.took(&ev, from)
				continue
			}
			break
		}
	}
}

func (w *follower) took(ev *client.Event, from client.Timestamp) {
	s := seen{commit: ev.Commit, key: string(ev.Key), value: string(ev.Value), before: string(ev.Before.Value), hadBefore: ev.Before.Found}
	if n := len(w.events); ev.Commit <= from || n > 0 && compareSeen(w.events[n-1], s) >= 0 {
		w.err = fmt.Errorf("%s was told %v after progress to %d and %v", w.name, s, from, w.events[max(0, n-1):])
	}
	w.events = append(w.events, s)
	if w.state[s.key] = s.value; ev.Deleted {
		delete(w.state, s.key)
	}
}

func compareSeen(a, b seen) int {
	return cmp.Or(cmp.Compare(a.commit, b.commit), cmp.Compare(a.key, b.key))
}

// followers watch while a test does something.
type followers struct {
	all []*follower
	wg  sync.WaitGroup
	end atomic.Uint64
}

func (fs *followers) start(t *testing.T, db *client.DB, w *follower) {
	ts, err := db.Timestamp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.from = ts
	fs.all = append(fs.all, w)
	fs.wg.Go(func() { w.run(t.Context(), db, &fs.end) })
}

// check lets the watchers come to the present, and holds what they were told against all changes, in order. Of those the
// ones before a watcher began are left out here.
func (fs *followers) check(t *testing.T, db *client.DB, all []seen) {
	t.Helper()
	end, err := db.Timestamp(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fs.end.Store(uint64(end))
	fs.wg.Wait()
	slices.SortFunc(all, compareSeen)
	for _, w := range fs.all {
		if w.err != nil {
			t.Errorf("%s: %v", w.name, w.err)
			continue
		}
		values, want := map[string]string{}, []seen(nil)
		for _, s := range all {
			s.before, s.hadBefore = values[s.key], values[s.key] != ""
			values[s.key] = s.value
			if s.commit > w.from && s.commit <= end && w.rng.Contains([]byte(s.key)) {
				want = append(want, s)
			}
		}
		for i := range w.events {
			if len(w.opts) == 0 { // without previous values
				want[min(i, len(want)-1)].before, want[min(i, len(want)-1)].hadBefore = "", false
			}
			if i >= len(want) || w.events[i] != want[i] {
				t.Fatalf("%s: event %d is %v, and should be %v", w.name, i, w.events[i], want[min(i, len(want)-1)])
			}
		}
		if len(w.events) != len(want) {
			t.Errorf("%s was told %d changes, there are %d", w.name, len(w.events), len(want))
		}
		now := map[string]string{}
		for kv, err := range db.At(end).Scan(t.Context(), w.rng) {
			if err != nil {
				t.Fatal(err)
			}
			now[string(kv.Key)] = string(kv.Value)
		}
		if !maps.Equal(now, w.state) {
			t.Errorf("%s has %v, there is %v", w.name, w.state, now)
		}
		t.Logf("%s was told %d changes", w.name, len(w.events))
	}
}

// TestWatchRange tells a watcher of three shards what a few transactions do, in order; after a split, of a transaction larger than
// a page, and of one whose client died.
func TestWatchRange(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	write := func(kv ...string) {
		t.Helper()
		must(t, db.Update(ctx, func(tx *client.Txn) error {
			for _, s := range kv {
				k, v, _ := strings.Cut(s, "=")
				if err := tx.Put([]byte(k), []byte(v)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	write("a=0", "q=0")
	from, err := db.Timestamp(ctx)
	must(t, err)
	write("a=1", "h=1", "q=1")
	write("q=2")
	must(t, db.Update(ctx, func(tx *client.Txn) error { return tx.Delete([]byte("a")) }))
	var got []string
	more := false // progress may be told again before what is written then is
	for ev, err := range db.Watch(ctx, client.Range{}, from, client.WithPrevious()) {
		must(t, err)
		if ev.Progress != 0 {
			switch {
			case len(got) == 5 && !more:
				more = true
				_, _ = node{f}.Split(ctx, f.shards[0].ID, f.Status(f.Leader(2), 2).Desc.Epoch, []shard.Key{mvcc.Key([]byte("c"))}, 0)
				write("b=1", "d=1", "q=3")
			case len(got) == 8:
				goto done
			}
			continue
		}
		got = append(got, fmt.Sprintf("%s=%s(%s)%v", ev.Key, ev.Value, ev.Before.Value, ev.Deleted))
	}
done:
	want := "a=1(0)false h=1()false q=1(0)false q=2(1)false a=(1)true b=1()false d=1()false q=3(2)false"
	if s := strings.Join(got, " "); s != want {
		t.Fatalf("got  %s\nwant %s", s, want)
	}
	for _, err := range db.Watch(ctx, client.Range{}, from+1<<40) {
		wantErr(t, err, client.ErrInvalid)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	for _, err = range db.Watch(ctx, client.Range{}, from) {
	}
	wantErr(t, err, context.Canceled)
}

// TestWatchCompacted: a watch from below the safe point ends with ErrTooOld and what to do, and one from it goes on.
func TestWatchCompacted(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	ctx := t.Context()
	put := func() {
		must(t, db.Update(ctx, func(tx *client.Txn) error { return tx.Put([]byte("a"), []byte("1")) }))
	}
	old, err := db.Timestamp(ctx)
	must(t, err)
	put()
	safe, err := db.Timestamp(ctx)
	must(t, err)
	for _, m := range f.Stores {
		m.Store.HearSafePoint(safe, 0)
	}
	put() // a shard takes up the safe point with the next command
	r := client.Range{End: []byte("b")}
	for _, err = range db.Watch(ctx, r, old) {
	}
	wantErr(t, err, client.ErrTooOld)
	if !strings.Contains(err.Error(), "list the range again") {
		t.Error(err)
	}
	for ev, err := range db.Watch(ctx, r, safe) {
		must(t, err)
		if string(ev.Key) == "a" {
			break
		}
	}
}

// TestStale: reads of some time ago, and of a moment, are answered by replicas that do not lead, most of them alone.
func TestStale(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	ctx := t.Context()
	must(t, db.Update(ctx, func(tx *client.Txn) error { return tx.Put([]byte("a"), []byte("1")) }))
	ts, err := db.Timestamp(ctx)
	must(t, err)
	must(t, db.Update(ctx, func(tx *client.Txn) error { return tx.Put([]byte("a"), []byte("2")) }))
	for range 10 {
		if v, err := db.At(ts, client.ReadFromFollower()).Get(ctx, []byte("a")); err != nil || string(v) != "1" {
			t.Fatalf("%q %v", v, err)
		}
	}
	now, err := db.Stale(ctx, 0)
	must(t, err)
	if v, err := now.Get(ctx, []byte("a")); err != nil || string(v) != "2" {
		t.Fatalf("%q %v", v, err)
	}
	past, err := db.Stale(ctx, time.Hour)
	must(t, err)
	if _, err := past.Get(ctx, []byte("a")); !errors.Is(err, client.ErrNotFound) {
		t.Fatal(err)
	}
	var alone uint64
	for _, m := range f.Stores {
		for _, c := range m.Store.Counters() {
			if c.Name == "closed_reads_total" {
				alone += c.Value
			}
		}
	}
	if alone < 7 {
		t.Errorf("%d reads were answered alone", alone)
	}
}
