package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// TxnWorkload runs writers that compute their commit timestamps (one phase, Add, async) and readers at fresh timestamps,
// on leaders and followers, while leaders move and shards split. It returns what went wrong: a read that would be answered
// otherwise later, a commit that is not where it was acknowledged, or one above the next timestamp that is issued.
type TxnWorkload struct {
	X        *Txns
	Keys     []shard.Key
	SplitAt  []string // user keys, without the closing zero; one split each
	Duration time.Duration

	mu       sync.Mutex
	reads    []txnRead
	commits  []txnCommit
	told     []txnCommit               // to watchers
	watched  map[string]mvcc.Timestamp // a key, up to when its watcher was told of it
	problems []string
}

type txnRead struct {
	ts  mvcc.Timestamp
	key shard.Key
	row mvcc.Row
}

type txnCommit struct {
	ts    mvcc.Timestamp
	key   shard.Key
	value string
}

func (w *TxnWorkload) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// Run runs it and checks what was seen.
func (w *TxnWorkload) Run() []string {
	ctx, cancel := context.WithTimeout(context.Background(), w.Duration)
	defer cancel()
	var wg sync.WaitGroup
	run := func(n int, f func(rng *rand.Rand)) {
		for range n {
			rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
			wg.Go(func() {
				for ctx.Err() == nil {
					f(rng)
				}
			})
		}
	}
	run(3, w.onePhase)
	run(2, w.async)
	run(3, w.read)
	run(1, w.move)
	began := w.X.Next()
	w.watched = map[string]mvcc.Timestamp{}
	for _, k := range w.Keys {
		wg.Go(func() { w.watch(ctx, k, began) })
	}
	wg.Go(func() { w.split(ctx) })
	wg.Wait()
	w.check(began)
	return w.problems
}

const txnMaxAhead = 4000 << 18 // four seconds

// onePhase writes one or two keys in one shard.
func (w *TxnWorkload) onePhase(rng *rand.Rand) {
	start := w.X.Next()
	k := w.Keys[rng.IntN(len(w.Keys))]
	p := &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: start, MaxCommitTS: start + txnMaxAhead, TTLMillis: 5000, Primary: k,
		Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: k, Value: fmt.Appendf(nil, "%d", start)}}}
	w.finish(k, start, p)
}

func (w *TxnWorkload) finish(k shard.Key, start mvcc.Timestamp, p *mvcc.Prewrite) {
	r, err := w.X.Do(k, p)
	var two *shard.UseTwoPhaseError
	if errors.As(err, &two) {
		return
	}
	if err != nil {
		w.problem("%d: %v", start, err)
		return
	}
	if len(r.Rejected) == 0 {
		w.acked(k, r.CommitTS, start)
	}
}

func (w *TxnWorkload) acked(k shard.Key, at, start mvcc.Timestamp) {
	if next := w.X.Next(); at >= next {
		w.problem("%d committed at %d, not below %d, which was issued afterwards", start, at, next)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits = append(w.commits, txnCommit{ts: at, key: k, value: fmt.Sprint(start)})
}

// async writes two keys, perhaps of two shards.
func (w *TxnWorkload) async(rng *rand.Rand) {
	start := w.X.Next()
	i := rng.IntN(len(w.Keys) - 1)
	a, b := w.Keys[i], w.Keys[i+1]
	var at mvcc.Timestamp
	for _, k := range []shard.Key{a, b} {
		p := &mvcc.Prewrite{Mode: mvcc.Async, StartTS: start, MaxCommitTS: start + txnMaxAhead, TTLMillis: 5000, Primary: a,
			Secondaries: []shard.Key{b}, Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: k, Value: fmt.Appendf(nil, "%d", start)}}}
		r, err := w.X.Do(k, p)
		if err != nil || len(r.Rejected) > 0 || !r.Async {
			w.rollback(start, a, b)
			return
		}
		at = max(at, r.MinCommitTS)
	}
	w.acked(a, at, start)
	w.acked(b, at, start)
	for _, k := range []shard.Key{a, b} {
		if r, err := w.X.Do(k, mvcc.NewCommit(start, at, k)); err != nil || len(r.Rejected) > 0 {
			w.problem("commit of %d at %d on %s: %+v %v", start, at, k, r, err)
		}
	}
}

func (w *TxnWorkload) rollback(start mvcc.Timestamp, ks ...shard.Key) {
	for _, k := range ks {
		if r, err := w.X.Do(k, mvcc.NewRollback(start, k)); err != nil || len(r.Rejected) > 0 {
			w.problem("rollback of %d on %s: %+v %v", start, k, r, err)
		}
	}
}

