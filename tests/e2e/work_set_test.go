package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/history"
)

// setPrefix is where elements live, spread over the whole of it, so that a set lies in many shards.
const setPrefix = "s/"

// setEra is how many operations fill a set before it is judged and deleted.
const setEra = 1500

// sets is the workload of unique insertions: every acknowledged element is there from then on, in every scan, once, in
// order; nothing is there that was not written or whose write was refused; and after the set was deleted nothing is.
type sets struct {
	trial *trial
	eras  eras[*history.Set]
}

func newSets(t *trial) *sets {
	s := &sets{trial: t}
	s.eras = eras[*history.Set]{trial: t, work: s.name(), limit: setEra, make: func(int) *history.Set { return history.NewSet() }, judge: s.judge}
	return s
}

func (*sets) name() string                  { return "set" }
func (*sets) begin(_ context.Context) error { return nil }
func (s *sets) end()                        { s.eras.end() }

func (s *sets) one(ctx context.Context, w *worker) error {
	e := s.eras.enter()
	defer e.users.Done()
	switch p := w.rnd.IntN(100); {
	case p < 4:
		must := e.of.Acknowledged()
		got, err := s.scan(ctx, e.no, w.rnd.IntN(2) == 0)
		if err != nil {
			return err
		}
		if err := e.of.Check(must, got); err != nil {
			s.trial.violated("set, era %d, a scan during it: %w", e.no, err)
		}
		return nil
	case p < 12:
		return s.putMany(ctx, e, w)
	}
	element := setElement(e.no, w)
	e.of.Try(element)
	err := s.trial.db.PutIfAbsent(ctx, []byte(element), []byte("x"))
	if errors.Is(err, client.ErrConflict) {
		s.trial.violated("set, era %d: %v: nobody else writes %s, so it was written twice", e.no, err, element)
	}
	e.of.Tell(element, fate(err))
	return err
}

func setElement(era int, w *worker) string {
	return fmt.Sprintf("%s%04x-%d-%s", setPrefix, w.rnd.IntN(1<<16), era, w.unique())
}

// putMany writes a few elements in several shards with one call.
func (s *sets) putMany(ctx context.Context, e *era[*history.Set], w *worker) error {
	var kvs []client.KV
	for range 2 + w.rnd.IntN(6) {
		kvs = append(kvs, client.KV{Key: []byte(setElement(e.no, w)), Value: []byte("x")})
		e.of.Try(string(kvs[len(kvs)-1].Key))
	}
	err := s.trial.db.PutMany(ctx, kvs)
	var each *client.BatchError
	for i, kv := range kvs {
		one := err
		if errors.As(err, &each) {
			one = each.Errs[i]
		}
		e.of.Tell(string(kv.Key), fate(one))
	}
	return err
}

// scan reads the elements of one era.
func (s *sets) scan(ctx context.Context, era int, follower bool) ([]string, error) {
	var opts []client.ScanOption
	if follower {
		opts = append(opts, client.ReadFromFollower())
	}
	var out []string
	of := fmt.Sprintf("-%d-", era)
	for kv, err := range s.trial.db.Scan(ctx, client.Prefix(setPrefix), opts...) {
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(kv.Key), of) {
			out = append(out, string(kv.Key))
		}
	}
	return out, nil
}

// judge reads the set, deletes what it must hold, and reads it again.
func (s *sets) judge(era int, set *history.Set) error {
	must := set.Acknowledged()
	check := func() error {
		var got []string
		err := s.trial.read(func(ctx context.Context) (err error) {
			got, err = s.scan(ctx, era, false)
			return err
		})
		if err != nil {
			return err
		}
		return set.Check(must, got)
	}
	if err := check(); err != nil {
		return err
	}
	var keys [][]byte
	for _, e := range must {
		keys = append(keys, []byte(e))
	}
	if err := s.trial.read(func(ctx context.Context) error { return s.trial.db.DeleteMany(ctx, keys) }); err != nil {
		return err
	}
	set.Gone()
	must = nil
	return check()
}
