package sim

import (
	"context"
	"fmt"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/history"
	"github.com/skerrydb/skerry/tests/history/txn"
)

// readTxns reads everything that transactions wrote, into the histories, as somebody who comes when all is over.
func (a *auditor) readTxns(ctx context.Context) error {
	c := a.c
	if c.knobs.Txns == 0 {
		return nil
	}
	rec := txn.Txn{Name: "the end", Begun: c.tick(), Fate: history.Done}
	var counts [txnPlaces]int64
	var at client.Timestamp
	err := a.db.View(ctx, func(tx *client.Txn) error {
		rec.Ops = nil
		for place := range txnPlaces {
			for g := 0; g <= c.txn.generations[place]; g++ {
				if err := readLists1(tx, &rec, listKey(place, g)); err != nil {
					return err
				}
			}
			n, _, err := readNumber(tx, counterKey(place))
			if err != nil {
				return err
			}
			counts[place] = n
		}
		at = tx.StartTS()
		return nil
	})
	if err != nil {
		return err
	}
	rec.Ended = c.tick()
	c.txn.txns = append(c.txn.txns, rec)
	for place, n := range counts {
		c.txn.looks[place] = append(c.txn.looks[place], txn.Look{Name: "the end", Begun: rec.Begun, Ended: rec.Ended, TS: uint64(at), Value: n})
		if err := txn.Counter(c.txn.adds[place], n); err != nil {
			c.monitors.violated("counter", "place %d: %v", place, err)
		}
	}
	return nil
}

func readLists1(tx *client.Txn, rec *txn.Txn, key string) error {
	found, err := tx.GetMany([][]byte{[]byte(key)})
	if err == nil {
		rec.Ops = append(rec.Ops, txn.Op{Key: key, Read: elementsOf(found[0].Value)})
	}
	return err
}

// checkTxns judges what transactional clients saw.
func (c *cluster) checkTxns() error {
	c.monitors.seen["lists"] += len(c.txn.txns)
	if found := txn.Check(c.txn.txns, c.knobs.level()); len(found) > 0 {
		return fmt.Errorf("lists: under %s: %s", c.knobs.level(), found[0])
	}
	for place := range txnPlaces {
		if err := txn.Monotonic(c.txn.looks[place]); err != nil {
			return fmt.Errorf("monotonic: counter %d: %w", place, err)
		}
	}
	if err := txn.Skew(c.txn.pairs, c.knobs.level()); err != nil {
		return fmt.Errorf("skew: %w", err)
	}
	return nil
}
