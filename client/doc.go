// Package client is the Go SDK of Skerry.
//
//	db, err := client.Open(ctx, "127.0.0.1:4400") // any node of the cluster, or several, separated by commas
//	if err != nil { … }
//	defer db.Close()
//	err = db.Put(ctx, []byte("user/42"), []byte("ada"), client.TTL(time.Hour))
//	v, err := db.Get(ctx, []byte("user/42")) // errors.Is(err, client.ErrNotFound)
//	for kv, err := range db.Scan(ctx, client.Prefix("user/")) {
//		if err != nil { … }
//	}
//	err = db.Atomic(ctx, func(b *client.Batch) {
//		b.IfEquals(account, old)
//		b.Put(account, new)
//		b.Delete(hold)
//	})
//
// # How it works
//
// A DB keeps a cache of routes: which shard holds which keys, where its replicas are and who leads. Placement streams
// changes into it, and every answer of a store corrects it; placement is on no request's way. A call is cut into one
// part per shard, and each part is an effort with a budget of time: sent to the shard's leader, and if that says that
// the part belongs elsewhere or comes too early, cut and sent again.
//
// Reads are sent again whenever there is no answer. Writes are not: an attempt that was not answered is asked about,
// and only a definite "this never happened, and never will" is followed by a new one (see write.go). So a write takes
// effect at most once, and one whose fate cannot be learnt in time ends with ErrAmbiguous instead of a guess.
//
// WithTrace tells, of one call, where it went, what came back, and where the time went in the client and in the stores.
//
// # Tasks
//
// Two tasks run while a DB is open; Close ends both. "client-watch" owns the stream of routes and sleeps between two of
// them. "client-scopes" ends attempts that take too long; it rests while nothing is under way. A call over several
// shards starts up to maxParallel-1 more ("client-part") for as long as it lasts, a scan one for each shard that it reads ahead
// ("client-ahead"). Everything that blocks does so in
// internal/env, without a mutex held, so the simulator runs this package as it is.
package client
