package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Distribution chooses which of the records an operation is about.
type Distribution string

// The distributions.
const (
	Uniform Distribution = "uniform" // every record alike
	Zipfian Distribution = "zipfian" // few records get most operations; which ones is scattered over the keys
	Latest  Distribution = "latest"  // zipfian over the age of records: the newest get most
)

// Valid reports whether d is one of the distributions.
func (d Distribution) Valid() bool { return d == Uniform || d == Zipfian || d == Latest }

// zipfExponent is what YCSB uses; the most popular of a million records gets about 6.5 % of the operations.
const zipfExponent = 0.99

// chooser draws the index of a record. It belongs to one goroutine.
type chooser struct {
	rng  *rand.Rand
	dist Distribution
	zipf zipf
}

func newChooser(dist Distribution, rng *rand.Rand) *chooser {
	return &chooser{rng: rng, dist: dist, zipf: newZipf(zipfExponent)}
}

// next draws from the indexes below n, which must be above zero and may grow between calls.
func (c *chooser) next(n uint64) uint64 {
	switch c.dist {
	case Zipfian:
		return c.zipf.rank(c.rng, n) - 1
	case Latest:
		return n - c.zipf.rank(c.rng, n)
	}
	return c.rng.Uint64N(n)
}

// zipf draws ranks with a probability in proportion to rank^-s, for any s above zero but 1, by rejection-inversion
// (W. Hörmann, G. Derflinger: Rejection-inversion to generate variates from monotone discrete distributions, 1996).
// Unlike the generator of YCSB it needs no sum over all records, so the number of records may change from draw to draw.
type zipf struct {
	s      float64
	first  float64 // H(1.5) - h(1), where the area of rank 1 begins
	accept float64 // ranks this close to the drawn point are accepted without looking further
}

func newZipf(s float64) zipf {
	z := zipf{s: s}
	z.first = z.integral(1.5) - 1
	z.accept = 2 - z.inverse(z.integral(2.5)-z.density(2))
	return z
}

// density is h(x) = x^-s.
func (z *zipf) density(x float64) float64 { return math.Pow(x, -z.s) }

// integral is H(x), an integral of h.
func (z *zipf) integral(x float64) float64 { return (math.Pow(x, 1-z.s) - 1) / (1 - z.s) }

// inverse is the x with H(x) = y.
func (z *zipf) inverse(y float64) float64 { return math.Pow(1+y*(1-z.s), 1/(1-z.s)) }

// rank draws from 1 to n.
func (z *zipf) rank(rng *rand.Rand, n uint64) uint64 {
	last := z.integral(float64(n) + 0.5)
	for {
		u := last + rng.Float64()*(z.first-last)
		x := z.inverse(u)
		k := min(max(math.Round(x), 1), float64(n))
		if k-x <= z.accept || u >= z.integral(k+0.5)-z.density(k) {
			return uint64(k)
		}
	}
}

// keyOf is the key of a record: its index in 16 hexadecimal digits, mixed so that neighbours in the index lie far apart
// in the keys and load spreads over all shards.
func keyOf(prefix string, index uint64) []byte {
	return fmt.Appendf(nil, "%s%016x", prefix, mix(index))
}

// mix is a bijection of 64-bit numbers (the finalizer of splitmix64), so no two records share a key.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// valueOf fills a value that compresses about as well as text does not: random bytes, so that disks and networks work.
func valueOf(rng *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := 0; i < size; i += 8 {
		x := rng.Uint64()
		for j := i; j < min(i+8, size); j++ {
			b[j] = byte(x)
			x >>= 8
		}
	}
	return b
}
