package linear

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/tests/cluster"
	"github.com/skerrydb/skerry/tests/history"
)

const (
	clients = 12
	lists   = 8 // keys to which tokens are appended
)

// seed and length of a run: SKERRY_LINEAR_SEED, SKERRY_LINEAR_SECONDS. The seed decides what clients and nemesis try;
// when it happens is up to the scheduler.
func setting(t *testing.T, name string, value uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return value
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// layout cuts the keyspace into shards: groups and lists of shard i begin with the letter 'a'+i.
func layout() []*shard.Descriptor {
	var out []*shard.Descriptor
	for i := range shards {
		start, end := string(rune('a'+i)), string(rune('b'+i))
		if i == 0 {
			start = ""
		}
		if i == shards-1 {
			end = ""
		}
		out = append(out, cluster.Descriptor(shard.ID(2+i), start, end, stores))
	}
	return out
}

func groupKey(group, key int) shard.Key {
	return shard.RawKey([]byte(groupPrefix(group) + strconv.Itoa(key)))
}

func listKey(list int) shard.Key {
	return shard.RawKey(fmt.Appendf(nil, "%c-list-%d", 'a'+list%shards, list))
}

// world is a run.
type world struct {
	c      *cluster.Cluster
	routes *routes
	rec    *history.Recorder

	mu     sync.Mutex
	open   int // ambiguous operations
	tokens map[string]verdict
}

// do executes one operation and puts what the client saw into the history.
func (w *world) do(cl *client, n int, in history.Input) (out history.Output, known bool) {
	begun := w.rec.Now()
	if out, known = w.execute(cl, in); !known {
		return out, false
	}
	w.rec.Add(n, begun, in, out)
	if out.Ambiguous {
		w.mu.Lock()
		w.open++
		w.mu.Unlock()
	}
	return out, true
}

// execute reports known false for an operation that has certainly had no effect and told nothing.
func (w *world) execute(cl *client, in history.Input) (out history.Output, known bool) {
	key := groupKey(in.Group, in.Key)
	cmd := &raw.Command{}
	put := func(k int) {
		cmd.Ops = append(cmd.Ops, raw.Op{Kind: raw.Put, Key: groupKey(in.Group, k), Value: []byte(in.Value)})
	}
	switch in.Kind {
	case history.Get:
		a, ok := cl.read(key, &raw.Query{Kind: raw.Get, Keys: []shard.Key{key}})
		if ok {
			out.Values[in.Key] = string(a.Rows[0].Value)
		}
		return out, ok
	case history.Scan:
		prefix := groupPrefix(in.Group)
		a, ok := cl.read(key, &raw.Query{Kind: raw.Scan, Range: shard.Range{Start: shard.RawKey([]byte(prefix)), End: shard.RawKey([]byte(prefix + "\xff"))}})
		for _, row := range a.Rows {
			out.Values[row.Key[len(row.Key)-1]-'0'] = string(row.Value)
		}
		return out, ok
	case history.Put:
		put(in.Key)
	case history.Delete:
		cmd.Ops = append(cmd.Ops, raw.Op{Kind: raw.Delete, Key: key})
	case history.CAS:
		cmd.Conditions = []raw.Condition{condition(key, in.Want)}
		put(in.Key)
	case history.Batch:
		cmd.Conditions = []raw.Condition{condition(key, in.Want)}
		for k := range history.GroupKeys {
			put(k)
		}
	}
	res, v := cl.write(key, cmd)
	switch v {
	case nothing:
		return out, false
	case ambiguous:
		return history.Output{Ambiguous: true}, true
	}
	out.OK = res.Failed < 0
	if !out.OK {
		out.Values[in.Key] = string(res.Current)
	}
	return out, true
}

func condition(k shard.Key, want string) raw.Condition {
	return raw.Condition{Key: k, Exists: want != "", HasValue: want != "", Value: []byte(want)}
}

// client works until the end. It remembers what it saw, so that its conditions have a chance.
func (w *world) client(n int, cl *client, end time.Time) {
	seen := make(map[int][history.GroupKeys]string)
	for i := 0; time.Now().Before(end); i++ {
		if cl.rnd.IntN(10) == 0 {
			w.appendToken(cl, cl.rnd.IntN(lists), fmt.Sprintf("%d.%d;", n, i))
			continue
		}
		in := history.Input{Group: cl.rnd.IntN(groups), Kind: history.Kind(cl.rnd.IntN(6)), Key: cl.rnd.IntN(history.GroupKeys), Value: fmt.Sprintf("%d.%d", n, i)}
		if in.Kind == history.CAS || in.Kind == history.Batch {
			if s, ok := seen[in.Group]; !ok || cl.rnd.IntN(2) == 0 {
				in.Kind = history.Scan
			} else {
				in.Want = s[in.Key]
			}
		}
		if out, ok := w.do(cl, n, in); ok && in.Kind == history.Scan {
			seen[in.Group] = out.Values
		}
		if cl.rnd.IntN(50) == 0 {
			time.Sleep(time.Duration(cl.rnd.IntN(50)) * time.Millisecond)
		}
	}
}

// appendToken appends a token that there is only once to a list, by compare and swap.
func (w *world) appendToken(cl *client, list int, token string) {
	key := listKey(list)
	for range 20 {
		a, ok := cl.read(key, &raw.Query{Kind: raw.Get, Keys: []shard.Key{key}})
		if !ok {
			break
		}
		old := string(a.Rows[0].Value)
		res, v := cl.write(key, &raw.Command{Conditions: []raw.Condition{condition(key, old)},
			Ops: []raw.Op{{Kind: raw.Put, Key: key, Value: []byte(old + token)}}})
		if v == nothing || v == executed && res.Failed >= 0 {
			continue
		}
		w.note(token, v)
		return
	}
	w.note(token, nothing)
}

func (w *world) note(token string, v verdict) {
	w.mu.Lock()
	w.tokens[token] = v
	w.mu.Unlock()
}

// TestLinearizable is a run, and the judgement over it.
func TestLinearizable(t *testing.T) {
	seed := setting(t, "SKERRY_LINEAR_SEED", uint64(time.Now().UnixNano()))
	length := time.Duration(setting(t, "SKERRY_LINEAR_SECONDS", 12)) * time.Second
	t.Logf("SKERRY_LINEAR_SEED=%d", seed)
	ds := layout()
	c := cluster.New(t, cluster.Options{Stores: stores, Shards: ds, Store: func(o *raftstore.Options) {
		o.Workers = 1 + int(seed%3) // the sides of a split may belong to different ones
		o.LogEntries = 256          // so that logs are cut under the questions of clients, and stores come back to snapshots
	}})
	w := &world{c: c, routes: newRoutes(c, ds), rec: history.NewRecorder(), tokens: make(map[string]verdict)}
	for _, d := range ds {
		c.Leader(d.ID)
	}
	n := newNemesis(c, rand.New(rand.NewPCG(seed, 0)), w.routes, stores)
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for i := range clients {
		cl := &client{c: c, routes: w.routes, id: uint64(i + 1), stores: stores, rnd: rand.New(rand.NewPCG(seed, uint64(i+1))), hint: make(map[shard.ID]shard.StoreID)}
		wg.Go(func() { w.client(i, cl, end) })
	}
	n.run(end)
	wg.Wait()
	w.judge(t)
	if t.Failed() {
		t.Logf("the nemesis did:\n%s", strings.Join(n.done, "\n"))
	}
}

func (w *world) judge(t *testing.T) {
	t.Logf("%d operations, %d of them ambiguous, %d tokens", w.rec.Len(), w.open, len(w.tokens))
	w.rec.Check(t, time.Minute)
	w.judgeTokens(t)
	w.routes.ask()
	if gaps := w.routes.gaps(); len(gaps) > 0 {
		t.Errorf("no store holds %v", gaps)
	}
	ds := w.routes.all()
	t.Logf("%d shards at the end", len(ds))
	for _, d := range ds {
		cluster.Same(w.c, d)
	}
}

// judgeTokens: an acknowledged token stands in its list once, a refused one never, any other at most once.
func (w *world) judgeTokens(t *testing.T) {
	count := make(map[string]int)
	for list := range lists {
		w.routes.ask()
		d := w.routes.of(listKey(list))
		v, _, err := w.c.Get(d, string(listKey(list).User()))
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range strings.SplitAfter(v, ";") {
			count[token]++
		}
	}
	for token, v := range w.tokens {
		switch n := count[token]; {
		case n > 1:
			t.Errorf("token %s was appended %d times", token, n)
		case v == executed && n == 0:
			t.Errorf("token %s was acknowledged and is lost", token)
		case v == nothing && n > 0:
			t.Errorf("token %s was refused and is there", token)
		}
	}
}
