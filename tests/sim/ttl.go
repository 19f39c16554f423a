package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/client"
)

// Keys with a life are checked against three rules, per key, by the world's own time:
//
//	a key that was seen to have expired does not come back, until it is written again
//	it does not expire before its life is over, less what clocks may be wrong by
//	it does not live on for much longer than its life, once the cluster is whole
//
// One client writes a key, all read it, so that what is there is known but for writes whose outcome is not.
const (
	ttlKeys    = 4 // of each client
	leastTTL   = 300 * time.Millisecond
	longestTTL = 4 * time.Second
)

// lease of life of one key.
type ttlKey struct {
	version  int           // of the value that was written last
	known    bool          // that it was written
	writing  bool          // a write is under way
	began    time.Duration // of the write
	ttl      time.Duration //
	goneAt   time.Duration // when a read that found it expired had ended; 0: none did
	goneSeen int           // the version that was seen to be gone
}

func ttlName(worker, key int) []byte { return fmt.Appendf(nil, "g%02d/ttl/%d", key, worker) }

// ttlOp writes a key of this client's own, or reads any.
func (w *worker) ttlOp(ctx context.Context) {
	if w.c.w.Chance(0.3) {
		w.ttlPut(ctx)
		return
	}
	w.ttlGet(ctx)
}

func (w *worker) ttlPut(ctx context.Context) {
	c := w.c
	i := c.w.IntN(ttlKeys)
	k := c.ttl(w.id, i)
	ttl := c.w.Between(leastTTL, longestTTL)
	k.version++
	k.writing, k.began, k.ttl = true, c.w.Now(), ttl
	version := k.version
	err := w.db.Put(ctx, ttlName(w.id, i), fmt.Appendf(nil, "%d", version), client.TTL(ttl))
	k.writing, k.known = false, err == nil
	if err != nil && !errors.Is(err, client.ErrAmbiguous) {
		k.known = false
	}
	w.machine.Log("put with ttl %s c%d/%d version %d: %v", ttl, w.id, i, version, err)
}

func (w *worker) ttlGet(ctx context.Context) {
	c := w.c
	owner, i := 1+c.w.IntN(c.knobs.Clients), c.w.IntN(ttlKeys)
	k := c.ttl(owner, i)
	before := *k
	var opts []client.ReadOption
	if c.w.Chance(0.4) {
		opts = append(opts, client.ReadFromFollower())
	}
	begun := c.w.Now()
	v, err := w.db.Get(ctx, ttlName(owner, i), opts...)
	if err != nil && !errors.Is(err, client.ErrNotFound) {
		return
	}
	var version int
	if err == nil {
		_, _ = fmt.Sscan(string(v), &version)
	}
	w.machine.Log("get with ttl c%d/%d -> %d (%v)", owner, i, version, err)
	quiet := !before.writing && !k.writing && before.version == k.version && k.known
	switch {
	case version != 0 && version == before.goneSeen && before.goneAt != 0 && before.goneAt < begun:
		c.monitors.violated("ttl", "version %d of key c%d/%d is read at %s, and was gone at %s", version, owner, i, begun, before.goneAt)
	case version == 0 && quiet:
		if c.w.Now() < k.began+k.ttl-c.knobs.clockError() {
			c.monitors.violated("ttl", "version %d of key c%d/%d is gone at %s, %s after it was written to live for %s",
				k.version, owner, i, c.w.Now(), c.w.Now()-k.began, k.ttl)
		}
		if k.goneSeen != k.version {
			k.goneSeen, k.goneAt = k.version, c.w.Now()
		}
	}
}

// clockError is by how much a life may be cut short: placement's time jumps to another member's clock, and wall clocks
// are wrong by up to WallSkew at any time, twice that from one to the other. And stores hear of it late, by up to half a
// second.
func (k *Knobs) clockError() time.Duration {
	return 4*k.WallSkew + time.Duration(k.Drift*2*float64(90*time.Second)) + 600*time.Millisecond
}

// ttl is the state of a key.
func (c *cluster) ttl(worker, key int) *ttlKey {
	id := worker*ttlKeys + key
	if c.ttls[id] == nil {
		c.ttls[id] = &ttlKey{}
	}
	return c.ttls[id]
}
