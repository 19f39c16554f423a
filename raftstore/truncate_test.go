package raftstore

import (
	"testing"

	"github.com/skerrydb/skerry/shard/call"
)

// TestRecentIn: an attempt is proposed only where the log will still reach back to it.
func TestRecentIn(t *testing.T) {
	for _, c := range []struct {
		since, first, last, kept uint64
		want                     bool
	}{
		{since: 4, first: 6, last: 7, kept: 4, want: false}, // entry 5 is cut
		{since: 5, first: 6, last: 7, kept: 4, want: true},  // a short log: anywhere
		{since: 8, first: 6, last: 7, kept: 4, want: false}, // nobody here applied that
		{since: 7, first: 8, last: 7, kept: 4, want: true},  // all but what comes is to be cut
		{since: 6, first: 8, last: 7, kept: 4, want: false},
		{since: 14, first: 10, last: 20, kept: 4, want: false}, // the older half
		{since: 15, first: 10, last: 20, kept: 4, want: true},  // the newer half
	} {
		if got := recentIn(c.since, c.first, c.last, c.kept); got != c.want {
			t.Errorf("since %d in [%d, %d], %d kept: %v", c.since, c.first, c.last, c.kept, got)
		}
	}
}

// TestOldestSince: what waits to be proposed keeps the log that its outcome may be looked for in.
func TestOldestSince(t *testing.T) {
	call := func(since uint64) (c Call) {
		c.Req = &call.Request{Since: since}
		return c
	}
	for _, c := range []struct {
		waiting []Call
		to      uint64
		want    uint64
	}{
		{nil, 9, 9}, {[]Call{call(12), call(7), call(8)}, 9, 7}, {[]Call{call(12)}, 9, 9},
	} {
		if got := oldestSince(c.waiting, c.to); got != c.want {
			t.Errorf("%d attempts, cut at most to %d: %d, want %d", len(c.waiting), c.to, got, c.want)
		}
	}
}
