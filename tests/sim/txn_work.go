package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/tests/history"
	"github.com/skerrydb/skerry/tests/history/txn"
)

// What transactional clients do. Money of the bank begins with bankEach in each place.
const bankEach = 100

// maxLooked is how many of the newest views of all accounts are looked at again.
const maxLooked = 30

func placePrefix(place int) string { return fmt.Sprintf("t%02d/", place) }

func listKey(place, generation int) string {
	return fmt.Sprintf("%slist/%03d", placePrefix(place), generation)
}

func accountKey(place int) []byte { return []byte(placePrefix(place) + "bank") }
func counterKey(place int) []byte { return []byte(placePrefix(place) + "count") }

// pairKeys are two keys in different places.
func pairKeys() [2][]byte {
	return [2][]byte{[]byte(placePrefix(0) + "pair"), []byte(placePrefix(txnPlaces-1) + "pair")}
}

func elementsOf(v []byte) []string {
	if len(v) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(v), ","), ",")
}

// lists runs a transaction on one to four lists: reads, and appends, which read as well.
func (x *txnClient) lists(ctx context.Context) {
	c := x.c
	x.seq++
	rec := &txn.Txn{Name: fmt.Sprintf("t%d.%d.%d", x.id, x.lives, x.seq), Begun: c.tick()}
	x.open = rec
	var plan []txn.Op
	used := make(map[int]bool)
	for i := range 1 + c.w.IntN(4) {
		place := c.w.IntN(txnPlaces)
		op := txn.Op{Key: listKey(place, c.txn.generations[place])}
		if c.w.Chance(0.5) && !used[place] {
			op.Append, used[place] = fmt.Sprintf("%s.%d", rec.Name, i), true
		}
		plan = append(plan, op)
	}
	var err error
	if len(used) == 0 {
		err = x.db.View(ctx, func(tx *client.Txn) error { return readLists(tx, rec, plan) })
	} else {
		err = x.db.Update(ctx, func(tx *client.Txn) error { return appendLists(tx, rec, plan) }, x.options()...)
	}
	rec.Fate, rec.Ended, x.open = fate(err), c.tick(), nil
	x.machine.Log("%s: %v", rec, err)
	c.txn.txns = append(c.txn.txns, *rec)
	if rec.Fate != history.Done {
		return
	}
	for place := range txnPlaces {
		if used[place] {
			c.txn.lastOK[place] = rec.Ended
			x.turn(rec, place)
		}
	}
}

// turn goes on with a fresh list where one has become long.
func (x *txnClient) turn(rec *txn.Txn, place int) {
	g := &x.c.txn.generations[place]
	for _, op := range rec.Ops {
		if op.Key == listKey(place, *g) && len(op.Read) >= maxListed {
			*g++
			return
		}
	}
}

func readLists(tx *client.Txn, rec *txn.Txn, plan []txn.Op) error {
	rec.Ops = nil
	keys := make([][]byte, len(plan))
	for i := range plan {
		keys[i] = []byte(plan[i].Key)
	}
	found, err := tx.GetMany(keys)
	if err != nil {
		return err
	}
	for i := range found {
		rec.Ops = append(rec.Ops, txn.Op{Key: plan[i].Key, Read: elementsOf(found[i].Value)})
	}
	return nil
}

func appendLists(tx *client.Txn, rec *txn.Txn, plan []txn.Op) error {
	rec.Ops = nil
	for _, op := range plan {
		v, err := tx.Get([]byte(op.Key))
		if err != nil && !errors.Is(err, client.ErrNotFound) {
			return err
		}
		rec.Ops = append(rec.Ops, txn.Op{Key: op.Key, Read: elementsOf(v)})
		if op.Append == "" {
			continue
		}
		if err := tx.Put([]byte(op.Key), append(v, op.Append+","...)); err != nil {
			return err
		}
		rec.Ops = append(rec.Ops, txn.Op{Key: op.Key, Append: op.Append})
	}
	return nil
}

