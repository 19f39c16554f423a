package sim

import (
	"crypto/rand"
	mrand "math/rand/v2"
)

// seedLibraries gives seeded randomness to a library that draws its own: raft draws election timeouts from crypto/rand.
// One process runs one world at a time.
func seedLibraries(seed uint64) {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.Reader = mrand.NewChaCha8(key)
}
