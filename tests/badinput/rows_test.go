package badinput

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/tests/ports"
)

// Rows that take more than a line or two.

// watchRaw writes a raw and a transactional key into a range that is watched: only the second one is told.
func (r *run) watchRaw() error {
	ctx, db := r.ctx(), r.db()
	from, err := db.Timestamp(ctx)
	if err != nil {
		return err
	}
	if err := db.Put(ctx, []byte("watched/raw"), nil); err != nil {
		return err
	}
	if err := db.Update(ctx, func(tx *client.Txn) error { return tx.Put([]byte("watched/txn"), nil) }); err != nil {
		return err
	}
	until, err := db.Timestamp(ctx)
	if err != nil {
		return err
	}
	var told []string
	for ev, err := range db.Watch(ctx, client.Prefix("watched/"), from) {
		if err != nil {
			return err
		}
		if ev.Progress >= until {
			break
		}
		if ev.Progress == 0 {
			told = append(told, string(ev.Key))
		}
	}
	if len(told) != 1 || told[0] != "watched/txn" {
		return fmt.Errorf("told: %q", told)
	}
	return nil
}

// tooOld reads at a timestamp below the safe point.
func (r *run) tooOld() error {
	ctx, db := r.ctx(), r.db()
	old, err := db.Timestamp(ctx)
	if err != nil {
		r.Fatal(err)
	}
	safe, err := db.Timestamp(ctx)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.admin().SetSafePoint(ctx, safe); err != nil {
		r.Fatal(err)
	}
	if _, err := r.admin().CollectGarbage(ctx, 0); err != nil { // tells every shard
		r.Fatal(err)
	}
	_, err = db.At(old).Get(ctx, canaries()[0])
	return err
}

// conflict commits a transaction that another one overtook.
func (r *run) conflict() error {
	ctx, db, key := r.ctx(), r.db(), []byte("contended")
	tx, err := db.Begin(ctx)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := tx.Get(key); !errors.Is(err, client.ErrNotFound) {
		r.Fatal(err)
	}
	if err := db.Update(ctx, func(tx *client.Txn) error { return tx.Put(key, []byte("other")) }); err != nil {
		r.Fatal(err)
	}
	if err := tx.Put(key, []byte("own")); err != nil {
		r.Fatal(err)
	}
	err = tx.Commit()
	var got []byte
	if verr := db.View(ctx, func(tx *client.Txn) (err error) { got, err = tx.Get(key); return err }); verr != nil || string(got) != "other" {
		r.Errorf("afterwards %q, %v", got, verr)
	}
	return err
}

// resolveGone lists the lock of a transaction, ends that, and resolves the lock.
func (r *run) resolveGone() error {
	ctx, db, key := r.ctx(), r.db(), []byte("locked")
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.GetForUpdate(key); !errors.Is(err, client.ErrNotFound) {
		return err
	}
	now, err := db.Timestamp(ctx)
	if err != nil {
		return err
	}
	var found []client.Lock
	for l, err := range r.admin().Locks(ctx, client.Prefix(key), now) {
		if err != nil {
			return err
		}
		found = append(found, l)
	}
	if len(found) != 1 {
		return fmt.Errorf("%d locks", len(found))
	}
	if err := tx.Put(key, []byte("kept")); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if err := r.admin().ResolveLock(ctx, found[0]); err != nil {
		return err
	}
	return db.View(ctx, func(tx *client.Txn) error {
		if v, err := tx.Get(key); err != nil || string(v) != "kept" {
			return fmt.Errorf("afterwards %q, %w", v, err)
		}
		return nil
	})
}

// foreign is a client of a cluster that is gone, at whose address another one has begun since, with the same numbers of
// stores and shards; and a client of that one.
func (r *run) foreign() (lost, own *client.DB) {
	r.Helper()
	cfg := lone("")
	cfg.Memory, cfg.Listen = true, ports.Free(r.T, 1)[0]
	one := func() (*node.Node, *client.DB) { return started(r.T, cfg) }
	n, lost := one()
	if err := lost.Put(r.ctx(), []byte("k"), []byte("1")); err != nil {
		r.Fatal(err)
	}
	if err := n.Close(); err != nil {
		r.Fatal(err)
	}
	_, own = one()
	if err := own.Put(r.ctx(), []byte("k"), []byte("theirs")); err != nil {
		r.Fatal(err)
	}
	return lost, own
}

func (r *run) takenOver() error {
	lost, own := r.foreign()
	ctx, cancel := contextFor(time.Second)
	defer cancel()
	err := lost.Put(ctx, []byte("k"), []byte("2"))
	if v, gerr := own.Get(r.ctx(), []byte("k")); gerr != nil || string(v) != "theirs" {
		r.Errorf("the other cluster has %q, %v", v, gerr)
	}
	return err
}

func (r *run) orderTakenOver() error {
	lost, own := r.foreign()
	ctx, cancel := contextFor(time.Second)
	defer cancel()
	err := lost.Admin().PauseScheduling(ctx, time.Hour)
	if s, serr := own.Admin().Scheduling(r.ctx()); serr != nil || s.Paused != 0 {
		r.Errorf("the other cluster: %+v, %v", s, serr)
	}
	return err
}

// replaceDirectory empties a part of the copy.
func (r *run) replaceDirectory(part string) {
	r.Helper()
	if err := os.RemoveAll(filepath.Join(r.data(), part)); err != nil {
		r.Fatal(err)
	}
}
