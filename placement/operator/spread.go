// Package operator decides what to do with one shard: pure functions of its descriptor, of the goal that it has, and of
// which stores answer; and it follows an operator from its plan to its end.
//
// Nothing of it is kept on a disk. Each step is derived from the descriptor that the leader reports, so sending it again
// is harmless (the epoch says whether it is done), and a new placement leader decides anew what half-done changes are to
// become.
package operator

import "github.com/skerrydb/skerry/shard"

// Spread plans the first replicas of n shards: each on `replicas` different stores, round robin, so that every store
// gets the same number of replicas and of first replicas.
func Spread(n, replicas int, stores []shard.StoreID) [][]shard.StoreID {
	out := make([][]shard.StoreID, n)
	for i := range out {
		for j := range replicas {
			out[i] = append(out[i], stores[(i+j)%len(stores)])
		}
	}
	return out
}
