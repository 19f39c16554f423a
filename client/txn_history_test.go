package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// faulty loses requests and answers of transactions, and delivers some requests late, and some once more, late. What was refused does not
// come again: a stream delivers what is sent once, and if it did not, a refusal would say nothing, since a copy may be granted later.
type faulty struct {
	memory
	percent int
	late    sync.WaitGroup // deliveries; waited for when nothing is sent any more

	mu  sync.Mutex
	rng *rand.Rand
}

// openFaulty opens a client over such a network. close ends it, and returns once nothing of it is under way: a client
// finishes transactions behind its callers' backs, and what it sends then may be delivered late as well.
func (f *fixture) openFaulty(seed uint64, who, percent int) (db *client.DB, close func()) {
	n := &faulty{memory: memory{f}, percent: percent, rng: rand.New(rand.NewPCG(seed, uint64(who)))}
	db, err := client.Open(f.t.Context(), "node", client.WithWorld(env.Real{}, n))
	if err != nil {
		f.t.Fatal(err)
	}
	close = sync.OnceFunc(func() {
		_ = db.Close()
		n.late.Wait()
	})
	f.t.Cleanup(close)
	return db, close
}

func (n *faulty) draw() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.IntN(100)
}

func (n *faulty) Call(ctx context.Context, addr string, to shard.StoreID, req *call.Request) call.Reply {
	switch d := n.draw(); {
	case d < n.percent:
		return call.Reply{Err: shard.ErrUnavailable}
	case d < 2*n.percent:
		_ = n.memory.Call(ctx, addr, to, req)
		return call.Reply{Err: shard.ErrUnavailable}
	case d < 3*n.percent && req.Kind == call.Write:
		again, wait := *req, time.Duration(n.draw())*time.Millisecond
		rep := call.Reply{Err: shard.ErrUnavailable}
		if d%2 != 0 {
			if rep = n.memory.Call(ctx, addr, to, req); refused(&rep) {
				return rep
			}
		}
		n.late.Go(func() { // otherwise it is the only one
			time.Sleep(wait)
			_ = n.memory.Call(context.Background(), addr, to, &again)
		})
		return rep
	}
	return n.memory.Call(ctx, addr, to, req)
}

// refused reports an answer that says that nothing happened.
func refused(rep *call.Reply) bool {
	if rep.Err != nil {
		return !errors.Is(rep.Err, shard.ErrUnavailable)
	}
	res, err := mvcc.DecodeResult(rep.Body)
	return err == nil && len(res.Rejected) > 0
}

// did is one transaction as its client saw it.
type did struct {
	id            int
	began, ended  time.Time
	committing    time.Time
	serializable  bool
	causal        bool
	start, commit client.Timestamp
	reads         map[string]string // as of start; "" is none
	locked        map[string]string // newest values, read under locks
	writes        map[string]string
	marker        string // a key that it wrote and nobody else
	unknown       bool
}

// history is what all clients did.
type history struct {
	mu  sync.Mutex
	all []*did
}

var historyKeys = []string{"a1", "a2", "h1", "h2", "q1", "q2"}

// TestHistory runs random transactions of several clients against a cluster that splits, whose leaders move and whose network
// loses, repeats and delays, and holds what they saw against their timestamps: every read is of the last version committed at
// or below its transaction's start, or, under Serializable, at its commit; no update is lost; and who ended before another
// began comes before it.
func TestHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runHistory(t, seed, 5) })
	}
}

func runHistory(t *testing.T, seed uint64, percent int) {
	f := newTxnFixture(t)
	var h history
	var wg sync.WaitGroup
	for w := range 5 {
		db, end := f.openFaulty(seed, w, percent)
		rng := rand.New(rand.NewPCG(seed, uint64(100+w)))
		wg.Go(func() {
			for i := range 40 {
				h.one(db, rng, w*1000+i)
			}
			end()
		})
	}
	wg.Go(func() { disturb(f, rand.New(rand.NewPCG(seed, 99))) })
	fs := f.startFollowers(seed, percent)
	wg.Wait()
	f.learnUnknown(t, &h)
	fs.check(t, f.open(), h.changes())
	committed, unknown := 0, 0
	for _, d := range h.all {
		if d.commit != 0 {
			committed++
		}
		if d.unknown {
			unknown++
		}
	}
	t.Logf("%d transactions, %d committed, %d whose fate had to be looked up", len(h.all), committed, unknown)
	if committed < len(h.all)/4 {
		t.Errorf("too few transactions committed")
	}
	for _, bad := range h.check() {
		t.Error(bad)
	}
}

