package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/history"
)

const banks = 2

// bank is the workload of transfers: guarded batches move money between the accounts of a bank, which lie in one shard,
// and every page of its accounts shows all of the money.
type bank struct {
	trial *trial
	rule  history.Bank
}

func newBank(t *trial) *bank { return &bank{trial: t, rule: history.Bank{Accounts: 8, Each: 100}} }

func (*bank) name() string { return "bank" }

func bankPrefix(of int) string { return fmt.Sprintf("b%d/", of) }

func account(of, n int) []byte { return fmt.Appendf(nil, "%sa%d", bankPrefix(of), n) }

func (b *bank) begin(ctx context.Context) error {
	for of := range banks {
		err := b.trial.db.Atomic(ctx, func(batch *client.Batch) {
			for n := range b.rule.Accounts {
				batch.Put(account(of, n), strconv.AppendInt(nil, b.rule.Each, 10))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// one reads a bank, and most of the time moves money between two of its accounts.
func (b *bank) one(ctx context.Context, w *worker) error {
	of := w.rnd.IntN(banks)
	var opts []client.ScanOption
	if w.rnd.IntN(3) == 0 {
		opts = append(opts, client.ReadFromFollower())
	}
	balances, err := b.read(ctx, of, opts...)
	if err != nil {
		return err
	}
	if err := b.rule.Check(balances); err != nil {
		b.trial.violated("bank %d: %w", of, err)
		return nil
	}
	if w.rnd.IntN(5) == 0 {
		return nil
	}
	from, to := account(of, w.rnd.IntN(b.rule.Accounts)), account(of, w.rnd.IntN(b.rule.Accounts))
	has, _ := strconv.Atoi(balances[string(from)])
	gets, _ := strconv.Atoi(balances[string(to)])
	if has == 0 || string(from) == string(to) {
		return nil
	}
	sum := 1 + w.rnd.IntN(has)
	err = b.trial.db.Atomic(ctx, func(batch *client.Batch) {
		batch.IfEquals(from, []byte(balances[string(from)]))
		batch.IfEquals(to, []byte(balances[string(to)]))
		batch.Put(from, []byte(strconv.Itoa(has-sum)))
		batch.Put(to, []byte(strconv.Itoa(gets+sum)))
	})
	switch {
	case errors.Is(err, client.ErrConflict):
		return nil
	case errors.Is(err, client.ErrCrossShard):
		b.trial.violated("bank %d was cut in two, which the nemesis must not do: %v", of, err)
	}
	return err
}

func (b *bank) read(ctx context.Context, of int, opts ...client.ScanOption) (map[string]string, error) {
	out := make(map[string]string)
	for kv, err := range b.trial.db.Scan(ctx, client.Prefix(bankPrefix(of)), opts...) {
		if err != nil {
			return nil, err
		}
		out[string(kv.Key)] = string(kv.Value)
	}
	return out, nil
}

func (b *bank) end() {
	for of := range banks {
		b.trial.judges.Go(func() {
			var balances map[string]string
			err := b.trial.read(func(ctx context.Context) (err error) {
				balances, err = b.read(ctx, of)
				return err
			})
			if err == nil {
				err = b.rule.Check(balances)
			}
			b.trial.verdict(b.name(), of, err)
		})
	}
}
