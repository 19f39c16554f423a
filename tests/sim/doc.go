// Package sim runs whole Skerry clusters, the code that ships, in a simulated world that one seed decides: the order of
// tasks, clocks, the network, disks, crashes, what clients do. A seed that fails fails again, step by step the same.
//
//	world   tasks, time, machines, strategies, the trace
//	simnet  the network between machines, in place of gRPC
//	simfs   the disks, in place of the operating system's files
//
// A world of a seed: draw the knobs; start the cluster and the clients; faults at random for a while; then a core (a
// quorum of everything) is healed while the rest stays broken, and must make progress; then everything is healed, the
// clients come to an end, and what is left is checked: the history of the clients is linearizable, all replicas are
// equal, nothing acknowledged is missing.
package sim
