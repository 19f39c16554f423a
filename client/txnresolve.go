package client

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// maxFates bounds what is remembered of transactions whose locks were met.
const maxFates = 4096

// fates remembers what became of other transactions: their primaries have spoken, so it never changes.
type fates struct {
	mu    sync.Mutex
	known map[Timestamp]Timestamp // start to commit timestamp; zero: rolled back
	ring  []Timestamp
	next  int
}

func newFates() *fates { return &fates{known: make(map[Timestamp]Timestamp)} }

func (f *fates) get(start Timestamp) (commit Timestamp, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	commit, ok = f.known[start]
	return commit, ok
}

func (f *fates) put(start, commit Timestamp) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.known[start]; ok {
		return
	}
	f.known[start] = commit
	if len(f.ring) < maxFates {
		f.ring = append(f.ring, start)
		return
	}
	delete(f.known, f.ring[f.next])
	f.ring[f.next] = start
	f.next = (f.next + 1) % maxFates
}

// verdict is what is known of a transaction whose lock is in the way.
type verdict struct {
	decided bool
	commit  Timestamp // of a decided one; zero: rolled back
	// pushed: it is undecided, and commits above the reader's timestamp if at all.
	pushed bool
}

// settle deals with locks in the way of a reader at ts, or, with zero, of a writer. Locks of decided transactions are
// finished. pass names transactions that a reader may read past; wait is a lock whose transaction lives and must be waited
// for, or nil.
func (e *effort) settle(locks []mvcc.LockInfo, ts Timestamp) (pass []Timestamp, wait *mvcc.LockInfo, err error) {
	by := slices.Clone(locks)
	slices.SortFunc(by, func(a, b mvcc.LockInfo) int {
		return cmp.Or(cmp.Compare(a.StartTS, b.StartTS), a.Key.Compare(b.Key))
	})
	for len(by) > 0 {
		n := 1
		for n < len(by) && by[n].StartTS == by[0].StartTS {
			n++
		}
		v, err := e.fateOf(&by[0], ts)
		switch {
		case err != nil:
			return nil, nil, err
		case v.decided && ts != 0 && (v.commit == 0 || v.commit > ts):
			// The reader does not need the lock to go, so it only asks for it.
			pass = append(pass, by[0].StartTS)
			e.finishLater(by[:n], v.commit)
		case v.decided:
			if err := e.finish(by[:n], v.commit); err != nil {
				return nil, nil, err
			}
		case v.pushed:
			pass = append(pass, by[0].StartTS)
		default:
			wait = &by[0]
		}
		by = by[n:]
	}
	return pass, wait, nil
}

// finish makes locks of one decided transaction what its primary says.
func (e *effort) finish(locks []mvcc.LockInfo, commit Timestamp) error {
	keys := make([]shard.Key, len(locks))
	for i := range locks {
		keys[i] = locks[i].Key
	}
	return e.resolveKeys(locks[0].StartTS, commit, keys)
}

func (e *effort) finishLater(locks []mvcc.LockInfo, commit Timestamp) {
	locks = slices.Clone(locks)
	e.db.later(func(e *effort) { _ = e.finish(locks, commit) })
}

func (e *effort) resolveKeys(start, commit Timestamp, keys []shard.Key) error {
	return e.db.overKeys(e, keys, func(e *effort, t *target, part []shard.Key) error {
		var a attempt
		_, err := e.command(t, &mvcc.Resolve{Txns: []mvcc.Decided{{StartTS: start, CommitTS: commit}}, List: part}, &a)
		return err // what is rejected was finished by another
	})
}

// fateOf asks the primary of a lock what became of its transaction, and decides if its owner seems gone.
func (e *effort) fateOf(l *mvcc.LockInfo, ts Timestamp) (verdict, error) {
	if commit, ok := e.db.fates.get(l.StartTS); ok {
		return verdict{decided: true, commit: commit}, nil
	}
	now := e.db.stamps.latest()
	missing := false
	for {
		res, err := e.checkStatus(&mvcc.CheckStatus{Primary: l.Primary, StartTS: l.StartTS, CallerTS: ts, CurrentTS: now, RollbackMissing: missing})
		if err != nil {
			return verdict{}, err
		}
		if len(res.Rejected) == 0 {
			return e.judge(l, res, ts)
		}
		x := res.Rejected[0]
		if x.Reason != mvcc.NoLock || missing {
			return verdict{}, e.fail(ErrInvalid, fmt.Errorf("the primary of %s does not tell: %w", l, x))
		}
		// The primary's prewrite may be under way until the life of this lock is over.
		if now, err = e.stamp(); err != nil {
			return verdict{}, err
		}
		if now.Millis() < l.ExpireAt {
			return verdict{}, nil
		}
		missing = true
	}
}

