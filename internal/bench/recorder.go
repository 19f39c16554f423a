package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in microseconds with three digits, up to ten minutes; longer ones count as ten minutes.
const (
	maxLatencyMicros = int64(10 * time.Minute / time.Microsecond)
	latencyDigits    = 3
)

// maxStripes bounds the histograms, each of some 150 KiB, that clients share.
const maxStripes = 32

// sample is what was measured of some operations.
type sample struct {
	hists    [kinds]*hdrhistogram.Histogram // nil: none of that kind
	ops      int64
	notFound int64
	errors   map[string]int64 // by label
}

func (s *sample) record(k Kind, latency time.Duration, out outcome) {
	if out.label != "" {
		if s.errors == nil {
			s.errors = make(map[string]int64)
		}
		s.errors[out.label]++
		return
	}
	if out.notFound {
		s.notFound++
	}
	s.ops++
	if s.hists[k] == nil {
		s.hists[k] = hdrhistogram.New(1, maxLatencyMicros, latencyDigits)
	}
	// The value is in range, so there is no error.
	_ = s.hists[k].RecordValue(min(max(latency.Microseconds(), 1), maxLatencyMicros))
}

// add merges o into s and may keep o's histograms.
func (s *sample) add(o *sample) {
	s.ops += o.ops
	s.notFound += o.notFound
	for label, n := range o.errors {
		if s.errors == nil {
			s.errors = make(map[string]int64)
		}
		s.errors[label] += n
	}
	for k, h := range o.hists {
		switch {
		case h == nil:
		case s.hists[k] == nil:
			s.hists[k] = h
		default:
			s.hists[k].Merge(h)
		}
	}
}

// all is one histogram of every kind; nil if there are none.
func (s *sample) all() *hdrhistogram.Histogram {
	var out *hdrhistogram.Histogram
	for _, h := range s.hists {
		if h == nil {
			continue
		}
		if out == nil {
			out = hdrhistogram.New(1, maxLatencyMicros, latencyDigits)
		}
		out.Merge(h)
	}
	return out
}

func (s *sample) failed() (n int64) {
	for _, c := range s.errors {
		n += c
	}
	return n
}

// recorder collects samples of many clients with little contention.
type recorder struct {
	stripes []stripe
}

type stripe struct {
	mu sync.Mutex
	s  sample
}

func newRecorder(clients int) *recorder {
	return &recorder{stripes: make([]stripe, min(max(clients, 1), maxStripes))}
}

func (r *recorder) record(client int, k Kind, latency time.Duration, out outcome) {
	st := &r.stripes[client%len(r.stripes)]
	st.mu.Lock()
	defer st.mu.Unlock()
	st.s.record(k, latency, out)
}

// take returns what was recorded since the last take.
func (r *recorder) take() sample {
	var out sample
	for i := range r.stripes {
		st := &r.stripes[i]
		st.mu.Lock()
		s := st.s
		st.s = sample{}
		st.mu.Unlock()
		out.add(&s)
	}
	return out
}
