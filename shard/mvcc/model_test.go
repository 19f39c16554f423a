package mvcc_test

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// TestSnapshotIsolation runs transactions that each read some counters at their start and write them back plus one, and
// blind Adds, in random interleavings: every command may be delivered never, late, or several times; owners vanish and
// others recover their transactions; versions are collected. The test plays the leader's part of rule T2: a read raises
// maxRead, a command's floor is the next odd timestamp above it. What must hold:
//
//   - a counter is the number of committed transactions and Adds on it: nothing is lost, nothing counted twice;
//   - all keys of a transaction have one fate, at one timestamp, and an acknowledged commit keeps its own;
//   - a commit is acknowledged below every timestamp issued later;
//   - an answered read is answered so for ever, as long as the safe point lets it be asked;
//   - a command evaluated twice in a row is as good as once;
//   - a replica that remembers its latest writes evaluates to what one does that looks (mvcc.Written);
//   - a watcher is told every change once, in the order of commits (changes_test.go).
func TestSnapshotIsolation(t *testing.T) { rapid.Check(t, checkModel) }

func checkModel(t *rapid.T) {
	m := &model{T: t, s: newShard(), plain: newShard(), clock: 100}
	m.startWatch()
	t.Repeat(map[string]func(*rapid.T){
		"begin":   m.begin,
		"add":     m.add,
		"deliver": m.deliver,
		"hurry":   m.hurry,
		"next":    m.next,
		"read":    m.read,
		"recover": m.recoverOne,
		"collect": m.collect,
		"watch":   m.watch,
		"look":    m.watch, // more often
		"note":    m.remember,
	})
	m.end()
}

// counters: of c and d the values are long, and Add keeps away from them.
var counters = []shard.Key{mvcc.Key([]byte("a")), mvcc.Key([]byte("b")), mvcc.Key([]byte("c")), mvcc.Key([]byte("d"))}

func encode(k shard.Key, n uint64) []byte {
	v := binary.BigEndian.AppendUint64(nil, n)
	if k[1] >= 'c' {
		v = append(v, make([]byte, mvcc.ShortValueBytes)...)
	}
	return v
}

func count(r mvcc.Row) uint64 {
	if !r.Found {
		return 0
	}
	return binary.BigEndian.Uint64(r.Value)
}

// modelTxn is a transaction as its owner sees it.
type modelTxn struct {
	start   mvcc.Timestamp
	keys    []shard.Key
	mode    mvcc.Mode
	waits   int            // prewrites not answered yet
	async   bool           // so far, all its locks are async
	at      mvcc.Timestamp // least commit timestamp so far, then the decided one
	over    bool           // the owner does nothing more
	acked   mvcc.Timestamp // when its owner was told that it is committed
	settled bool           // its fate was read before it could be collected
	commit  mvcc.Timestamp // if settled: zero is rolled back
}

// message is a command on its way. then is told the first answer.
type message struct {
	c    mvcc.Command
	then func(*mvcc.Result)
}

type answered struct {
	ts   mvcc.Timestamp
	rows []mvcc.Row
}

type model struct {
	*rapid.T
	s       *shardState
	plain   *shardState    // executes the same, and remembers nothing
	clock   mvcc.Timestamp // the last issued
	maxRead mvcc.Timestamp
	txns    []*modelTxn
	sent    []*message
	reads   []answered
	watcher
}

func (m *model) issue() mvcc.Timestamp { m.clock += 2; return m.clock }

func (m *model) send(c mvcc.Command, then func(*mvcc.Result)) {
	m.sent = append(m.sent, &message{c: c, then: then})
}

// get reads counters as a leader does; ok is false if a lock or the safe point stands in the way.
func (m *model) get(ts mvcc.Timestamp, keys []shard.Key) (rows []mvcc.Row, ok bool) {
	m.maxRead = max(m.maxRead, ts)
	a, err := m.s.ask(&mvcc.Query{Kind: mvcc.Get, TS: ts, Keys: keys})
	if err != nil {
		m.Fatal(err)
	}
	return a.Rows, a.Rejected == nil && len(a.Locks) == 0
}