func (w *TxnWorkload) read(rng *rand.Rand) {
	ts, k := w.X.Next(), w.Keys[rng.IntN(len(w.Keys))]
	at := shard.StoreID(rng.IntN(len(w.X.C.Stores) * 2)) // half of them at the leader
	if int(at) > len(w.X.C.Stores) {
		at = 0
	}
	if rng.IntN(3) == 0 { // a moment ago
		ts -= mvcc.Timestamp(rng.IntN(100)) << 18
	}
	row, err := w.X.Get(k, ts, at)
	if err != nil {
		w.problem("read at %d: %v", ts, err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads = append(w.reads, txnRead{ts: ts, key: k, row: row})
}

// watch asks for the changes of a key at any replica, a few at a time, and at last for all.
func (w *TxnWorkload) watch(ctx context.Context, k shard.Key, after mvcc.Timestamp) {
	rng := rand.New(rand.NewPCG(rand.Uint64(), 2))
	var key shard.Key
	for over := false; ; {
		if ctx.Err() != nil && !over {
			over = true
		}
		q := &mvcc.Query{Kind: mvcc.Changes, TS: w.X.Next(), Range: shard.Range{Start: k, End: k.Next()}, After: after, AfterKey: key,
			Limit: 1 + rng.IntN(3), WaitMillis: uint32(rng.IntN(30))}
		a, err := w.X.Ask(k, q, shard.StoreID(rng.IntN(len(w.X.C.Stores)+1)))
		if err != nil || a.Rejected != nil {
			w.problem("watch of %s after %d: %v %v", k, after, a, err)
			return
		}
		w.mu.Lock()
		for _, r := range a.Rows {
			if r.CommitTS <= after {
				w.problems = append(w.problems, fmt.Sprintf("%s was told at %d, and then at %d", k, after, r.CommitTS))
			}
			after, key = r.CommitTS, r.Key
			w.told = append(w.told, txnCommit{ts: r.CommitTS, key: k, value: string(r.Value)})
		}
		if a.Resolved >= after {
			after, key = a.Resolved, nil
		}
		w.watched[string(k)] = after
		w.mu.Unlock()
		if over && after >= q.TS {
			return
		}
	}
}

// move hands a shard to another store.
func (w *TxnWorkload) move(rng *rand.Rand) {
	time.Sleep(time.Duration(50+rng.IntN(200)) * time.Millisecond)
	d := w.X.Of(w.Keys[rng.IntN(len(w.Keys))])
	to := shard.StoreID(1 + rng.IntN(len(w.X.C.Stores)))
	for i := 1; i <= len(w.X.C.Stores); i++ {
		if s, _ := w.X.C.store(shard.StoreID(i)); s != nil && s.Leader(d.ID).Store == s.ID() {
			_ = s.TransferLeader(context.Background(), d.ID, to)
		}
	}
}

func (w *TxnWorkload) split(ctx context.Context) {
	for _, k := range w.SplitAt {
		time.Sleep(w.Duration / time.Duration(len(w.SplitAt)+1))
		at := mvcc.Key([]byte(k))
		for ctx.Err() == nil {
			if _, err := w.X.C.trySplit(ctx, w.X.Of(at).ID, []shard.Key{at}); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// check reads again what was read and written, and looks for what was not told.
func (w *TxnWorkload) check(began mvcc.Timestamp) {
	told := map[txnKeyAt]string{}
	for _, c := range w.told {
		told[txnKeyAt{string(c.key), c.ts}] = c.value
	}
	for _, c := range w.commits {
		if v, ok := told[txnKeyAt{string(c.key), c.ts}]; c.ts > began && c.ts <= w.watched[string(c.key)] && (!ok || v != c.value) {
			w.problem("%s was committed as %s at %d, and its watcher was told %q, %t, up to %d", c.key, c.value, c.ts, v, ok, w.watched[string(c.key)])
		}
	}
	for _, r := range w.reads {
		again, err := w.X.Get(r.key, r.ts, 0)
		if err != nil || string(again.Value) != string(r.row.Value) || again.CommitTS != r.row.CommitTS {
			w.problem("%s at %d was %q@%d, and is now %q@%d %v", r.key, r.ts, r.row.Value, r.row.CommitTS, again.Value, again.CommitTS, err)
		}
	}
	for _, c := range w.commits {
		row, err := w.X.Get(c.key, c.ts, 0)
		if err != nil || string(row.Value) != c.value || row.CommitTS != c.ts {
			w.problem("%s was committed as %s at %d, and there is %q@%d %v", c.key, c.value, c.ts, row.Value, row.CommitTS, err)
		}
	}
}

type txnKeyAt struct {
	key string
	ts  mvcc.Timestamp
}

// Seen says how much the workload did.
func (w *TxnWorkload) Seen() (reads, commits int) { return len(w.reads), len(w.commits) }
