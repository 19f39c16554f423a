package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/skerrydb/skerry/client"
)

// The new-order transaction of TPC-C (revision 5.11, clause 2.4) with its contention and its number of keys, and little of
// its columns: a district of a warehouse gives the next order number, 5 to 15 items are taken from the stock, one in a
// hundred from another warehouse's, and the order is written with its lines. It is no TPC-C result, and must not be
// compared with one.
const (
	districts    = 10 // of a warehouse
	stockItems   = 1000
	minOrderLine = 5
	maxOrderLine = 15
	stockAtFirst = 100_000
	loadTxnKeys  = 500
)

func (r *run) districtKey(warehouse, district uint64) []byte {
	return fmt.Appendf(nil, "%s%016x/district/%02d", r.o.Prefix, mix(warehouse), district)
}

func (r *run) stockKey(warehouse, item uint64) []byte {
	return fmt.Appendf(nil, "%s%016x/stock/%06d", r.o.Prefix, mix(warehouse), item)
}

func (r *run) orderKey(warehouse, district uint64, order int64, line int) []byte {
	return fmt.Appendf(nil, "%s%016x/order/%02d/%010d/%02d", r.o.Prefix, mix(warehouse), district, order, line)
}

// loadWarehouse writes one warehouse: its districts and its stock.
func (r *run) loadWarehouse(ctx context.Context, _ *rand.Rand, warehouse, _ uint64) error {
	var bytes int64
	for from := uint64(0); from < stockItems; from += loadTxnKeys {
		err := r.db.Update(ctx, func(tx *client.Txn) error {
			bytes = 0
			put := func(key []byte, n int64) error {
				bytes += int64(len(key) + 8)
				return tx.Put(key, money(n))
			}
			for d := uint64(0); d < districts && from == 0; d++ {
				if err := put(r.districtKey(warehouse, d), 1); err != nil {
					return err
				}
			}
			for i := from; i < min(from+loadTxnKeys, stockItems); i++ {
				if err := put(r.stockKey(warehouse, i), stockAtFirst); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.loaded(1, bytes)
	return nil
}

// orderLine is one line of an order that is being made.
type orderLine struct {
	stock []byte // its key
	count int64
}

// newOrder makes one order.
func (w *worker) newOrder(ctx context.Context) error {
	home, district := w.choose.next(w.o.Keys), w.rng.Uint64N(districts)
	lines := make([]orderLine, minOrderLine+w.rng.IntN(maxOrderLine-minOrderLine+1))
	for i := range lines {
		from := home
		if w.rng.IntN(100) == 0 {
			from = w.rng.Uint64N(w.o.Keys)
		}
		lines[i] = orderLine{stock: w.stockKey(from, w.rng.Uint64N(stockItems)), count: int64(1 + w.rng.IntN(10))}
	}
	slices.SortFunc(lines, func(a, b orderLine) int { return slices.Compare(a.stock, b.stock) })
	lines = slices.CompactFunc(lines, func(a, b orderLine) bool { return string(a.stock) == string(b.stock) })
	return w.db.Update(ctx, func(tx *client.Txn) error {
		key := w.districtKey(home, district)
		order, err := amount(tx.GetForUpdate(key))
		if err != nil {
			return err
		}
		if err := tx.Put(key, money(order+1)); err != nil {
			return err
		}
		stocks := make([][]byte, len(lines))
		for i := range lines {
			stocks[i] = lines[i].stock
		}
		found, err := tx.GetMany(stocks)
		if err != nil {
			return err
		}
		for i := range lines {
			have, err := amount(found[i].Value, nil)
			if err != nil {
				return err
			}
			if have < lines[i].count+10 {
				have += stockAtFirst
			}
			if err := tx.Put(lines[i].stock, money(have-lines[i].count)); err != nil {
				return err
			}
			if err := tx.Put(w.orderKey(home, district, order, 1+i), valueOf(w.rng, 24)); err != nil {
				return err
			}
		}
		return tx.Put(w.orderKey(home, district, order, 0), money(int64(len(lines))))
	})
}
