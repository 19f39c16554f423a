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

	"github.com/anishathalye/porcupine"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/tests/cluster"
)

const (
	stores  = 3
	shards  = 4
	groups  = 24 // six in each shard
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

func groupPrefix(group int) string { return fmt.Sprintf("%c-g%03d-", 'a'+group%shards, group) }

func groupKey(group, key int) shard.Key {
	return shard.RawKey([]byte(groupPrefix(group) + strconv.Itoa(key)))
}

func listKey(list int) shard.Key {
	return shard.RawKey(fmt.Appendf(nil, "%c-list-%d", 'a'+list%shards, list))
}

// world is a run.
type world struct {
	c      *cluster.Cluster
	shards []*shard.Descriptor
	start  time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	open    int // ambiguous operations
	tokens  map[string]verdict
}

func (w *world) now() int64 { return int64(time.Since(w.start)) }

// do executes one operation and puts what the client saw into the history.
func (w *world) do(cl *client, n int, in input) (out output, known bool) {
	call := w.now()
	out, known = w.execute(cl, in)
	ret := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !known {
		return out, false
	}
	if out.ambiguous {
		w.open++
		ret = int64(time.Hour) + ret
	}
	w.history = append(w.history, porcupine.Operation{ClientId: n, Input: in, Call: call, Output: out, Return: ret})
	return out, true
}

// execute reports known false for an operation that has certainly had no effect and told nothing.
func (w *world) execute(cl *client, in input) (out output, known bool) {
	d := w.shards[in.group%shards]
	key := groupKey(in.group, in.key)
	cmd := &raw.Command{}
	put := func(k int) {
		cmd.Ops = append(cmd.Ops, raw.Op{Kind: raw.Put, Key: groupKey(in.group, k), Value: []byte(in.value)})
	}
	switch in.kind {
	case opGet:
		a, ok := cl.read(d, &raw.Query{Kind: raw.Get, Keys: []shard.Key{key}})
		if ok {
			out.values[in.key] = string(a.Rows[0].Value)
		}
		return out, ok
	case opScan:
		prefix := groupPrefix(in.group)
		a, ok := cl.read(d, &raw.Query{Kind: raw.Scan, Range: shard.Range{Start: shard.RawKey([]byte(prefix)), End: shard.RawKey([]byte(prefix + "\xff"))}})
		for _, row := range a.Rows {
			out.values[row.Key[len(row.Key)-1]-'0'] = string(row.Value)
		}
		return out, ok
	case opPut:
		put(in.key)
	case opDelete:
		cmd.Ops = append(cmd.Ops, raw.Op{Kind: raw.Delete, Key: key})
	case opCAS:
		cmd.Conditions = []raw.Condition{condition(key, in.want)}
		put(in.key)
	case opBatch:
		cmd.Conditions = []raw.Condition{condition(key, in.want)}
		for k := range groupKeys {
			put(k)
		}
	}
	res, v := cl.write(d, cmd)
	switch v {
	case nothing:
		return out, false
	case ambiguous:
		return output{ambiguous: true}, true
	}
	out.ok = res.Failed < 0
	if !out.ok {
		out.values[in.key] = string(res.Current)
	}
	return out, true
}

func condition(k shard.Key, want string) raw.Condition {
	return raw.Condition{Key: k, Exists: want != "", HasValue: want != "", Value: []byte(want)}
}

// client works until the end. It remembers what it saw, so that its conditions have a chance.
func (w *world) client(n int, cl *client, end time.Time) {
	seen := make(map[int]state)
	for i := 0; time.Now().Before(end); i++ {
		if cl.rnd.IntN(10) == 0 {
			w.appendToken(cl, cl.rnd.IntN(lists), fmt.Sprintf("%d.%d;", n, i))
			continue
		}
		in := input{group: cl.rnd.IntN(groups), kind: opKind(cl.rnd.IntN(6)), key: cl.rnd.IntN(groupKeys), value: fmt.Sprintf("%d.%d", n, i)}
		if in.kind == opCAS || in.kind == opBatch {
			if s, ok := seen[in.group]; !ok || cl.rnd.IntN(2) == 0 {
				in.kind = opScan
			} else {
				in.want = s[in.key]
			}
		}
		if out, ok := w.do(cl, n, in); ok && in.kind == opScan {
			seen[in.group] = out.values
		}
		if cl.rnd.IntN(50) == 0 {
			time.Sleep(time.Duration(cl.rnd.IntN(50)) * time.Millisecond)
		}
	}
}

// appendToken appends a token that there is only once to a list, by compare and swap.
func (w *world) appendToken(cl *client, list int, token string) {
	d, key := w.shards[list%shards], listKey(list)
	for range 20 {
		a, ok := cl.read(d, &raw.Query{Kind: raw.Get, Keys: []shard.Key{key}})
		if !ok {
			break
		}
		old := string(a.Rows[0].Value)
		res, v := cl.write(d, &raw.Command{Conditions: []raw.Condition{condition(key, old)},
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
		o.LogEntries = 256 // so that logs are cut under the questions of clients, and stores come back to snapshots
	}})
	w := &world{c: c, shards: ds, start: time.Now(), tokens: make(map[string]verdict)}
	for _, d := range ds {
		c.Leader(d.ID)
	}
	n := newNemesis(c, rand.New(rand.NewPCG(seed, 0)), ds, stores)
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	for i := range clients {
		cl := &client{c: c, id: uint64(i + 1), stores: stores, rnd: rand.New(rand.NewPCG(seed, uint64(i+1))), hint: make(map[shard.ID]shard.StoreID)}
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
	res, info := porcupine.CheckOperationsVerbose(model, w.history, time.Minute)
	t.Logf("%d operations, %d of them ambiguous, %d tokens: %s", len(w.history), w.open, len(w.tokens), res)
	if res != porcupine.Ok {
		t.Errorf("history of %d operations: %s", len(w.history), res)
		if path := os.Getenv("SKERRY_LINEAR_HTML"); path != "" {
			if err := porcupine.VisualizePath(model, info, path); err != nil {
				t.Log(err)
			}
		}
	}
	w.judgeTokens(t)
	for _, d := range w.shards {
		cluster.Same(w.c, d)
	}
}

// judgeTokens: an acknowledged token stands in its list once, a refused one never, any other at most once.
func (w *world) judgeTokens(t *testing.T) {
	count := make(map[string]int)
	for list := range lists {
		d := w.shards[list%shards]
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
