package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcd's client must not be what is measured: a put that a member has passed on to the leader that died is not answered
// for seconds. So there are several probers, which begin one after the other, each attempt is given up soon, and the next one follows
// at once. Whenever there is a leader again, some attempt began a few milliseconds ago, or waits at a member for just that.
const (
	probers      = 8
	probeTimeout = 100 * time.Millisecond // a put takes a few milliseconds
	probePause   = 2 * time.Millisecond   // after an attempt that failed
)

// kill ends the leader. The time ends with the first put that succeeds.
func (e *etcd) kill(ctx context.Context, k *keyspace) (time.Duration, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: e.serve, Logger: zap.NewNop()})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for range 10 * len(e.serve) { // connected to all
		if _, err := c.Put(ctx, k.key(0), "before"); err != nil {
			return 0, err
		}
	}
	victim, err := e.leader(ctx, c)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	e.procs[victim].stop()
	at, err := firstPut(ctx, c, k)
	return at.Sub(begun), err
}

// firstPut says when the first put of all probers succeeded.
func firstPut(ctx context.Context, c *clientv3.Client, k *keyspace) (time.Time, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan time.Time, probers)
	go func() {
		_ = each(probers, func(i int) error {
			if sleep(ctx, time.Duration(i)*probeTimeout/probers) == nil && probe(ctx, c, k) {
				done <- time.Now()
			}
			return nil
		})
		close(done)
	}()
	at, ok := <-done
	if !ok {
		return at, fmt.Errorf("no put since the leader was killed: %w", ctx.Err())
	}
	return at, nil
}

// probe puts until a put succeeds; it says whether one did.
func probe(ctx context.Context, c *clientv3.Client, k *keyspace) bool {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, probeTimeout)
		_, err := c.Put(once, k.any(rnd), string(k.value(rnd)))
		cancel()
		if err == nil {
			return true
		}
		_ = sleep(ctx, probePause)
	}
	return false
}

// leader says which process leads.
func (e *etcd) leader(ctx context.Context, c *clientv3.Client) (int, error) {
	for i, addr := range e.serve {
		st, err := c.Status(ctx, addr)
		if err != nil {
			return 0, err
		}
		if st.Leader == st.Header.MemberId {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no member of etcd leads")
}

// heal waits until all three follow one leader and have applied all that is committed.
func (e *etcd) heal(ctx context.Context) error {
	if err := startAgain(e.procs); err != nil {
		return err
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: e.serve, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	for !e.whole(ctx, c) {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("etcd is not whole again: %w", err)
		}
	}
	for _, c := range e.clients { // they talk to who led
		_ = c.Close()
	}
	e.clients = nil
	return e.connect(ctx, e.serve)
}

func (e *etcd) whole(ctx context.Context, c *clientv3.Client) bool {
	var first *clientv3.StatusResponse
	for _, addr := range e.serve {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		st, err := c.Status(ctx, addr)
		cancel()
		if err != nil || st.Leader == 0 {
			return false
		}
		if first == nil {
			first = st
		}
		if st.Leader != first.Leader || st.RaftAppliedIndex != first.RaftIndex {
			return false
		}
	}
	return true
}
