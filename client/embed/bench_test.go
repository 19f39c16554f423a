package embed_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/client/embed"
	"github.com/skerrydb/skerry/tests/bench/callers"
)

// BenchmarkSmall is for profiles of what a small transaction costs beside a raw put; the figures that count come from
// `skerry bench txn-cost`, with processes and disks of their own.
func BenchmarkSmall(b *testing.B) {
	db, err := embed.Open(b.Context(), embed.Dir(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	value := make([]byte, 256)
	key := func() []byte { return fmt.Appendf(nil, "bench/%08x", rand.Uint32()>>8) }
	for name, do := range map[string]func() error{
		"put": func() error { return db.Put(b.Context(), key(), value) },
		"txn": func() error {
			k := key()
			return db.Update(b.Context(), func(tx *client.Txn) error { return tx.Put(k, value) })
		},
	} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", name, clients), func(b *testing.B) { callers.Run(b, clients, do) })
		}
	}
}
