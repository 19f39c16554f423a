package linear

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/cluster"
)

const (
	stores = 3
	shards = 4  // at the beginning
	groups = 24 // of keys; six in each of those shards
)

// groupPrefix begins the keys of a group, which are never parted.
func groupPrefix(group int) string { return fmt.Sprintf("%c-g%03d-", 'a'+group%shards, group) }

// routes is what the clients of a run believe about shards, which the nemesis splits. They learn as real ones do: from
// refusals; and where those leave a gap, from the stores instead of placement.
type routes struct {
	c  *cluster.Cluster
	mu sync.Mutex
	m  *shard.Map
}

func newRoutes(c *cluster.Cluster, ds []*shard.Descriptor) *routes {
	r := &routes{c: c, m: shard.NewMap()}
	r.insert(ds)
	return r
}

func (r *routes) insert(ds []*shard.Descriptor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range ds {
		r.m.Insert(d)
	}
}

// learn takes what a refusal says about shards.
func (r *routes) learn(err error) {
	var stale *shard.StaleEpochError
	if errors.As(err, &stale) {
		r.insert(stale.Current)
	}
}

// of is the shard that holds a key, nil if nobody knows.
func (r *routes) of(k shard.Key) *shard.Descriptor {
	r.mu.Lock()
	d, ok := r.m.Lookup(k)
	r.mu.Unlock()
	if ok {
		return d
	}
	r.ask()
	r.mu.Lock()
	defer r.mu.Unlock()
	d, _ = r.m.Lookup(k)
	return d
}

// ask takes the descriptors of all replicas of all stores that are up.
func (r *routes) ask() {
	for i := range stores {
		sts, err := r.c.StatusOf(context.Background(), shard.StoreID(i+1))
		if err != nil {
			continue
		}
		for _, st := range sts {
			if len(st.Desc.Replicas) > 0 {
				r.insert([]*shard.Descriptor{st.Desc})
			}
		}
	}
}

// all are the shards in key order.
func (r *routes) all() (out []*shard.Descriptor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Ascend(nil, func(d *shard.Descriptor) bool { out = append(out, d); return true })
	return out
}

// gaps are the parts of the keyspace that nobody knows a shard for.
func (r *routes) gaps() []shard.Range {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m.Gaps(shard.Range{})
}
