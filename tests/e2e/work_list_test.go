package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/history"
)

const (
	listsPerEra = 4
	listEra     = 600 // operations
)

// lists is the workload of appends: a list in one key grows by compare-and-swap of the whole of it.
type lists struct {
	trial *trial
	begun time.Time
	eras  eras[*listHistory]
}

// listHistory is what clients saw of the lists of one era.
type listHistory struct {
	mu  sync.Mutex
	ops [listsPerEra][]history.ListOp
}

func (h *listHistory) add(list int, op history.ListOp) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[list] = append(h.ops[list], op)
}

func newLists(t *trial) *lists {
	l := &lists{trial: t, begun: time.Now()}
	l.eras = eras[*listHistory]{trial: t, work: l.name(), limit: listEra, make: func(int) *listHistory { return &listHistory{} }, judge: l.judge}
	return l
}

func (*lists) name() string                  { return "append" }
func (*lists) begin(_ context.Context) error { return nil }
func (l *lists) end()                        { l.eras.end() }

func listKey(era, list int) []byte { return fmt.Appendf(nil, "l/%d/%d", list, era) }

func (l *lists) now() int64 { return int64(time.Since(l.begun)) }

func (l *lists) one(ctx context.Context, w *worker) error {
	e := l.eras.enter()
	defer e.users.Done()
	list := w.rnd.IntN(listsPerEra)
	var opts []client.ReadOption
	if w.rnd.IntN(3) == 0 {
		opts = append(opts, client.ReadFromFollower())
	}
	begun := l.now()
	seen, err := l.get(ctx, e.no, list, opts...)
	if err != nil {
		return err
	}
	e.of.add(list, history.ListOp{Begun: begun, Ended: l.now(), Seen: seen})
	if w.rnd.IntN(4) == 0 {
		return nil
	}
	return l.append(ctx, e, list, seen, w.unique())
}

func (l *lists) get(ctx context.Context, era, list int, opts ...client.ReadOption) (string, error) {
	v, err := l.trial.db.Get(ctx, listKey(era, list), opts...)
	if errors.Is(err, client.ErrNotFound) {
		err = nil
	}
	return string(v), err
}

// append replaces a list by one that is longer by an element.
func (l *lists) append(ctx context.Context, e *era[*listHistory], list int, seen, element string) error {
	key, next := listKey(e.no, list), []byte(seen+element+",")
	begun := l.now()
	var err error
	if seen == "" {
		err = l.trial.db.PutIfAbsent(ctx, key, next)
	} else {
		err = l.trial.db.CompareAndSwap(ctx, key, []byte(seen), next)
	}
	ended := l.now()
	e.of.add(list, history.ListOp{Begun: begun, Ended: ended, Seen: seen, Element: element, Fate: fate(err)})
	var conflict *client.ConflictError
	if errors.As(err, &conflict) {
		e.of.add(list, history.ListOp{Begun: begun, Ended: ended, Seen: string(conflict.Current)})
		return nil
	}
	return err
}

func (l *lists) judge(era int, h *listHistory) error {
	for list := range listsPerEra {
		var final string
		err := l.trial.read(func(ctx context.Context) (err error) {
			final, err = l.get(ctx, era, list)
			return err
		})
		if err == nil {
			err = history.CheckList(h.ops[list], final)
		}
		if err != nil {
			return fmt.Errorf("list %d: %w", list, err)
		}
		// A judged list goes; an append that is still open finds another one than it wants.
		if err := l.trial.read(func(ctx context.Context) error { return l.trial.db.Delete(ctx, listKey(era, list)) }); err != nil {
			return err
		}
	}
	return nil
}
