package engine

import (
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// smallRangeBytes is up to where a range is counted rather than estimated: Pebble's estimate knows only files, and a
// small range may lie in memtables. Counting it takes about 10 ms.
const smallRangeBytes = 8 << 20

// ApproximateSize is about how many bytes a range takes on disk. Small ranges are counted, uncompressed.
func (e *Engine) ApproximateSize(r shard.Range) (uint64, error) {
	if err := e.check(); err != nil {
		return 0, err
	}
	data, err := e.sizeOf(keys.DataSpan(r))
	if err != nil {
		return 0, err
	}
	locks, err := e.sizeOf(lockSpan(r))
	return data + locks, err
}

func (e *Engine) sizeOf(s keys.Span) (uint64, error) {
	if s.Empty() {
		return 0, nil
	}
	disk, err := e.db.EstimateDiskUsage(s.Start, s.End)
	if err != nil {
		return 0, e.readFailed("estimate disk usage", err)
	}
	if disk >= smallRangeBytes {
		return disk, nil
	}
	counted := uint64(0)
	err = e.sizes(s, func(_ []byte, bytes uint64) bool {
		counted += bytes
		return counted < smallRangeBytes
	})
	return max(disk, counted), err
}

// sizes calls f with every key of a span and the bytes of key and value, without reading values that lie apart.
func (e *Engine) sizes(s keys.Span, f func(k []byte, bytes uint64) bool) error {
	it, err := e.iter(s)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v := it.LazyValue()
		if !f(it.Key(), uint64(len(it.Key())+v.Len())) {
			break
		}
	}
	if err := it.Close(); err != nil {
		return e.readFailed("scan sizes", err)
	}
	return nil
}

// sample is a prefix and the bytes of everything below it.
type sample struct {
	prefix []byte
	below  uint64
}

// maxSamples bounds the memory of CutKeys; a key found is off by at most one sample's distance, a thousandth.
const maxSamples = 1024

// Cut is a key at which a range falls apart, and the bytes of everything of the range below it.
type Cut struct {
	Key   shard.Key
	Below uint64
}

// CutKeys finds at most parts-1 keys at which a range falls into parts of about equal bytes, and the bytes of all of it.
// They ascend; each is a prefix, so that the versions of one key are never parted, and none is the first prefix, so that
// every part holds keys. There are fewer where the range holds fewer prefixes. Bytes are those of keys and values as
// they are, whatever Pebble makes of them on disk, so that every replica and every run finds the same. Locks, which are
// few and gone soon, are left out.
//
// It reads the keys of the whole range: it is for the background.
func (e *Engine) CutKeys(r shard.Range, parts int) (cuts []Cut, total uint64, err error) {
	s := keys.DataSpan(r)
	if s.Empty() {
		return nil, 0, nil
	}
	if err := e.check(); err != nil {
		return nil, 0, err
	}
	var samples []sample
	var prefix []byte
	stride := uint64(1)
	err = e.sizes(s, func(k []byte, bytes uint64) bool {
		if p := keys.Prefix(k); prefix == nil || !keys.Equal(p, prefix) {
			// The first prefix cannot be cut at: nothing would lie below it.
			if n := len(samples); prefix != nil && (n == 0 || total-samples[n-1].below >= stride) {
				samples = append(samples, sample{prefix: append([]byte(nil), p...), below: total})
				if len(samples) == maxSamples {
					samples, stride = thin(samples), max(stride*2, total/(maxSamples/2))
				}
			}
			prefix = append(prefix[:0], p...)
		}
		total += bytes
		return true
	})
	if err != nil {
		return nil, 0, err
	}
	for _, at := range spread(samples, total, parts) {
		k, _ := keys.DecodeData(samples[at].prefix)
		cuts = append(cuts, Cut{Key: k, Below: samples[at].below})
	}
	return cuts, total, nil
}

// spread chooses the samples nearest to the bounds between equal parts, ascending, no sample twice.
func spread(samples []sample, total uint64, parts int) []int {
	var out []int
	from := 0
	for i := 1; i < parts && from < len(samples); i++ {
		want := total / uint64(parts) * uint64(i)
		best := from
		for j := from + 1; j < len(samples) && dist(samples[j].below, want) <= dist(samples[best].below, want); j++ {
			best = j
		}
		out = append(out, best)
		from = best + 1
	}
	return out
}

// MiddleKey is the key of CutKeys for two parts; ok is false if the range holds fewer than two prefixes.
func (e *Engine) MiddleKey(r shard.Range) (shard.Key, bool, error) {
	cuts, _, err := e.CutKeys(r, 2)
	if err != nil || len(cuts) == 0 {
		return nil, false, err
	}
	return cuts[0].Key, true, nil
}

// thin keeps every second sample.
func thin(s []sample) []sample {
	n := 0
	for i := 0; i < len(s); i += 2 {
		s[n] = s[i]
		n++
	}
	clear(s[n:])
	return s[:n]
}

func dist(a, b uint64) uint64 { return max(a, b) - min(a, b) }
