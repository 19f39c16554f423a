package keys

import (
	"bytes"
	"encoding/binary"

	"github.com/skerrydb/skerry/shard"
)

// The order of physical keys.
//
// A version of a transactional key is
//
//	0x04 'x' user key 0x00 | inverted timestamp(8) 0x09
//
// where what stands before the bar is the prefix and what stands after it the suffix. Prefixes are ordered bytewise,
// versions of one prefix by their suffix, and the bare prefix before them all. The user key is not escaped: Compare
// looks at prefixes first, so a user key that contains zero bytes cannot come to lie between another's versions. The
// length byte at the end, instead of a length that depends on the kind of key, makes Split total and cheap; the scheme
// is the one of cockroachdb's pebble/cockroachkvs.

const (
	suffixLen  = 9    // 8 bytes of inverted timestamp and the mark
	suffixMark = 0x09 // last byte of a version: the length of its suffix
	prefixEnd  = 0x00 // last byte of the prefix of a version

	// minVersionLen is the length of a version of the empty user key: kind, mode, 0x00, suffix. Counting the kind byte,
	// it is the 12 of the design.
	minVersionLen = 1 + 1 + 1 + suffixLen
)

// Split is the length of k's prefix. It cuts 9 bytes if and only if k is a data key of mode 'x' or 'X', is at least 12
// bytes long (kind and mode counted), ends with 0x09, and the byte before the suffix is the 0x00 that closes every
// transactional prefix; otherwise the whole key is prefix.
//
// INVARIANT: Split is idempotent, Split(k[:Split(k)]) == Split(k), for every byte string and not only for keys that we
// write, because Pebble calls it with bounds and separators too. The condition on the closing 0x00 is what makes it so:
// a prefix ends with 0x00, so it never reads as a version. Without it a prefix that happens to end with 0x09 would be
// cut again, and Compare would contradict itself (Pebble's second law of Split).
func Split(k []byte) int {
	n := len(k)
	if n < minVersionLen || k[n-1] != suffixMark || !versioned(k) || k[n-suffixLen-1] != prefixEnd {
		return n
	}
	return n - suffixLen
}

// versioned reports whether k, of two bytes or more, is of a span in which keys have versions.
func versioned(k []byte) bool {
	m := shard.Mode(k[1])
	return Kind(k[0]) == KindData && (m == shard.ModeTxn || m == shard.ModeTxnK)
}

// Prefix is k without its suffix, aliasing k.
func Prefix(k []byte) []byte {
	n := Split(k)
	return k[:n:n]
}

// Compare orders physical keys: prefixes bytewise, then suffixes bytewise. An empty suffix is the smallest.
func Compare(a, b []byte) int {
	// The first two bytes belong to the prefix of every key. Where they differ, or say that neither has versions, which is most of
	// what a memtable holds, the ends of the keys need not be looked at.
	if len(a) >= 2 && len(b) >= 2 && (a[0] != b[0] || a[1] != b[1] || !versioned(a)) {
		return bytes.Compare(a, b)
	}
	an, bn := Split(a), Split(b)
	if c := bytes.Compare(a[:an], b[:bn]); c != 0 {
		return c
	}
	return bytes.Compare(a[an:], b[bn:])
}

// Equal reports whether Compare is zero, which it is only for equal bytes.
func Equal(a, b []byte) bool { return bytes.Equal(a, b) }

// CompareSuffixes orders suffixes: newer timestamps, being inverted, are smaller and come first.
func CompareSuffixes(a, b []byte) int { return bytes.Compare(a, b) }

// Abbreviate is the first 8 bytes of k's prefix as a number: if it is smaller for a than for b, a sorts before b.
func Abbreviate(k []byte) uint64 {
	p := k[:Split(k)]
	if len(p) >= 8 {
		return binary.BigEndian.Uint64(p)
	}
	var v uint64
	for _, c := range p {
		v = v<<8 | uint64(c)
	}
	return v << uint(8*(8-len(p)))
}

// ImmediateSuccessor appends the smallest prefix above the prefix a.
func ImmediateSuccessor(dst, a []byte) []byte { return append(append(dst, a...), 0x00) }

// Separator appends a key k with a <= k < b, given a < b, that is short.
//
// INVARIANT: what it returns is a itself or a prefix. Only prefixes are shortened; where the shortened bytes would read
// as a version, a is returned as it is.
func Separator(dst, a, b []byte) []byte {
	pa, pb := Prefix(a), Prefix(b)
	i := 0
	for i < len(pa) && i < len(pb) && pa[i] == pb[i] {
		i++
	}
	// One prefix begins with the other, or they are equal: nothing between them is shorter than a.
	if i == len(pa) || i == len(pb) || pa[i] >= pb[i] {
		return append(dst, a...)
	}
	n := len(dst)
	if i < len(pb)-1 || pa[i]+1 < pb[i] {
		// The byte above pa[i], with nothing behind it, is still below pb.
		dst = append(dst, pa[:i+1]...)
		dst[len(dst)-1]++
		return orWhole(dst, n, a)
	}
	// pb ends here with the very next byte: raise a later byte of pa instead.
	for j := i + 1; j < len(pa); j++ {
		if pa[j] != 0xff {
			dst = append(dst, pa[:j+1]...)
			dst[len(dst)-1]++
			return orWhole(dst, n, a)
		}
	}
	return append(dst, a...)
}

// Successor appends a short key k with a <= k.
func Successor(dst, a []byte) []byte {
	n := len(dst)
	for i, c := range Prefix(a) {
		if c != 0xff {
			dst = append(dst, a[:i+1]...)
			dst[len(dst)-1]++
			return orWhole(dst, n, a)
		}
	}
	return append(dst, a...)
}

// orWhole returns dst if what was appended after n is a prefix, and dst[:n] with a appended otherwise.
func orWhole(dst []byte, n int, a []byte) []byte {
	if k := dst[n:]; Split(k) != len(k) {
		return append(dst[:n], a...)
	}
	return dst
}