func (e *effort) checkStatus(cmd *mvcc.CheckStatus) (*mvcc.Result, error) {
	t := keyTarget(cmd.Primary)
	var a attempt
	return e.command(&t, cmd, &a)
}

func (e *effort) judge(l *mvcc.LockInfo, res *mvcc.Result, ts Timestamp) (verdict, error) {
	switch res.Status {
	case mvcc.StatusCommitted:
		return e.decided(l.StartTS, res.CommitTS), nil
	case mvcc.StatusRolledBack:
		return e.decided(l.StartTS, 0), nil
	}
	if len(res.Locks) != 1 {
		return verdict{}, e.fail(ErrInvalid, fmt.Errorf("the primary of %s answered without its lock", l))
	}
	p := &res.Locks[0]
	if p.Async && res.Expired {
		return e.recover(p)
	}
	// INVARIANT: only a lock that is prewritten has a least commit timestamp that its transaction must keep: the owner's
	// Commit is refused below it, and an async commit is at the largest one.
	return verdict{pushed: ts != 0 && p.Kind != mvcc.LockPessimistic && p.MinCommitTS > ts}, nil
}

func (e *effort) decided(start, commit Timestamp) verdict {
	e.db.fates.put(start, commit)
	return verdict{decided: true, commit: commit}
}

// recover decides an async commit whose owner seems gone: it is committed if all of its keys are locked for it, at the
// largest least commit timestamp. p is the primary's lock, which names the other keys.
//
// INVARIANT: asked keys answer for good, because those that are not locked are rolled back by the question. So everybody who
// recovers comes to the same decision, and it is the owner's.
func (e *effort) recover(p *mvcc.LockInfo) (verdict, error) {
	all := slices.Clone(p.Secondaries)
	slices.SortFunc(all, shard.Key.Compare)
	v, plain, err := e.askKeys(p.StartTS, p.MinCommitTS, all)
	if err != nil {
		return verdict{}, err
	}
	if plain {
		res, err := e.checkStatus(&mvcc.CheckStatus{Primary: p.Primary, StartTS: p.StartTS, CurrentTS: e.db.stamps.latest(), AsTwoPhase: true})
		switch {
		case err != nil:
			return verdict{}, err
		case len(res.Rejected) > 0:
			return verdict{}, e.fail(ErrInvalid, res.Rejected[0])
		case res.Status == mvcc.StatusLocked:
			return verdict{}, nil
		}
		v = verdict{decided: true, commit: res.CommitTS}
	}
	e.db.fates.put(p.StartTS, v.commit)
	all = append(without(all, p.Primary), p.Primary)
	slices.SortFunc(all, shard.Key.Compare)
	return v, e.resolveKeys(p.StartTS, v.commit, all)
}

func without(keys []shard.Key, k shard.Key) []shard.Key {
	return slices.DeleteFunc(slices.Clone(keys), func(o shard.Key) bool { return o.Compare(k) == 0 })
}

// askKeys asks keys of an async commit, in ascending order, whether they are locked for it. plain: one of them is, but not
// as an async commit's; then the primary decides, and v says nothing.
func (e *effort) askKeys(start, least Timestamp, keys []shard.Key) (v verdict, plain bool, err error) {
	var mu sync.Mutex
	commit, rolledBack, committed := least, false, Timestamp(0)
	if len(keys) == 0 {
		return verdict{decided: true, commit: commit}, false, nil
	}
	err = e.db.overKeys(e, keys, func(e *effort, t *target, part []shard.Key) error {
		var a attempt
		res, err := e.command(t, mvcc.NewCheckSecondaries(start, part...), &a)
		if err != nil {
			return err
		}
		if len(res.Rejected) > 0 {
			return e.fail(ErrInvalid, res.Rejected[0])
		}
		mu.Lock()
		defer mu.Unlock()
		switch res.Status {
		case mvcc.StatusCommitted:
			committed = res.CommitTS
		case mvcc.StatusRolledBack:
			rolledBack = true
		default:
			for i := range res.Locks {
				plain = plain || !res.Locks[i].Async
				commit = max(commit, res.Locks[i].MinCommitTS)
			}
			if len(res.Locks) != len(part) {
				return e.fail(ErrInvalid, errors.New("the store answered for another number of keys than was asked for"))
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return verdict{}, false, err
	case committed != 0:
		return verdict{decided: true, commit: committed}, false, nil
	case rolledBack:
		return verdict{decided: true}, false, nil
	}
	return verdict{decided: true, commit: commit}, plain, nil
}
