package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/skerrydb/skerry/tests/ports"
)

// connections is how many each side may have: as many as Skerry's client has, one for each store.
const connections = 3

// etcd are three members. All clients talk to the leader, which spares the followers' forwarding.
type etcd struct {
	procs   []*process
	serve   []string // addresses for clients, of each process
	clients []*clientv3.Client
	patient bool // see layout
}

// How long a group of Skerry waits for its leader, and how often that one says that it lives (raftstore.DefaultElectionTicks and
// DefaultHeartbeatTicks of DefaultTick). By default etcd's heartbeat comes twice as often. Both wait at random up to twice the timeout.
const (
	electionTimeout = time.Second
	heartbeat       = 200 * time.Millisecond
)

func startEtcd(ctx context.Context, bin binaries, dir string, patient bool) (*etcd, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	addrs, err := ports.Take(6)
	if err != nil {
		return nil, err
	}
	peers, serve := addrs[:3], addrs[3:]
	var initial []string
	for i, p := range peers {
		initial = append(initial, fmt.Sprintf("m%d=http://%s", i, p))
	}
	e := &etcd{serve: serve, patient: patient}
	for i := range 3 {
		args := []string{"--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("m%d", i)),
			"--listen-peer-urls", "http://" + peers[i], "--initial-advertise-peer-urls", "http://" + peers[i],
			"--listen-client-urls", "http://" + serve[i], "--advertise-client-urls", "http://" + serve[i],
			"--initial-cluster", strings.Join(initial, ","), "--quota-backend-bytes", fmt.Sprint(int64(32) << 30), "--log-level", "error"}
		if patient {
			args = append(args, "--election-timeout", fmt.Sprint(electionTimeout.Milliseconds()), "--heartbeat-interval", fmt.Sprint(heartbeat.Milliseconds()))
		}
		p, err := start(bin.etcd, filepath.Join(dir, fmt.Sprintf("m%d.log", i)), args...)
		if err != nil {
			e.close()
			return nil, err
		}
		e.procs = append(e.procs, p)
	}
	if err := e.connect(ctx, serve); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// connect finds the leader and opens the connections to it.
func (e *etcd) connect(ctx context.Context, serve []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		for _, addr := range serve {
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
			if err != nil {
				return err
			}
			ask, done := context.WithTimeout(ctx, time.Second)
			st, err := c.Status(ask, addr)
			done()
			if err != nil || st.Leader == 0 || st.Leader != st.Header.MemberId {
				_ = c.Close()
				continue
			}
			e.clients = append(e.clients, c)
			for len(e.clients) < connections {
				if c, err = clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()}); err != nil {
					return err
				}
				e.clients = append(e.clients, c)
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("etcd has no leader: %w", ctx.Err())
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (e *etcd) name() string        { return "etcd" }
func (e *etcd) servers() []*process { return e.procs }

func (e *etcd) close() {
	for _, c := range e.clients {
		_ = c.Close()
	}
	for _, p := range e.procs {
		p.stop()
	}
}

func puts(keys []string, values [][]byte) []clientv3.Op {
	var ops []clientv3.Op
	for i := range keys {
		ops = append(ops, clientv3.OpPut(keys[i], string(values[i])))
	}
	return ops
}

func (e *etcd) fill(ctx context.Context, k *keyspace) error {
	return filled(ctx, k, func(ctx context.Context, keys []string, values [][]byte) error {
		_, err := e.clients[0].Txn(ctx).Then(puts(keys, values)...).Commit()
		return err
	})
}

func (e *etcd) op(kind kind, k *keyspace, client int) func(context.Context, *rand.Rand) (int, error) {
	c := e.clients[client%len(e.clients)]
	switch kind {
	case put:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			_, err := c.Put(ctx, k.any(rnd), string(k.value(rnd)))
			return 1, err
		}
	case get, getMany:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			r, err := c.Get(ctx, k.any(rnd))
			if err == nil && len(r.Kvs) != 1 {
				err = fmt.Errorf("%d values", len(r.Kvs))
			}
			return 1, err
		}
	case putBatch:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			values := make([][]byte, batchRows)
			for i := range values {
				values[i] = k.value(rnd)
			}
			_, err := c.Txn(ctx).Then(puts(k.near(rnd, batchRows), values)...).Commit()
			return batchRows, err
		}
	case scan:
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			// Without an end etcd counts all that follows, which is slow: the end lies a little behind the limit.
			from := rnd.Uint64() >> 1
			end := from + uint64(1<<63)/uint64(k.n)*4*batchRows
			r, err := c.Get(ctx, fmt.Sprintf("%016x", from), clientv3.WithRange(fmt.Sprintf("%016x", end)), clientv3.WithLimit(batchRows))
			if err != nil {
				return 0, err
			}
			return len(r.Kvs), nil
		}
	case swap:
		last := ""
		return func(ctx context.Context, rnd *rand.Rand) (int, error) {
			next := string(k.value(rnd))
			r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value("swap"), "=", last)).
				Then(clientv3.OpPut("swap", next)).Else(clientv3.OpGet("swap")).Commit()
			if err != nil {
				return 0, err
			}
			if r.Succeeded {
				last = next
				return 1, nil
			}
			if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
				last = string(kvs[0].Value)
			} else {
				_, err = c.Put(ctx, "swap", "")
			}
			return 1, err
		}
	case add, modify:
		// An optimistic transaction of etcd's own client (concurrency.NewSTM): read, and write if nobody wrote since; again until
		// it works. What a failed attempt met is in its answer, so the next one need not read.
		key := "modified"
		if kind == add {
			key = "added"
		}
		return func(ctx context.Context, _ *rand.Rand) (int, error) {
			_, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
				n, _ := strconv.ParseInt(s.Get(key), 10, 64)
				s.Put(key, strconv.FormatInt(n+1, 10))
				return nil
			}, concurrency.WithAbortContext(ctx), concurrency.WithIsolation(concurrency.SerializableSnapshot))
			return 1, err
		}
	}
	panic("unknown kind")
}
