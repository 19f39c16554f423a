// Package ports gives tests addresses to listen on that nobody else takes before they do.
//
// A port that the system picked and that was closed again may be taken by any outgoing connection, and two draws at random
// may meet. So a process claims a block of ports outside of the range of outgoing ones, by listening on its first for as long
// as it lives, and gives each of the others once.
package ports

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// Where blocks may lie, and how many ports one has.
const (
	lowest  = 10000
	highest = 65000
	block   = 100
)

var held struct {
	sync.Mutex
	claims []net.Listener // of all blocks that this process took; never closed
	base   int            // of the newest block
	next   int            // the first of its ports that was not given yet
}

// Free returns so many loopback addresses on which nobody listens, none of which this process was given before.
func Free(t testing.TB, n int) []string {
	t.Helper()
	out, err := Take(n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Take is Free for who has no test.
func Take(n int) ([]string, error) {
	held.Lock()
	defer held.Unlock()
	var out []string
	for len(out) < n {
		if len(held.claims) == 0 || held.next == block {
			if err := claim(); err != nil {
				return nil, err
			}
		}
		addr := address(held.base + held.next)
		held.next++
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			out = append(out, addr)
		}
	}
	return out, nil
}

// claim takes the next block that no process holds. Processes begin at different ones, so that what is left of a test that
// just ended meets nobody.
func claim() error {
	low, high := outgoing()
	const blocks = (highest - lowest) / block
	for i := range blocks {
		base := lowest + (os.Getpid()+i)%blocks*block
		if base+block > low && base <= high {
			continue
		}
		l, err := net.Listen("tcp", address(base))
		if err != nil {
			continue
		}
		held.claims = append(held.claims, l)
		held.base, held.next = base, 1
		return nil
	}
	return fmt.Errorf("no block of %d free ports from %d to %d, outside of those for outgoing connections, %d to %d",
		block, lowest, highest, low, high)
}

// outgoing is the range from which the system takes ports for outgoing connections. Systems that do not say take RFC 6335's.
func outgoing() (low, high int) {
	low, high = 49152, 65535
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &low, &high)
	}
	if low <= lowest+block && high >= highest {
		low, high = highest, highest // the system takes any: there is nothing to keep clear of
	}
	return low, high
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
