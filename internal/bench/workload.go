// Package bench puts load on a cluster and measures it.
//
// Workloads are single operations (put, get, scan), the six core workloads of YCSB (B. F. Cooper et al.: Benchmarking
// Cloud Serving Systems with YCSB, 2010), and transactions (txn.go, neworder.go). In a closed loop each client sends its next operation when the last one has
// ended; that measures throughput, and hides the waiting that a stall would cause real users. In an open loop operations
// are due at fixed times whatever the cluster does, and latency counts from the time at which an operation was due, so
// a stall shows in every operation that had to wait (no coordinated omission).
package bench

import (
	"fmt"
	"slices"
)

// Kind is what an operation does.
type Kind int

// The kinds.
const (
	Get Kind = iota
	Put
	Insert // a put of a record that does not exist yet
	Scan
	ReadModifyWrite
	Transfer     // a transaction between two accounts
	Add          // a transaction that adds to a counter
	Locked       // a transaction that locks a counter, reads it and writes it
	NewOrder     // a transaction as TPC-C's
	kinds    int = iota
)

func (k Kind) String() string {
	return [...]string{"get", "put", "insert", "scan", "read-modify-write", "transfer", "add", "locked update", "new order"}[k]
}

// Workload is a mix of operations.
type Workload struct {
	Name string
	// Share is how many of 100 operations are of each kind.
	Share [kinds]int
	// Distribution is used unless the run asks for another one.
	Distribution Distribution
	// Load: the records must be there before the workload begins.
	Load bool
	// Keys is how many records there are unless the run says so; zero: defaultKeys.
	Keys uint64
	// Txn: its records are transactional keys.
	Txn   bool
	About string // one line for help texts
}

// Workloads lists all of them.
func Workloads() []Workload {
	return []Workload{
		{Name: "put", Share: shares(Put, 100), Distribution: Uniform, About: "writes"},
		{Name: "get", Share: shares(Get, 100), Distribution: Uniform, Load: true, About: "reads"},
		{Name: "scan", Share: shares(Scan, 100), Distribution: Uniform, Load: true, About: "scans of 1 to --scan-length keys"},
		{Name: "ycsb-a", Share: shares(Get, 50, Put, 50), Distribution: Zipfian, Load: true, About: "half reads, half writes: a session store"},
		{Name: "ycsb-b", Share: shares(Get, 95, Put, 5), Distribution: Zipfian, Load: true, About: "95 % reads, 5 % writes: photo tags"},
		{Name: "ycsb-c", Share: shares(Get, 100), Distribution: Zipfian, Load: true, About: "reads only: a profile cache"},
		{Name: "ycsb-d", Share: shares(Get, 95, Insert, 5), Distribution: Latest, Load: true, About: "95 % reads of the latest, 5 % inserts: status updates"},
		{Name: "ycsb-e", Share: shares(Scan, 95, Insert, 5), Distribution: Zipfian, Load: true, About: "95 % short scans, 5 % inserts: threads"},
		{Name: "ycsb-f", Share: shares(Get, 50, ReadModifyWrite, 50), Distribution: Zipfian, Load: true, About: "half reads, half read-modify-writes: a user database"},
		{Name: "bank", Share: shares(Transfer, 100), Distribution: Uniform, Load: true, Keys: 1000, Txn: true, About: "transactions that move money between two accounts"},
		{Name: "counter", Share: shares(Add, 100), Distribution: Uniform, Keys: 1, Txn: true, About: "transactions that add to a counter; one counter"},
		{Name: "rmw", Share: shares(Locked, 100), Distribution: Uniform, Keys: 1, Txn: true, About: "transactions that lock a counter, read and write it; one counter"},
		{Name: "new-order", Share: shares(NewOrder, 100), Distribution: Uniform, Load: true, Keys: 10, Txn: true, About: "the new-order transaction of TPC-C, much simplified; --keys are warehouses"},
	}
}

// shares takes pairs of a kind and its share.
func shares(pairs ...any) (out [kinds]int) {
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(Kind)] = pairs[i+1].(int)
	}
	return out
}

// ByName finds a workload.
func ByName(name string) (Workload, error) {
	all := Workloads()
	if i := slices.IndexFunc(all, func(w Workload) bool { return w.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Workload{}, fmt.Errorf("unknown workload %q; use %s", name, Names())
}

// defaultKeys is how many records a workload has that does not say.
const defaultKeys = 100_000

// Names lists the workloads for messages.
func Names() string {
	return "put, get, scan, ycsb-a to ycsb-f, bank, counter, rmw or new-order"
}

// pick turns a number below 100 into a kind.
func (w *Workload) pick(percent int) Kind {
	for k, share := range w.Share {
		if percent < share {
			return Kind(k)
		}
		percent -= share
	}
	return Get // shares add up to 100, so never here
}
