// Package rpc is the wire: gRPC services and streams, the codecs of their messages, and the in-memory twin of every
// port that other packages declare.
//
// It sits beside the stores and placement and knows neither: it serves whatever satisfies the small interfaces that it
// declares (Store, Placement, Node), and what it returns satisfies theirs. Errors cross as the typed errors of package
// shard; nobody else sees a gRPC status.
//
// Streams between two stores: one for bulk data, one for what is urgent, one per snapshot. Streams between a client and
// a store: one, on which every call of that client is multiplexed and batched.
package rpc
