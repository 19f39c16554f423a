package apply

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// isTxn tells bodies of transactions from those of raw commands.
func isTxn(kind byte) bool { return kind >= mvcc.KindPrewrite }

// txn evaluates one command of a transaction. A result with Rejected is an answer like any other: nothing was done.
func (m *Machine) txn(body []byte, w Writer, bodies []byte) (outcome, error) {
	c, err := mvcc.Decode(body)
	if err != nil {
		return outcome{}, &shard.InvalidError{Why: err.Error()}
	}
	// Checked again as for raw commands: a key outside would be written into another shard's data.
	if err := mvcc.CheckIn(c, m.Desc); err != nil {
		return outcome{}, err
	}
	m.Txns = true
	st := m.TxnState()
	tw := w.Txn()
	if m.Changed != nil {
		tw = mvcc.Tap{Writer: tw, On: m.Changed}
	}
	r, eff, err := mvcc.Evaluate(c, tw, st)
	if err != nil {
		return outcome{}, err
	}
	if eff.Locks < 0 && uint64(-eff.Locks) > st.Locks {
		return outcome{}, fmt.Errorf("%d locks went, and the shard had %d", -eff.Locks, st.Locks)
	}
	// INVARIANT: Locks is exact, because reads look for none while it is zero.
	m.Applied.Locks = st.Locks + uint64(eff.Locks)
	m.Applied.SafePoint, m.Applied.Collected = uint64(eff.SafePoint), uint64(eff.Collected)
	return outcome{bodies: r.Append(bodies), wrote: eff.Wrote}, nil
}

// TxnState is what the evaluation of transactions and queries needs of the applied state.
func (m *Machine) TxnState() mvcc.State {
	st := TxnState(m.Applied)
	st.Written = m.Written
	return st
}

// TxnState is what queries need of an applied state.
func TxnState(a shard.Applied) mvcc.State {
	return mvcc.State{Time: a.Time, SafePoint: mvcc.Timestamp(a.SafePoint), Collected: mvcc.Timestamp(a.Collected), Locks: a.Locks}
}

// divideLocks counts the locks of each part of a split, and leaves left its own.
//
// INVARIANT: the counts of the parts add up to the whole's, and each is exact.
func (m *Machine) divideLocks(ev *Split, w Writer) error {
	ev.Locks = make([]uint64, len(ev.Right))
	for i, d := range ev.Right {
		if m.Applied.Locks == 0 {
			break
		}
		n, err := mvcc.CountLocks(w.Txn(), d.Range)
		if err != nil {
			return err
		}
		if n > m.Applied.Locks {
			return fmt.Errorf("%s holds %d locks, all of them are %d", d.Range, n, m.Applied.Locks)
		}
		if !bug.SplitLosesLocks.On() {
			ev.Locks[i] = n
		}
		m.Applied.Locks -= n
	}
	return nil
}