// do evaluates a command twice, with the leader's floor.
func (m *model) do(c mvcc.Command) *mvcc.Result {
	body := c.Append(nil)
	mvcc.SetFloor(body, (m.maxRead+1)|1)
	c, err := mvcc.Decode(body)
	if err != nil {
		m.Fatal(err)
	}
	r, err := m.s.do(c)
	if err != nil {
		m.Fatal(err)
	}
	if p, err := m.plain.do(c); err != nil || !reflect.DeepEqual(p, r) {
		m.Fatalf("%+v: %+v where writes are remembered, %+v, %v where they are not", c, r, p, err)
	}
	m.noteChanges()
	once := m.s.w.String()
	if _, err := m.s.do(c); err != nil {
		m.Fatal(err)
	}
	if _, err := m.plain.do(c); err != nil {
		m.Fatal(err)
	}
	if twice := m.s.w.String(); twice != once && c.Span().Empty() {
		m.Fatalf("%+v once:\n%stwice:\n%s", c, once, twice)
	}
	return r
}

// remember has the replica begin anew to remember its latest writes, or ends the beginning.
func (m *model) remember(t *rapid.T) {
	if w := m.s.st.Written; w != nil && rapid.Bool().Draw(t, "complete") {
		w.Complete(m.issue())
		return
	}
	m.s.st.Written = mvcc.NewWritten()
}

func (m *model) begin(t *rapid.T) {
	x := &modelTxn{start: m.issue(), mode: mvcc.Mode(rapid.IntRange(0, 2).Draw(t, "mode")), async: true}
	x.keys = slices.DeleteFunc(slices.Clone(counters), func(shard.Key) bool { return rapid.IntRange(0, 2).Draw(t, "not") == 0 })
	if len(x.keys) == 0 {
		return
	}
	rows, ok := m.get(x.start, x.keys)
	if !ok {
		return
	}
	m.txns = append(m.txns, x)
	cut := len(x.keys)
	if x.mode != mvcc.OnePhase {
		cut = rapid.IntRange(1, len(x.keys)).Draw(t, "cut")
	}
	limit := mvcc.Timestamp(0)
	if x.mode != mvcc.TwoPhase {
		limit = x.start + mvcc.Timestamp(rapid.IntRange(1, 60).Draw(t, "limit"))
	}
	held := rapid.IntRange(0, 3).Draw(t, "pessimistic") == 0
	if held {
		m.send(mvcc.NewPessimisticLock(x.start, x.start, x.keys[0], 1, x.keys[:cut]...), func(*mvcc.Result) {})
		m.do(m.sent[len(m.sent)-1].c)
	}
	for _, part := range [][2]int{{0, cut}, {cut, len(x.keys)}} {
		if part[0] == part[1] {
			continue
		}
		c := &mvcc.Prewrite{Mode: x.mode, StartTS: x.start, MaxCommitTS: limit, TTLMillis: 1, Primary: x.keys[0]}
		if x.mode == mvcc.Async && part[0] == 0 {
			c.Secondaries = x.keys[1:]
		}
		for i := part[0]; i < part[1]; i++ {
			c.Mutations = append(c.Mutations, mvcc.Mutation{Kind: mvcc.Put, Key: x.keys[i], Held: held && i < cut, Value: encode(x.keys[i], count(rows[i])+1)})
		}
		if err := c.Check(); err != nil {
			m.Fatal(err)
		}
		x.waits++
		m.send(c, func(r *mvcc.Result) { m.prewritten(x, r) })
	}
}

// prewritten is the owner's reaction to the answer to a prewrite.
func (m *model) prewritten(x *modelTxn, r *mvcc.Result) {
	if x.over {
		return
	}
	if len(r.Rejected) > 0 {
		x.over = true
		m.send(mvcc.NewRollback(x.start, x.keys...), func(*mvcc.Result) {})
		return
	}
	if r.CommitTS != 0 {
		x.over = true
		m.ack(x, r.CommitTS)
		return
	}
	x.waits--
	x.async = x.async && r.Async
	x.at = max(x.at, r.MinCommitTS)
	if x.waits > 0 {
		return
	}
	x.over = true
	if x.async {
		m.ack(x, x.at)
		m.send(mvcc.NewCommit(x.start, x.at, x.keys...), func(*mvcc.Result) {})
		return
	}
	at := m.issue()
	m.send(mvcc.NewCommit(x.start, at, x.keys[0]), func(r *mvcc.Result) {
		if len(r.Rejected) == 0 {
			m.ack(x, at)
			m.send(&mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: x.start, CommitTS: at}}, List: x.keys}, func(*mvcc.Result) {})
		}
	})
}

