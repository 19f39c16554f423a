// Package callers runs the operation of a benchmark from as many goroutines as callers would.
package callers

import (
	"runtime"
	"testing"
)

// Run does an operation again and again, from n goroutines if the machine's processors divide n, else from a few more, and
// reports allocations. The first error fails the benchmark. What it did before is not timed.
func Run(b *testing.B, n int, do func() error) {
	b.ReportAllocs()
	if n == 1 {
		for b.Loop() {
			if err := do(); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	procs := runtime.GOMAXPROCS(0)
	b.SetParallelism((n + procs - 1) / procs)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