// disturb moves leaders and splits shards.
func disturb(f *fixture, rng *rand.Rand) {
	n := node{f}
	for i := range 12 {
		time.Sleep(time.Duration(20+rng.IntN(60)) * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		id := shard.ID(2 + rng.IntN(3))
		if i%4 == 3 {
			at := mvcc.Key([]byte(historyKeys[rng.IntN(len(historyKeys))]))
			for _, d := range f.shards {
				st := f.Status(f.Leader(d.ID), d.ID)
				if st.Desc != nil && st.Desc.Range.Contains(at) && st.Desc.Range.Start.Compare(at) != 0 {
					_, _ = n.Split(ctx, d.ID, st.Desc.Epoch, []shard.Key{at}, 0)
				}
			}
		} else {
			_ = n.TransferLeader(ctx, id, shard.StoreID(1+rng.IntN(3)))
		}
		cancel()
	}
}

func (h *history) one(db *client.DB, rng *rand.Rand, id int) {
	d := &did{id: id}
	var opts []client.TxnOption
	if d.serializable = rng.IntN(3) == 0; d.serializable {
		opts = append(opts, client.Serializable())
	}
	if d.causal = rng.IntN(4) == 0; d.causal {
		opts = append(opts, client.Causal())
	}
	patience := 10 * time.Second
	if rng.IntN(4) == 0 {
		patience = time.Duration(3+rng.IntN(30)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d.began = time.Now()
	tx, err := db.Begin(ctx, opts...)
	if err != nil {
		return
	}
	d.reads, d.locked, d.writes = map[string]string{}, map[string]string{}, map[string]string{}
	err = d.steps(tx, rng)
	if err == nil {
		d.committing = time.Now()
		err = tx.Commit()
	} else {
		_ = tx.Rollback()
	}
	d.ended = time.Now()
	d.start, d.commit = tx.StartTS(), tx.CommitTS()
	d.unknown = errors.Is(err, client.ErrAmbiguous)
	if err != nil && !errors.Is(err, client.ErrConflict) && !d.unknown && !errors.Is(err, client.ErrUnavailable) {
		panic(err)
	}
	if err != nil {
		d.commit = 0
	}
	h.mu.Lock()
	h.all = append(h.all, d)
	h.mu.Unlock()
}

func (d *did) steps(tx *client.Txn, rng *rand.Rand) error {
	for range 1 + rng.IntN(4) {
		k := historyKeys[rng.IntN(len(historyKeys))]
		if _, ok := d.writes[k]; ok {
			continue
		}
		v := fmt.Sprint(d.id)
		switch rng.IntN(6) {
		case 0, 1:
			if _, ok := d.locked[k]; ok {
				continue
			}
			got, err := tx.Get([]byte(k))
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				return err
			}
			d.reads[k] = string(got)
		case 2:
			got, err := tx.GetForUpdate([]byte(k))
			if err != nil && !errors.Is(err, client.ErrNotFound) {
				return err
			}
			d.locked[k] = string(got)
		case 3:
			if len(d.writes) > 0 {
				continue
			}
			seen := map[string]string{}
			for kv, err := range tx.Scan(client.Range{}) {
				if err != nil {
					return err
				}
				seen[string(kv.Key)] = string(kv.Value)
			}
			for _, k := range historyKeys {
				d.reads[k] = seen[k]
			}
		case 4:
			if err := tx.Delete([]byte(k)); err != nil {
				return err
			}
			d.writes[k] = ""
		default:
			if err := tx.Put([]byte(k), []byte(v)); err != nil {
				return err
			}
			d.writes[k] = v
		}
	}
	if len(d.writes) == 0 {
		return nil
	}
	for k := range d.writes {
		d.marker = fmt.Sprintf("%cz%d", k[0], d.id)
	}
	return tx.Put([]byte(d.marker), []byte("x"))
}

// startFollowers watches the history, over a network that is no better than its clients'.
func (f *fixture) startFollowers(seed uint64, percent int) *followers {
	fs := new(followers)
	for i, w := range []*follower{
		{name: "all"},
		{name: "some", rng: client.Range{Start: []byte("a2"), End: []byte("q")}, opts: []client.WatchOption{client.WithPrevious()}},
		{name: "by followers", opts: []client.WatchOption{client.ReadFromFollower(), client.WithPrevious()}},
	} {
		db, _ := f.openFaulty(seed, 200+i, percent)
		fs.start(f.t, db, w)
		time.Sleep(20 * time.Millisecond) // each has something to list
	}
	return fs
}

// changes are all that was committed.
func (h *history) changes() (out []seen) {
	for _, d := range h.all {
		if d.commit == 0 {
			continue
		}
		for k, v := range d.writes {
			out = append(out, seen{commit: d.commit, key: k, value: v})
		}
		if d.marker != "" {
			out = append(out, seen{commit: d.commit, key: d.marker, value: "x"})
		}
	}
	return out
}

// learnUnknown finds out by their markers what became of transactions whose clients could not tell.
func (f *fixture) learnUnknown(t *testing.T, h *history) {
	x := f.asker()
	db := f.open()
	for _, d := range h.all {
		if d.marker == "" {
			continue
		}
		err := db.View(t.Context(), func(tx *client.Txn) error {
			_, err := tx.Get([]byte(d.marker)) // which resolves its lock
			return err
		})
		if errors.Is(err, client.ErrNotFound) {
			if d.commit != 0 {
				t.Errorf("transaction %d was told that it committed, and left nothing", d.id)
			}
			continue
		}
		row, err := x.Get(mvcc.Key([]byte(d.marker)), f.oracle.Next(), 0)
		switch {
		case err != nil:
			t.Fatal(err)
		case d.commit == 0 && !d.unknown:
			t.Errorf("transaction %d was told that nothing was written, and committed at %d", d.id, row.CommitTS)
		case d.commit != 0 && d.commit != row.CommitTS:
			t.Errorf("transaction %d was told that it committed at %d, and did at %d", d.id, d.commit, row.CommitTS)
		}
		d.commit = row.CommitTS
	}
}

// check returns what the history breaks.
func (h *history) check() (bad []string) {
	say := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	type version struct {
		ts client.Timestamp
		v  string
		by *did
	}
	versions := map[string][]version{}
	for _, d := range h.all {
		if d.commit == 0 {
			continue
		}
		for k, v := range d.writes {
			versions[k] = append(versions[k], version{d.commit, v, d})
		}
	}
	for _, vs := range versions {
		slices.SortFunc(vs, func(a, b version) int { return cmp.Compare(a.ts, b.ts) })
	}
	at := func(k string, ts client.Timestamp, not *did) string {
		v := ""
		for _, x := range versions[k] {
			if x.ts <= ts && x.by != not {
				v = x.v
			}
		}
		return v
	}
	for _, d := range h.all {
		for k, v := range d.reads {
			if want := at(k, d.start, d); v != want {
				say("transaction %d read %s=%q at %d, there is %q", d.id, k, v, d.start, want)
			}
			if want := at(k, d.commit, d); d.serializable && d.commit != 0 && len(d.writes) > 0 && v != want {
				say("serializable transaction %d read %s=%q, at its commit at %d there is %q", d.id, k, v, d.commit, want)
			}
		}
		if d.commit == 0 {
			continue
		}
		for k, v := range d.locked {
			if want := at(k, d.commit, d); v != want {
				say("transaction %d read %s=%q under a lock, at its commit at %d there is %q", d.id, k, v, d.commit, want)
			}
		}
		for k := range d.writes {
			_, locked := d.locked[k]
			for _, x := range versions[k] {
				if !locked && x.by != d && x.ts > d.start && x.ts <= d.commit {
					say("transaction %d wrote %s between %d and %d, and so did %d at %d", d.id, k, d.start, d.commit, x.by.id, x.ts)
				}
			}
		}
	}
	for _, a := range h.all {
		for _, b := range h.all {
			if a.commit == 0 || a.unknown || b.start == 0 {
				continue
			}
			if a.ended.Before(b.began) && a.commit > b.start {
				say("transaction %d ended before %d began, and committed at %d, above its start %d", a.id, b.id, a.commit, b.start)
			}
			if b.commit != 0 && !b.causal && a.ended.Before(b.committing) && a.commit >= b.commit {
				say("transaction %d ended before %d committed, and its timestamp is %d, not below %d", a.id, b.id, a.commit, b.commit)
			}
		}
	}
	if len(bad) > 10 {
		bad = append(bad[:10], strings.Repeat(".", 3))
	}
	return bad
}