func (m *model) ack(x *modelTxn, at mvcc.Timestamp) {
	if at > m.clock+1 {
		m.Fatalf("%d is committed at %d, and a reader at %d misses it", x.start, at, m.clock+2)
	}
	if x.acked != 0 && x.acked != at {
		m.Fatalf("%d is committed at %d and at %d", x.start, x.acked, at)
	}
	x.acked = at
}

func (m *model) add(t *rapid.T) {
	x := &modelTxn{start: m.issue(), keys: []shard.Key{rapid.SampledFrom(counters[:2]).Draw(t, "key")}}
	m.txns = append(m.txns, x)
	m.send(&mvcc.Add{StartTS: x.start, MaxCommitTS: x.start + 1000, Key: x.keys[0], Delta: 1}, func(r *mvcc.Result) {
		if len(r.Rejected) == 0 {
			m.ack(x, r.CommitTS)
		}
	})
}

// next delivers one of the newest commands that has no answer yet, so that owners and recoverers meet half-way.
func (m *model) next(t *rapid.T) {
	var open []*message
	for _, msg := range m.sent[max(0, len(m.sent)-8):] {
		if msg.then != nil {
			open = append(open, msg)
		}
	}
	if len(open) > 0 {
		m.hand(rapid.SampledFrom(open).Draw(t, "open"))
	}
}

// deliver delivers any command that was ever sent.
func (m *model) deliver(t *rapid.T) {
	if len(m.sent) > 0 {
		m.hand(rapid.SampledFrom(m.sent).Draw(t, "message"))
	}
}

// hurry delivers the newest commands, so that some transactions come to an end.
func (m *model) hurry(t *rapid.T) {
	for i := max(0, len(m.sent)-rapid.IntRange(1, 4).Draw(t, "n")); i < len(m.sent); i++ {
		m.hand(m.sent[i])
	}
}

func (m *model) hand(msg *message) {
	r := m.do(msg.c)
	if then := msg.then; then != nil {
		msg.then = nil
		then(r)
	}
}

func (m *model) read(t *rapid.T) {
	ts := m.issue()
	if rapid.Bool().Draw(t, "past") {
		ts -= 2 * mvcc.Timestamp(rapid.IntRange(0, 30).Draw(t, "ago"))
	}
	if rows, ok := m.get(ts, counters); ok {
		m.reads = append(m.reads, answered{ts, rows})
	}
}

// recoverOne finds a lock and finishes its transaction, or pushes it, as a stopped reader does.
func (m *model) recoverOne(t *rapid.T) {
	a, err := m.s.ask(&mvcc.Query{Kind: mvcc.ScanLocks, TS: 1 << 40, Range: shard.ModeRange(shard.ModeTxn)})
	if err != nil {
		m.Fatal(err)
	}
	if len(a.Locks) > 0 {
		l := rapid.SampledFrom(a.Locks).Draw(t, "lock")
		m.finish(l, rapid.Bool().Draw(t, "expired"))
	}
}

func (m *model) finish(l mvcc.LockInfo, expired bool) {
	c := &mvcc.CheckStatus{Primary: l.Primary, StartTS: l.StartTS, CallerTS: m.issue(), RollbackMissing: expired}
	if expired {
		c.CurrentTS = 1 << 40
	}
	r := m.do(c)
	if r.Status == mvcc.StatusLocked && r.Locks[0].Async && expired {
		if r = m.finishAsync(c, r.Locks[0]); r == nil {
			return
		}
	}
	if r.Status == mvcc.StatusCommitted || r.Status == mvcc.StatusRolledBack {
		m.do(&mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: l.StartTS, CommitTS: r.CommitTS}}, List: []shard.Key{l.Key}})
	}
}

