package mvcc_test

import (
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/mvcc/mvcctest"
)

// twin is the in-memory twin, which shows records as only this package can.
type twin struct{ mvcctest.Map }

// String prints one stored thing a line.
func (t *twin) String() string {
	var b strings.Builder
	t.Each(func(k shard.Key, ts mvcc.Timestamp, v []byte) {
		if ts != 0 {
			fmt.Fprintf(&b, "  %s@%d %s\n", name(k), ts, mvcc.ShowRecord(v))
			return
		}
		l, err := mvcc.DecodeLock(v)
		if err != nil {
			fmt.Fprintf(&b, "  damaged lock of %s\n", name(k))
			return
		}
		fmt.Fprintf(&b, "  %s locked: %s\n", name(k), mvcctest.ShowLock(l))
	})
	if b.Len() == 0 {
		return "  empty\n"
	}
	return b.String()
}

func name(k shard.Key) string { return mvcctest.Name(k) }
