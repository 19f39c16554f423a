package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/tests/history"
	"github.com/skerrydb/skerry/tests/history/txn"
)

// txnPlaces are where transactional keys lie: each in a shard of its own.
const txnPlaces = 4

func placePrefix(place int) string { return fmt.Sprintf("t%d/", place) }

// cutPlaces gives each place its shard.
func cutPlaces(ctx context.Context, db *client.DB) error {
	var keys [][]byte
	for place := 1; place < txnPlaces; place++ {
		keys = append(keys, []byte(placePrefix(place)))
	}
	for s, err := range db.Admin().Shards(ctx) {
		if err != nil {
			return err
		}
		if s.Range.Contains(mvcc.Key(keys[0])) {
			_, err := db.Admin().SplitTxn(ctx, s.ID, keys...)
			return err
		}
	}
	return errors.New("no shard holds transactional keys")
}

const (
	txnListsPerEra = 6
	txnListEra     = 400 // transactions
	txnMaxOps      = 4
)

// txnLists is the workload of transactions over lists in several shards; package history/txn judges what they saw. Every
// other era asks for serializability, and is judged by it.
type txnLists struct {
	trial *trial
	begun time.Time
	eras  eras[*txnHistory]
}

type txnHistory struct {
	mu   sync.Mutex
	txns []txn.Txn
}

func (h *txnHistory) add(t *txn.Txn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.txns = append(h.txns, *t)
}

func newTxnLists(t *trial) *txnLists {
	l := &txnLists{trial: t, begun: time.Now()}
	l.eras = eras[*txnHistory]{trial: t, work: l.name(), limit: txnListEra, make: func(int) *txnHistory { return &txnHistory{} }, judge: l.judge}
	return l
}

func (*txnLists) name() string                      { return "list-append" }
func (l *txnLists) begin(ctx context.Context) error { return cutPlaces(ctx, l.trial.db) }
func (l *txnLists) end()                            { l.eras.end() }
func (l *txnLists) now() int64                      { return int64(time.Since(l.begun)) }

func levelOf(era int) txn.Level {
	if era%2 == 1 {
		return txn.Serializable
	}
	return txn.Snapshot
}

func txnListKey(era, list int) string {
	return fmt.Sprintf("%slist/%d/%05d", placePrefix(list%txnPlaces), list, era)
}

func elementsOf(v []byte) []string {
	if len(v) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(v), ","), ",")
}

// one is a transaction of some reads and appends.
func (l *txnLists) one(ctx context.Context, w *worker) error {
	e := l.eras.enter()
	defer e.users.Done()
	rec := &txn.Txn{Name: w.unique(), Begun: l.now()}
	var plan []txn.Op
	appended := make(map[int]bool)
	for i := range 1 + w.rnd.IntN(txnMaxOps) {
		list := w.rnd.IntN(txnListsPerEra)
		op := txn.Op{Key: txnListKey(e.no, list)}
		if w.rnd.IntN(2) == 0 && !appended[list] {
			op.Append, appended[list] = fmt.Sprintf("%s.%d", rec.Name, i), true
		}
		plan = append(plan, op)
	}
	var err error
	if len(appended) == 0 {
		err = l.trial.db.View(ctx, func(tx *client.Txn) error { return runLists(tx, rec, plan, (*client.Txn).Get) })
	} else {
		var opts []client.TxnOption
		if levelOf(e.no) == txn.Serializable {
			opts = append(opts, client.Serializable())
		}
		get := (*client.Txn).Get
		switch w.rnd.IntN(4) {
		case 0:
			opts = append(opts, client.Pessimistic())
		case 1:
			if levelOf(e.no) == txn.Snapshot { // what it reads is newer than its start, so it must lock all of it
				break
			}
			get = (*client.Txn).GetForUpdate
		}
		err = l.trial.db.Update(ctx, func(tx *client.Txn) error { return runLists(tx, rec, plan, get) }, opts...)
	}
	rec.Fate, rec.Ended = fate(err), l.now()
	e.of.add(rec)
	if errors.Is(err, client.ErrConflict) {
		return nil
	}
	return err
}

