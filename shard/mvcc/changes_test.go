package mvcc_test

import (
	"cmp"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// watcher is the part of the model that watches: it asks for changes, a page at a time, sometimes with a ring.
type watcher struct {
	all   []change // that were ever written, each once
	fresh []mvcc.Change

	ring  *mvcc.Ring
	from  mvcc.Timestamp // where the watch began
	after mvcc.Timestamp
	key   shard.Key
	got   []change
}

// change is a version, or a row of a watch. before is what was there, as a read told.
type change struct {
	mvcc.Change
	found, hadBefore bool
	value, before    string
}

// startWatch notes every change from now on.
func (m *model) startWatch() {
	m.s.on = func(k shard.Key, ts mvcc.Timestamp) {
		m.fresh = append(m.fresh, mvcc.Change{TS: ts, Key: k.Clone()})
		if m.ring != nil {
			m.ring.Add(k, ts)
		}
	}
}

// noteChanges reads what the last command wrote: as a Get without locks in its way.
func (m *model) noteChanges() {
	for _, c := range m.fresh {
		row, prev := m.rowAt(c.Key, c.TS), m.rowAt(c.Key, c.TS-1)
		now := change{Change: c, found: row.Found, value: string(row.Value), hadBefore: prev.Found, before: string(prev.Value)}
		at, found := slices.BinarySearchFunc(m.all, now, compareChanges)
		if found {
			m.all[at] = now // an Add went into it
			continue
		}
		m.all = slices.Insert(m.all, at, now)
	}
	m.fresh = m.fresh[:0]
}

func compareChanges(a, b change) int { return a.Compare(b.Change) }

func (m *model) rowAt(k shard.Key, ts mvcc.Timestamp) mvcc.Row {
	a, err := (&mvcc.Query{Kind: mvcc.Get, TS: ts, Keys: []shard.Key{k}}).Run(m.s.w, shard.Range{}, mvcc.State{})
	if err != nil {
		m.Fatal(err)
	}
	return a.Rows[0]
}

// watch asks for one page. Now and then the ring begins, or is told from when on it is complete.
func (m *model) watch(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "ring") {
	case 0:
		m.ring = mvcc.NewRing(rapid.IntRange(1, 20).Draw(t, "most"), 1<<10)
	case 1, 2:
		if m.ring != nil && !m.ring.Completed() {
			m.ring.Complete(m.issue())
		}
	}
	m.page(m.issue(), rapid.IntRange(1, 4).Draw(t, "rows"), rapid.SampledFrom([]int{0, 1, 9}).Draw(t, "bytes"))
}

// page is one page of the watch, and reports up to when it is complete.
func (m *model) page(ts mvcc.Timestamp, rows, bytes int) mvcc.Timestamp {
	m.maxRead = max(m.maxRead, ts)
	q := &mvcc.Query{Kind: mvcc.Changes, TS: ts, Range: shard.ModeRange(shard.ModeTxn), After: m.after, AfterKey: m.key, Limit: rows,
		MaxBytes: bytes, Previous: true}
	var recent mvcc.Recent
	if m.ring != nil {
		recent = m.ring
	}
	back, err := mvcc.DecodeQuery(q.Append(nil))
	if err = errors.Join(err, q.Check()); err != nil {
		m.Fatal(err)
	}
	a, _, err := back.ChangesFrom(m.s.w, shard.Range{}, m.s.st, recent)
	if err != nil {
		m.Fatal(err)
	}
	if a.Rejected != nil { // it was too slow
		m.from, m.after, m.key, m.got = a.Rejected.CommitTS, a.Rejected.CommitTS, nil, nil
		return 0
	}
	for i := 0; i < len(a.Rows); i += 2 {
		r, p := a.Rows[i], a.Rows[i+1]
		m.got = append(m.got, change{Change: mvcc.Change{TS: r.CommitTS, Key: r.Key}, found: r.Found, value: string(r.Value), hadBefore: p.Found,
			before: string(p.Value)})
		if r.CommitTS > a.Resolved {
			m.after, m.key = r.CommitTS, r.Key
		}
	}
	if a.Resolved >= cmp.Or(m.after, 1) && (len(a.Rows) == 0 || a.Rows[len(a.Rows)-2].CommitTS <= a.Resolved) {
		m.after, m.key = a.Resolved, nil
	}
	return a.Resolved
}

// endWatch catches up. No lock is left.
func (m *model) endWatch() {
	ts := m.issue()
	for range 10_000 {
		if m.page(ts, 3, 0) == ts {
			break
		}
	}
	var want []change
	for _, c := range m.all {
		if c.TS > m.from {
			want = append(want, c)
		}
	}
	if !slices.EqualFunc(want, m.got, func(a, b change) bool {
		return a.Compare(b.Change) == 0 && a.found == b.found && a.value == b.value && a.hadBefore == b.hadBefore && a.before == b.before
	}) {
		m.Fatalf("a watch from %d was told\n%v\nand there was\n%v", m.from, m.got, want)
	}
}

// TestWatchRaw: what cannot be watched is refused with the reason.
func TestWatchRaw(t *testing.T) {
	q := &mvcc.Query{Kind: mvcc.Changes, TS: 10, Range: shard.ModeRange(shard.ModeRaw)}
	var invalid *shard.InvalidError
	if err := q.Check(); !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	t.Log(q.Check())
}
