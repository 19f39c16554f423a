// Package bench puts load on a cluster and measures it.
//
// Workloads are single operations (put, get, scan) and the six core workloads of YCSB (B. F. Cooper et al.: Benchmarking
// Cloud Serving Systems with YCSB, 2010). In a closed loop each client sends its next operation when the last one has
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
	kinds int = iota
)

func (k Kind) String() string {
	return [...]string{"get", "put", "insert", "scan", "read-modify-write"}[k]
}

// Workload is a mix of operations.
type Workload struct {
	Name string
	// Share is how many of 100 operations are of each kind.
	Share [kinds]int
	// Distribution is used unless the run asks for another one.
	Distribution Distribution
	// Load: the records must be there before the workload begins.
	Load  bool
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
	return Workload{}, fmt.Errorf("unknown workload %q; use put, get, scan or ycsb-a to ycsb-f", name)
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
