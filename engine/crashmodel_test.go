package engine

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/shard"
)

// replicaModel is what a replica should look like. Values are immutable once they are part of a version.
type replicaModel struct {
	replica shard.ReplicaID
	hs      HardState // as in its record
	base    position
	applied shard.Applied
	log     []entryModel // all after base, also the truncated ones
}

type entryModel struct{ term, commit uint64 }

type moment struct {
	replicas map[shard.ID]replicaModel
	data     map[string]string
	next     map[shard.ID]shard.ReplicaID
}

func (m replicaModel) trunc() uint64 { return max(m.base.index, m.applied.TruncIndex) }
func (m replicaModel) last() uint64  { return m.base.index + uint64(len(m.log)) }
func (m replicaModel) term(i uint64) uint64 {
	if i == m.base.index {
		return m.base.term
	}
	return m.log[i-m.base.index-1].term
}

// commit is what a restart knows of the commit index.
func (m replicaModel) commit() uint64 {
	c := max(m.hs.Commit, m.applied.Index)
	if m.last() > m.trunc() {
		c = max(c, m.log[len(m.log)-1].commit)
	}
	return min(c, m.last())
}

// with is m with the log of another version, of which it takes what belongs to its own life. ok is false if a store never shows
// the two: it applies nothing that the journal may lose.
func (m replicaModel) with(l replicaModel, lives bool) (_ replicaModel, ok bool) {
	m.log = nil
	if lives && l.replica == m.replica && l.base == m.base {
		m.log = l.log
	}
	if t := m.term(m.last()); m.hs.Term < t {
		m.hs.Term, m.hs.Vote = t, 0
	}
	return m, m.applied.Index <= m.last() && m.trunc() <= m.last()
}

// with is the states of v with the logs of l.
func (v moment) with(l moment) (out moment, ok bool) {
	out = v.clone()
	for id, m := range v.replicas {
		lm, lives := l.replicas[id]
		if out.replicas[id], ok = m.with(lm, lives); !ok {
			return out, false
		}
	}
	return out, true
}

func (v moment) clone() moment {
	return moment{replicas: maps.Clone(v.replicas), data: maps.Clone(v.data), next: maps.Clone(v.next)}
}

// String is what the store should show after a restart.
func (v moment) String() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(v.replicas)) {
		m := v.replicas[id]
		fmt.Fprintf(&b, "%s %s term %d vote %d commit %d applied %d/%d log", id, m.replica, m.hs.Term, m.hs.Vote,
			m.commit(), m.applied.Index, m.applied.Term)
		for i := m.trunc(); i <= m.last(); i++ {
			fmt.Fprintf(&b, " %d/%d", m.term(i), i)
		}
		b.WriteByte('\n')
	}
	for _, id := range slices.Sorted(maps.Keys(v.next)) {
		fmt.Fprintf(&b, "%s tombstone %s\n", id, v.next[id])
	}
	for _, k := range slices.Sorted(maps.Keys(v.data)) {
		fmt.Fprintf(&b, "%s=%s\n", k, brief([]byte(v.data[k])))
	}
	return b.String()
}

func brief(v []byte) string { return fmt.Sprintf("%.8s#%d", v, len(v)) }

// observe is moment.String of a store that was just opened.
func observe(e *Engine) (string, error) {
	all, err := e.Replicas()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, rs := range all {
		fmt.Fprintf(&b, "%s %s term %d vote %d commit %d applied %d/%d log", rs.Shard, rs.Replica, rs.Hard.Term, rs.Hard.Vote,
			rs.Hard.Commit, rs.Applied.Index, rs.Applied.Term)
		l := e.OpenLog(rs)
		first, _ := l.FirstIndex()
		for i := first - 1; i <= rs.LastIndex; i++ {
			term, err := l.Term(i)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, " %d/%d", term, i)
		}
		if rs.LastIndex >= first {
			if _, err := l.Entries(first, rs.LastIndex+1, math.MaxUint64); err != nil {
				return "", err
			}
		}
		b.WriteByte('\n')
	}
	for _, id := range []shard.ID{1001, 1002} {
		if next, ok, err := e.Tombstone(id); err != nil {
			return "", err
		} else if ok {
			fmt.Fprintf(&b, "%s tombstone %s\n", id, next)
		}
	}
	r := e.NewReader()
	defer r.Close()
	err = r.Scan(shard.Range{}, false, func(k shard.Key, v []byte) bool {
		fmt.Fprintf(&b, "%s=%s\n", k, brief(v))
		return true
	})
	return b.String(), err
}
