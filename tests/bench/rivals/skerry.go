package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/tests/ports"
)

// skerry are three nodes, each a store and a member of placement.
type skerry struct {
	procs  []*process
	serve  []string // addresses for clients, of each process
	admin  []string // of the nodes, for profiles
	db     *client.DB
	dir    string
	shards int
	killed int // how many were, see kill
}

// startTimeout bounds the start; ten thousand shards elect their leaders in half a minute if nothing else runs.
const startTimeout = 10 * time.Minute

func startSkerry(ctx context.Context, bin binaries, dir string, l layout) (*skerry, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addrs, err := ports.Take(6)
	if err != nil {
		return nil, err
	}
	serve, admin := addrs[:3], addrs[3:]
	var members []string
	for i, a := range serve {
		members = append(members, fmt.Sprintf("%d=%s", i+1, a))
	}
	s := &skerry{dir: dir, serve: serve, admin: admin, shards: len(l.splitKeys()) + 1}
	borders := filepath.Join(dir, "borders")
	if err := os.WriteFile(borders, []byte(strings.Join(l.splitKeys(), "\n")), 0o644); err != nil {
		return nil, err
	}
	for i := range 3 {
		args := []string{"server", "--bootstrap", "--member-id", fmt.Sprint(i + 1), "--members", strings.Join(members, ","),
			"--listen", serve[i], "--admin", admin[i], "--data", filepath.Join(dir, fmt.Sprintf("n%d", i)), "--split-size", "0", "--split-load", "0", "--log-level", "error"}
		if l.shards > 1 {
			args = append(args, "--split-keys-file", borders)
		}
		p, err := start(bin.skerry, filepath.Join(dir, fmt.Sprintf("n%d.log", i)), args...)
		if err != nil {
			s.close()
			return nil, err
		}
		s.procs = append(s.procs, p)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if s.db, err = client.Open(ctx, strings.Join(serve, ",")); err == nil {
		err = s.await(ctx, s.shards)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// await waits until every shard has a leader, and no store leads many more than another.
func (s *skerry) await(ctx context.Context, shards int) error {
	for {
		all, leads := 0, make(map[uint64]int)
		for sh, err := range s.db.Admin().Shards(ctx) {
			if err != nil {
				break
			}
			all++
			if sh.Leader.ID != 0 {
				leads[uint64(sh.Leader.Store)]++
			}
		}
		led, most, least := 0, 0, shards
		for _, n := range leads {
			led, most, least = led+n, max(most, n), min(least, n)
		}
		if all == shards && led == all && (shards < 3 || len(leads) == 3 && most-least <= max(2, shards/10)) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d shards are led, by stores %v: %w", led, shards, leads, ctx.Err())
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func (s *skerry) name() string        { return "skerry" }
func (s *skerry) servers() []*process { return s.procs }

func (s *skerry) close() {
	if s.db != nil {
		_ = s.db.Close()
	}
	for _, p := range s.procs {
		p.stop()
	}
	_ = os.RemoveAll(s.dir)
}

func (s *skerry) fill(ctx context.Context, k *keyspace) error {
	return filled(ctx, k, func(ctx context.Context, keys []string, values [][]byte) error {
		kvs := make([]client.KV, len(keys))
		for i := range kvs {
			kvs[i] = client.KV{Key: []byte(keys[i]), Value: values[i]}
		}
		return s.db.PutMany(ctx, kvs)
	})
}

func (s *skerry) op(kind kind, k *keyspace, _ int) func(context.Context, *rand.Rand) (int, error) {
	switch kind {
	case put:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			return 1, s.db.Put(ctx, []byte(k.any(rnd)), k.value(rnd))
		}
	case get:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			_, err := s.db.Get(ctx, []byte(k.any(rnd)))
			return 1, err
		}
	case getMany:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			keys := make([][]byte, batchRows)
			for i := range keys {
				keys[i] = []byte(k.any(rnd))
			}
			found, err := s.db.GetMany(ctx, keys)
			return len(found), err
		}
	case putBatch:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			return batchRows, s.db.Atomic(ctx, func(b *client.Batch) {
				for _, key := range k.near(rnd, batchRows) {
					b.Put([]byte(key), k.value(rnd))
				}
			})
		}
	case scan:
		return func(ctx context.Context, rnd *rand.Rand) (n int, err error) {
			for _, err := range s.db.Scan(ctx, client.From(fmt.Sprintf("%016x", rnd.Uint64()>>1)), client.Limit(batchRows), client.ReuseRows()) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}
	case swap:
		var last []byte
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			next := k.value(rnd)
			err := s.db.CompareAndSwap(ctx, []byte("swap"), last, next)
			var c *client.ConflictError
			switch {
			case err == nil:
				last = next
			case errors.As(err, &c) && c.Exists:
				last = c.Current
			case errors.As(err, &c):
				return 1, s.db.Put(ctx, []byte("swap"), nil)
			default:
				return 0, err
			}
			return 1, nil
		}
	case add:
		return func(ctx context.Context, _ *rand.Rand) (int, error) {
			return 1, s.db.Update(ctx, func(tx *client.Txn) error { return tx.Add([]byte("added"), 1) })
		}
	case modify:
		return func(ctx context.Context, _ *rand.Rand) (int, error) {
			return 1, s.db.Update(ctx, func(tx *client.Txn) error {
				v, err := tx.GetForUpdate([]byte("modified"))
				if err != nil && !errors.Is(err, client.ErrNotFound) {
					return err
				}
				n, _ := strconv.ParseInt(string(v), 10, 64)
				return tx.Put([]byte("modified"), strconv.AppendInt(nil, n+1, 10))
			})
		}
	}
	panic("unknown kind")
}
