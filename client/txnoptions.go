package client

// Bounds of a transaction, which is kept in memory until it commits.
const (
	// maxTxnKeys and maxTxnBytes bound what it writes.
	maxTxnKeys  = 100_000
	maxTxnBytes = 64 << 20
)

// TxnOption is for Update and Begin.
type TxnOption interface{ applyTxn(*txnOptions) }

type txnOptions struct {
	pessimistic  bool
	serializable bool
	causal       bool
	maxBytes     int
}

type txnOption func(*txnOptions)

func (f txnOption) applyTxn(o *txnOptions) { f(o) }

// Pessimistic locks every key when it is written or read, instead of when the transaction commits: Put, Delete and Lock
// wait for other transactions, and Get is GetForUpdate. It spares a contended transaction most of its repetitions.
func Pessimistic() TxnOption { return txnOption(func(o *txnOptions) { o.pessimistic = true }) }

// Serializable has the transaction behave as if no other ran at the same time as it. Without it, it is under snapshot
// isolation: two transactions that read what the other one writes, and write different keys, may both commit. What was
// read is read once more at the commit timestamp, and a change is a conflict. It holds among transactions that ask for it.
func Serializable() TxnOption { return txnOption(func(o *txnOptions) { o.serializable = true }) }

// Causal spares a transaction that reads and then writes a question to placement. Whoever sees its writes then sees all that
// it read; but of two transactions that overlap in time and know of each other by other ways than the database, the second to commit
// may get the smaller timestamp. A transaction that begins after another one was committed sees it, with and without.
func Causal() TxnOption { return txnOption(func(o *txnOptions) { o.causal = true }) }

// TxnBytes bounds the keys and values that a transaction writes; the default, which is also the largest, is 64 MiB.
func TxnBytes(n int) TxnOption {
	return txnOption(func(o *txnOptions) {
		if n > 0 {
			o.maxBytes = min(n, maxTxnBytes)
		}
	})
}

func txnOptionsOf(opts []TxnOption) txnOptions {
	o := txnOptions{maxBytes: maxTxnBytes}
	for _, opt := range opts {
		opt.applyTxn(&o)
	}
	return o
}
