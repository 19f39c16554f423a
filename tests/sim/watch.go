package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// watcher is a program that lists what transactions write, and then watches it: the real SDK on a machine of its own. Now
// and then it takes its time.
type watcher struct {
	c       *cluster
	name    string
	machine *world.Machine
	host    *simnet.Host
	env     env.Env
	db      *client.DB
	opts    []client.WatchOption
	reads   []client.ReadOption

	from   client.Timestamp // of the list
	at     client.Timestamp // the last progress
	list   map[string]string
	events []client.Event
	lists  int

	stop, done bool
	until      client.Timestamp // it is done once it has come to this
	err        error            // what it was told and may not have been
}

// watched is what watchers watch: all that transactions write.
var watched = client.Prefix("t")

func (c *cluster) newWatcher(i int) *watcher {
	x := &watcher{c: c, name: fmt.Sprintf("v%d", i)}
	x.machine = c.w.NewMachine(x.name)
	x.env, x.host = x.machine.Env(), c.net.Host(x.machine, x.name)
	x.opts = []client.WatchOption{client.WithPrevious()}
	if c.w.Chance(0.5) {
		x.opts = append(x.opts, client.ReadFromFollower())
		x.reads = append(x.reads, client.ReadFromFollower())
	}
	x.env.Go("watch", x.run)
	return x
}

func (x *watcher) run() {
	ctx := context.Background()
	defer func() { x.done = true }()
	x.db = x.c.openDB(x.machine, x.host, func() bool { return false })
	for x.err == nil && !x.over() {
		err := x.begin(ctx)
		for err == nil && x.err == nil && !x.over() {
			if err = x.watch(ctx); errors.Is(err, client.ErrUnavailable) {
				x.machine.Log("watch from %d: %v", x.at, err)
				err = nil
			}
		}
		if err != nil {
			x.machine.Log("watch: %v", err)
			_ = x.env.Sleep(ctx, 100*time.Millisecond)
		}
	}
	_ = x.db.Close()
}

// over reports whether it has come as far as it shall.
func (x *watcher) over() bool { return x.until != 0 && x.at >= x.until }

// begin lists.
func (x *watcher) begin(ctx context.Context) error {
	ts, err := x.db.Timestamp(ctx)
	if err != nil {
		return err
	}
	list := map[string]string{}
	for kv, err := range x.db.At(ts, x.reads...).Scan(ctx, watched) {
		if err != nil {
			return err
		}
		list[string(kv.Key)] = string(kv.Value)
	}
	x.machine.Log("lists %d keys at %d", len(list), ts)
	x.from, x.at, x.list, x.events = ts, ts, list, nil
	x.lists++
	return nil
}

// watch goes on from the last progress. What was told beyond that is told again.
func (x *watcher) watch(ctx context.Context) error {
	for n := len(x.events); n > 0 && x.events[n-1].Commit > x.at; n-- {
		x.events = x.events[:n-1]
	}
	for ev, err := range x.db.Watch(ctx, watched, x.at, x.opts...) {
		if err != nil {
			return err
		}
		if ev.Progress == 0 {
			x.events = append(x.events, ev)
			continue
		}
		x.at = ev.Progress
		if x.stop && x.until == 0 {
			if x.until, err = x.db.Timestamp(ctx); err != nil {
				return err
			}
		}
		if x.over() || x.c.w.Chance(0.02) {
			return nil
		}
		if x.c.w.Chance(0.05) && !x.stop {
			_ = x.env.Sleep(ctx, x.c.w.Between(10*time.Millisecond, 8*time.Second))
		}
	}
	return nil
}

// endWatches lets the watchers come to the present, in which nothing changes any more.
func (c *cluster) endWatches() error {
	// What is watched in the end is read in the end.
	if err := c.until("end of what moves the safe point", settledLimit, func() bool { return c.collecting == 0 }); err != nil {
		return err
	}
	for _, x := range c.watchers {
		x.stop = true
	}
	return c.until("end of all watches", clientsLimit, func() bool {
		for _, x := range c.watchers {
			if !x.done {
				return false
			}
		}
		return true
	})
}

// checkWatches holds what watchers were told against all commits that the monitors know of, and against what is there.
func (a *auditor) checkWatches(ctx context.Context) error {
	for _, x := range a.c.watchers {
		if err := x.check(a.c.monitors.tx); err != nil {
			return fmt.Errorf("watch: %s from %d to %d: %w", x.name, x.from, x.at, err)
		}
		a.c.monitors.seen["watch"] += len(x.events)
		for kv, err := range a.db.At(x.at).Scan(ctx, watched) {
			if err != nil {
				return err
			}
			if v, ok := x.list[string(kv.Key)]; !ok || v != string(kv.Value) {
				return fmt.Errorf("watch: %s has %q for %s at %d, and there is %q", x.name, v, kv.Key, x.at, kv.Value)
			}
			delete(x.list, string(kv.Key))
		}
		if len(x.list) > 0 {
			return fmt.Errorf("watch: %s has %d keys at %d that are not there", x.name, len(x.list), x.at)
		}
	}
	return nil
}

// check finds what a watcher was told twice, out of order, wrongly, or not. Its list becomes what it makes of the events.
func (x *watcher) check(m *txnMonitor) error {
	told := make(map[mvccAt]bool)
	for i, ev := range x.events {
		if i > 0 {
			if p := x.events[i-1]; ev.Commit < p.Commit || ev.Commit == p.Commit && string(ev.Key) <= string(p.Key) {
				return fmt.Errorf("%s at %d comes after %s at %d", ev.Key, ev.Commit, p.Key, p.Commit)
			}
		}
		if v, ok := x.list[string(ev.Key)]; ok != ev.Before.Found || v != string(ev.Before.Value) {
			return fmt.Errorf("%s was %q before %d, and it is told %q", ev.Key, v, ev.Commit, ev.Before.Value)
		}
		if x.list[string(ev.Key)] = string(ev.Value); ev.Deleted {
			delete(x.list, string(ev.Key))
		}
		told[mvccAt{string(mvcc.Key(ev.Key)), ev.Commit}] = true
	}
	n := 0
	for k, s := range m.keys { // in any order: one that is missing ends the world
		user, ok := mvcc.UserKey([]byte(k))
		if !ok || !watched.Contains(user) {
			continue
		}
		seen := make(map[client.Timestamp]bool)
		for _, c := range s.commits {
			if c.at <= x.from || c.at > x.at || seen[c.at] {
				continue
			}
			seen[c.at] = true
			if n++; !told[mvccAt{k, c.at}] {
				return fmt.Errorf("%q was committed at %d and is not told", user, c.at)
			}
		}
	}
	if n != len(x.events) {
		return fmt.Errorf("%d changes are told, there were %d", len(x.events), n)
	}
	return nil
}

type mvccAt struct {
	key string
	ts  mvcc.Timestamp
}