func runLists(tx *client.Txn, rec *txn.Txn, plan []txn.Op, get func(*client.Txn, []byte) ([]byte, error)) error {
	rec.Ops = nil
	for _, op := range plan {
		v, err := get(tx, []byte(op.Key))
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

// judge reads all lists in one last transaction and looks for cycles.
func (l *txnLists) judge(era int, h *txnHistory) error {
	last := &txn.Txn{Name: fmt.Sprintf("the last look at era %d", era), Begun: l.now(), Fate: history.Done}
	var plan []txn.Op
	for list := range txnListsPerEra {
		plan = append(plan, txn.Op{Key: txnListKey(era, list)})
	}
	err := l.trial.read(func(ctx context.Context) error {
		return l.trial.db.View(ctx, func(tx *client.Txn) error { return runLists(tx, last, plan, (*client.Txn).Get) })
	})
	if err != nil {
		return err
	}
	last.Ended = l.now()
	for _, a := range txn.Check(append(h.txns, *last), levelOf(era)) {
		return fmt.Errorf("%s: %s", levelOf(era), a)
	}
	return nil
}

// txnBank is the workload of money that moves between accounts in several shards.
type txnBank struct {
	trial *trial
	rule  history.Bank
}

func newTxnBank(t *trial) *txnBank {
	return &txnBank{trial: t, rule: history.Bank{Accounts: 2 * txnPlaces, Each: 100}}
}

func (*txnBank) name() string { return "transfers" }
func (b *txnBank) key(n int) []byte {
	return fmt.Appendf(nil, "%sbank/%d", placePrefix(n%txnPlaces), n)
}

func (b *txnBank) begin(ctx context.Context) error {
	return b.trial.db.Update(ctx, func(tx *client.Txn) error {
		for n := range b.rule.Accounts {
			if err := tx.Put(b.key(n), strconv.AppendInt(nil, b.rule.Each, 10)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *txnBank) look(ctx context.Context) (map[string]string, error) {
	out := make(map[string]string)
	err := b.trial.db.View(ctx, func(tx *client.Txn) error {
		clear(out)
		keys := make([][]byte, b.rule.Accounts)
		for n := range keys {
			keys[n] = b.key(n)
		}
		found, err := tx.GetMany(keys)
		if err != nil {
			return err
		}
		for n, f := range found {
			if f.Found {
				out[string(keys[n])] = string(f.Value)
			}
		}
		return nil
	})
	return out, err
}

// one looks at all accounts, or moves money between two.
func (b *txnBank) one(ctx context.Context, w *worker) error {
	if w.rnd.IntN(4) == 0 {
		balances, err := b.look(ctx)
		if err != nil {
			return err
		}
		if err := b.rule.Check(balances); err != nil {
			b.trial.violated("transfers: %w", err)
		}
		return nil
	}
	from, to := w.rnd.IntN(b.rule.Accounts), w.rnd.IntN(b.rule.Accounts)
	if from == to {
		return nil
	}
	get := (*client.Txn).Get
	if w.rnd.IntN(2) == 0 {
		get = (*client.Txn).GetForUpdate
	}
	err := b.trial.db.Update(ctx, func(tx *client.Txn) error {
		x, err := get(tx, b.key(from))
		if err != nil {
			return err
		}
		y, err := get(tx, b.key(to))
		if err != nil {
			return err
		}
		has, _ := strconv.Atoi(string(x))
		gets, _ := strconv.Atoi(string(y))
		if has == 0 {
			return nil
		}
		sum := 1 + w.rnd.IntN(has)
		if err := tx.Put(b.key(from), []byte(strconv.Itoa(has-sum))); err != nil {
			return err
		}
		return tx.Put(b.key(to), []byte(strconv.Itoa(gets+sum)))
	})
	if errors.Is(err, client.ErrConflict) {
		return nil
	}
	return err
}

func (b *txnBank) end() {
	b.trial.judges.Go(func() {
		var balances map[string]string
		err := b.trial.read(func(ctx context.Context) (err error) {
			balances, err = b.look(ctx)
			return err
		})
		if err == nil {
			err = b.rule.Check(balances)
		}
		b.trial.verdict(b.name(), 0, err)
	})
}
