package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/shard"
)

// Standing is what a PessimisticLock of k would meet: the lock on k, nil if there is none, and when the newest version of
// k was committed, zero if there is none. It is for those who decide when to propose one; evaluation looks for itself.
func Standing(rd Reader, k shard.Key) (lock *LockInfo, newest Timestamp, err error) {
	b, ok, err := rd.Lock(k)
	if err == nil && ok {
		var l *Lock
		if l, err = DecodeLock(append([]byte(nil), b...)); err == nil {
			info := l.info(k)
			lock = &info
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("lock of %s: %w", short(k), err)
	}
	var bad error
	err = rd.Versions(k, MaxTimestamp, func(ts Timestamp, b []byte) bool {
		var r record
		if r, bad = decodeRecord(b); bad == nil && r.committed() {
			newest = ts
		}
		return bad == nil && newest == 0
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, 0, fmt.Errorf("versions of %s: %w", short(k), err)
	}
	return lock, newest, nil
}

// CommitsAt is when a command commits keys that its transaction has locked, if it is applied and not rejected: zero if it
// does not, or at a timestamp that is not its own to say.
func CommitsAt(c Command, floor Timestamp) (start, commit Timestamp) {
	switch c := c.(type) {
	case *Commit:
		return c.StartTS, c.CommitTS
	case *Prewrite:
		if c.Mode == OnePhase {
			p := *c
			p.Floor = floor
			return c.StartTS, p.minCommit()
		}
	}
	return 0, 0
}
