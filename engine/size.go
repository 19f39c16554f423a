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
	s := keys.DataSpan(r)
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

// maxSamples bounds the memory of MiddleKey; the key found is off by at most one sample's distance, a thousandth.
const maxSamples = 1024

// MiddleKey finds a key at which a range falls into two halves of about equal bytes: a prefix, so that the versions of
// one key are never parted, and not the first one, so that both halves hold keys. ok is false if the range holds fewer
// than two prefixes. It reads all keys of the range: it is for the background.
func (e *Engine) MiddleKey(r shard.Range) (shard.Key, bool, error) {
	s := keys.DataSpan(r)
	if s.Empty() {
		return nil, false, nil
	}
	var samples []sample
	var total, stride uint64 = 0, 1
	var prefix []byte
	err := e.sizes(s, func(k []byte, bytes uint64) bool {
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
	if err != nil || len(samples) == 0 {
		return nil, false, err
	}
	best := samples[0]
	for _, c := range samples[1:] {
		if dist(c.below, total/2) < dist(best.below, total/2) {
			best = c
		}
	}
	k, _ := keys.DecodeData(best.prefix)
	return k, true, nil
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
