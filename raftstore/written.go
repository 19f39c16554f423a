package raftstore

import "github.com/skerrydb/skerry/shard/mvcc"

// writtenSlackMillis is what the times of two stores may differ by, and what a barrier may be ahead of them; see
// checkTimestamp.
const writtenSlackMillis = 1000

// beginWritten begins to remember the latest writes of transactions: mvcc.Written. A replica does so with the first command
// of a transaction that it applies, and forgets when it falls asleep, and before anything that leaves out entries of the log.
//
// INVARIANT: no record that was there before lies above the base. It was made under a timestamp that this check let pass,
// some time before the one that is fetched here was issued.
func (r *replica) beginWritten() {
	s := r.w.store
	if !r.machine.Txns || r.machine.Written != nil || s.opt.Timestamps == nil || r.held {
		return
	}
	wr := mvcc.NewWritten()
	r.machine.Written = wr
	s.stamps.fetch(func(ts uint64, err error) {
		r.w.task(func() {
			switch {
			case r.machine.Written != wr:
			case err != nil:
				r.machine.Written = nil // the next command begins anew
			default:
				wr.Complete(mvcc.AtMillis(timestampOf(ts).Millis() + maxAheadMillis + writtenSlackMillis))
			}
		})
	})
}

func (r *replica) forgetWritten() { r.machine.Written, r.machine.Txns = nil, false }