func number(v []byte) int64 {
	if len(v) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

func numberBytes(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// read reads a number; a key that is not there has none.
func readNumber(tx *client.Txn, key []byte) (n int64, found bool, err error) {
	v, err := tx.Get(key)
	if errors.Is(err, client.ErrNotFound) {
		return 0, false, nil
	}
	return number(v), err == nil, err
}

// transfer moves money from one account to another one; whoever finds none opens them all.
func (x *txnClient) transfer(ctx context.Context) {
	from, by := x.c.w.IntN(txnPlaces), 1+x.c.w.IntN(txnPlaces-1)
	to, amount := (from+by)%txnPlaces, int64(1+x.c.w.IntN(20))
	err := x.db.Update(ctx, func(tx *client.Txn) error {
		a, found, err := readNumber(tx, accountKey(from))
		if err != nil {
			return err
		}
		if !found {
			return openAccounts(tx)
		}
		b, _, err := readNumber(tx, accountKey(to))
		if err != nil || a < amount {
			return err
		}
		if err := tx.Put(accountKey(from), numberBytes(a-amount)); err != nil {
			return err
		}
		return tx.Put(accountKey(to), numberBytes(b+amount))
	}, x.options()...)
	x.machine.Log("transfer %d from %d to %d: %v", amount, from, to, err)
}

func openAccounts(tx *client.Txn) error {
	for place := range txnPlaces {
		if err := tx.Put(accountKey(place), numberBytes(bankEach)); err != nil {
			return err
		}
	}
	return nil
}

// balances reads all accounts in one view: by their keys, or by scans.
func (x *txnClient) balances(ctx context.Context) {
	got, scan := map[string]string{}, x.c.w.Chance(0.5)
	var at client.Timestamp
	err := x.db.View(ctx, func(tx *client.Txn) error {
		clear(got)
		defer func() { at = tx.StartTS() }()
		if scan {
			for kv, err := range tx.Scan(client.Prefix("t")) {
				if err != nil {
					return err
				}
				if strings.HasSuffix(string(kv.Key), "/bank") {
					got[string(kv.Key)] = fmt.Sprint(number(kv.Value))
				}
			}
			return nil
		}
		for place := range txnPlaces {
			n, found, err := readNumber(tx, accountKey(place))
			if err != nil {
				return err
			}
			if found {
				got[string(accountKey(place))] = fmt.Sprint(n)
			}
		}
		return nil
	})
	if err != nil || len(got) == 0 {
		x.machine.Log("balances: %d accounts, %v", len(got), err)
		return
	}
	x.c.txn.looked = append(x.c.txn.looked, at)
	x.checkBank(got, fmt.Sprintf("scan %v", scan))
}

func (x *txnClient) checkBank(got map[string]string, how string) {
	x.c.monitors.seen["bank"]++
	if err := (history.Bank{Accounts: txnPlaces, Each: bankEach}).Check(got); err != nil {
		x.c.monitors.violated("bank", "%s (%s)", err, how)
	}
}

// past reads all accounts as of a moment at which somebody read them some time ago, which the safe point may have passed.
func (x *txnClient) past(ctx context.Context) {
	of := x.c.txn.looked[max(0, len(x.c.txn.looked)-maxLooked):]
	if len(of) == 0 {
		return
	}
	ts := of[x.c.w.IntN(len(of))]
	var keys [][]byte
	for place := range txnPlaces {
		keys = append(keys, accountKey(place))
	}
	var opts []client.ReadOption
	if x.c.w.Chance(0.6) {
		opts = append(opts, client.ReadFromFollower())
	}
	found, err := x.db.At(ts, opts...).GetMany(ctx, keys)
	x.machine.Log("past: at %d: %v", ts, err)
	if err != nil {
		return
	}
	got := map[string]string{}
	for i := range found {
		if found[i].Found {
			got[string(keys[i])] = fmt.Sprint(number(found[i].Value))
		}
	}
	x.checkBank(got, fmt.Sprintf("at %d", ts))
}

// add adds to one counter, or to two.
func (x *txnClient) add(ctx context.Context) {
	first := x.c.w.IntN(txnPlaces)
	places := []int{first}
	if x.c.w.Chance(0.2) {
		places = append(places, (first+1)%txnPlaces)
	}
	x.addTo(ctx, places)
}

// A crowd is so many that add to one counter, and look at it, at once, each so many times: what a leader is asked to read is
// then often older than something that it has already been asked to add, and younger than what is under way before that.
const (
	crowdAdders, crowdLookers = 3, 4
	crowdTimes                = 3
)

func (x *txnClient) crowd(ctx context.Context) {
	place := x.c.w.IntN(txnPlaces)
	g := env.NewGroup(x.env, "crowd")
	for i := range crowdAdders + crowdLookers {
		g.Add()
		x.env.Go("crowd", func() {
			defer g.Done()
			for range crowdTimes {
				if i < crowdAdders {
					x.addTo(ctx, []int{place})
				} else {
					x.look(ctx, place)
				}
			}
		})
	}
	g.Wait()
}

func (x *txnClient) addTo(ctx context.Context, places []int) {
	delta := int64(1 + x.c.w.IntN(9))
	var at []int
	for _, p := range places {
		x.c.txn.adds[p] = append(x.c.txn.adds[p], txn.Added{Delta: delta})
		at = append(at, len(x.c.txn.adds[p])-1)
	}
	err := x.db.Update(ctx, func(tx *client.Txn) error {
		for _, p := range places {
			if err := tx.Add(counterKey(p), delta); err != nil {
				return err
			}
		}
		return nil
	})
	for i, p := range places {
		x.c.txn.adds[p][at[i]].Fate = map[history.Fate]txn.Outcome{history.Done: txn.Surely, history.Open: txn.Maybe, history.Refused: txn.Never}[fate(err)]
	}
	x.machine.Log("add %d to %v: %v", delta, places, err)
}

// look reads a counter.
func (x *txnClient) look(ctx context.Context, place int) {
	begun := x.c.tick()
	var n int64
	var ts client.Timestamp
	err := x.db.View(ctx, func(tx *client.Txn) (err error) {
		n, _, err = readNumber(tx, counterKey(place))
		ts = tx.StartTS()
		return err
	})
	if err == nil {
		x.c.txn.looks[place] = append(x.c.txn.looks[place], txn.Look{Name: fmt.Sprintf("t%d", x.id), Begun: begun, Ended: x.c.tick(), TS: uint64(ts), Value: n})
	}
}

// withdraw takes all that a pair holds together from one of the two, or puts something in.
func (x *txnClient) withdraw(ctx context.Context) {
	keys, side := pairKeys(), x.c.w.IntN(2)
	err := x.db.Update(ctx, func(tx *client.Txn) error {
		var n [2]int64
		for i := range keys {
			var err error
			if n[i], _, err = readNumber(tx, keys[i]); err != nil {
				return err
			}
		}
		if sum := n[0] + n[1]; sum > 0 {
			return tx.Put(keys[side], numberBytes(n[side]-sum))
		}
		return tx.Put(keys[side], numberBytes(n[side]+1))
	}, x.options()...)
	x.machine.Log("withdraw from %d: %v", side, err)
	var p txn.Pair
	err = x.db.View(ctx, func(tx *client.Txn) (err error) {
		if p.A, _, err = readNumber(tx, keys[0]); err == nil {
			p.B, _, err = readNumber(tx, keys[1])
		}
		p.Name = fmt.Sprintf("the view of t%d at %d", x.id, tx.StartTS())
		return err
	})
	if err == nil {
		x.c.txn.pairs = append(x.c.txn.pairs, p)
	}
}
