package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"

	"github.com/skerrydb/skerry/client"
)

// startBalance is what an account of the bank holds at first.
const startBalance = 1000

// money encodes an amount, or a counter, as counters are: 8 bytes, big-endian.
func money(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// amount reads one; a key without a value is zero.
func amount(v []byte, err error) (int64, error) {
	switch {
	case errors.Is(err, client.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case len(v) != 8:
		return 0, errors.New("the record is no number of 8 bytes; another workload wrote it: use another --prefix")
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

// loadAccounts gives accounts their first balance.
func (r *run) loadAccounts(ctx context.Context, _ *rand.Rand, from, to uint64) error {
	var bytes int64
	err := r.db.Update(ctx, func(tx *client.Txn) error {
		bytes = 0
		for i := from; i < to; i++ {
			key := keyOf(r.o.Prefix, i)
			bytes += int64(len(key) + 8)
			if err := tx.Put(key, money(startBalance)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		r.loaded(int(to-from), bytes)
	}
	return err
}

// transfer moves a little money from one account to another, if there is any.
func (w *worker) transfer(ctx context.Context) error {
	from, to := w.key(), w.key()
	sum := int64(1 + w.rng.IntN(10))
	if string(from) == string(to) {
		to = keyOf(w.o.Prefix, w.rng.Uint64N(w.o.Keys))
	}
	return w.db.Update(ctx, func(tx *client.Txn) error {
		found, err := tx.GetMany([][]byte{from, to})
		if err != nil || string(from) == string(to) {
			return err
		}
		var have [2]int64
		for i, f := range found {
			var missing error
			if !f.Found {
				missing = client.ErrNotFound
			}
			if have[i], err = amount(f.Value, missing); err != nil {
				return err
			}
		}
		if have[0] < sum {
			return nil
		}
		if err := tx.Put(from, money(have[0]-sum)); err != nil {
			return err
		}
		return tx.Put(to, money(have[1]+sum))
	})
}

// locked adds one to a counter the long way.
func (w *worker) locked(ctx context.Context) error {
	key := w.key()
	return w.db.Update(ctx, func(tx *client.Txn) error {
		n, err := amount(tx.GetForUpdate(key))
		if err != nil {
			return err
		}
		return tx.Put(key, money(n+1))
	})
}