// finishAsync decides an async commit from its locks.
func (m *model) finishAsync(status *mvcc.CheckStatus, primary mvcc.LockInfo) *mvcc.Result {
	at, all := primary.MinCommitTS, []shard.Key{primary.Key}
	if len(primary.Secondaries) > 0 {
		all = append(all, primary.Secondaries...)
		r := m.do(mvcc.NewCheckSecondaries(primary.StartTS, primary.Secondaries...))
		switch {
		case len(r.Rejected) > 0:
			return nil
		case r.Status == mvcc.StatusCommitted:
			at = r.CommitTS
		case r.Status == mvcc.StatusRolledBack:
			at = 0
		}
		for _, l := range r.Locks {
			if !l.Async && r.Status == mvcc.StatusLocked {
				status.AsTwoPhase = true
				return m.do(status)
			}
			if r.Status == mvcc.StatusLocked {
				at = max(at, l.MinCommitTS)
			}
		}
	}
	m.do(&mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: primary.StartTS, CommitTS: at}}, List: all})
	return nil
}

// settle finishes every lock up to ts.
func (m *model) settle(ts mvcc.Timestamp) {
	for range 3 {
		a, err := m.s.ask(&mvcc.Query{Kind: mvcc.ScanLocks, TS: ts, Range: shard.ModeRange(shard.ModeTxn)})
		if err != nil {
			m.Fatal(err)
		}
		for _, l := range a.Locks {
			m.finish(l, true)
		}
	}
}

func (m *model) collect(t *rapid.T) {
	safe := m.clock - 2*mvcc.Timestamp(rapid.IntRange(0, 30).Draw(t, "kept"))
	m.do(&mvcc.GC{SafePoint: safe})
	m.settle(safe)
	for _, x := range m.txns {
		if x.start < safe && !x.settled {
			x.settled, x.commit = true, m.fate(x)
		}
	}
	gc := &mvcc.GC{SafePoint: safe, Range: shard.ModeRange(shard.ModeTxn), Limit: rapid.IntRange(1, 9).Draw(t, "limit")}
	for {
		r := m.do(gc)
		if len(r.Rejected) > 0 {
			m.Fatalf("collect below %d: %v", safe, r.Rejected[0])
		}
		if r.Next == nil {
			return
		}
		gc.Range.Start = r.Next
	}
}

// fate is when x was committed, or zero; all its keys must agree.
func (m *model) fate(x *modelTxn) (at mvcc.Timestamp) {
	for i, k := range x.keys {
		r := m.do(&mvcc.CheckStatus{Primary: k, StartTS: x.start})
		if r.Status == mvcc.StatusLocked || i > 0 && r.CommitTS != at {
			m.Fatalf("%d: %s at %d, before it %d: %+v\n%s", x.start, name(k), r.CommitTS, at, r, m.s.w)
		}
		at = r.CommitTS
	}
	if x.acked != 0 && x.acked != at {
		m.Fatalf("%d was acknowledged at %d and is at %d", x.start, x.acked, at)
	}
	return at
}

func (m *model) end() {
	m.settle(1 << 40)
	m.endWatch()
	want := map[string]uint64{}
	for _, x := range m.txns {
		if !x.settled {
			x.commit = m.fate(x)
		}
		for _, k := range x.keys {
			if x.commit != 0 {
				want[name(k)]++
			}
		}
	}
	rows, ok := m.get(m.issue(), counters)
	if !ok {
		m.Fatalf("locks are left:\n%s", m.s.w)
	}
	for i, k := range counters {
		if got := count(rows[i]); got != want[name(k)] {
			m.Fatalf("%s is %d, %d were committed:\n%s", name(k), got, want[name(k)], m.s.w)
		}
	}
	for _, r := range m.reads {
		if r.ts < m.s.st.SafePoint {
			continue
		}
		if again, ok := m.get(r.ts, counters); !ok || !reflect.DeepEqual(r.rows, again) {
			m.Fatalf("at %d was read %v, and now %v:\n%s", r.ts, r.rows, again, m.s.w)
		}
	}
}
