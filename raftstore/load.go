package raftstore

import (
	"sync"
	"sync/atomic"

	"github.com/skerrydb/skerry/raftstore/load"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// What a shard is asked for is counted where it is answered, and looked at once a second where it is led (package load
// decides). A read costs one atomic addition to a word of its replica; while the shard is busy, one hash more and, for
// some sixty reads a second, a lock and a copy of a key. A shard that nobody asks for costs nothing but the fields of
// shardLoad.

const (
	// loadTicks lie between two looks at the rates: a second by default.
	loadTicks = 10
	// samplesPerLook are kept of the requests between two looks, about, and maxSamples of all.
	samplesPerLook = 64
	maxSamples     = 1024
	// maxSampleKey cuts what is kept of a key. What is cut is a prefix of a key, and so a bound as good as one.
	maxSampleKey = 256
	// quietLooks without a request make a new leader say that there are none: its clients may still be on their way.
	quietLooks = 5
	// countShift parts a word of counts: bytes below, requests above. Between two looks the bytes do not come near 2^40.
	countShift = 40
)

// shardLoad is what a replica knows of the requests for its shard.
type shardLoad struct {
	// reads counts them and the bytes of their answers, see countShift: any goroutine adds, the worker takes.
	reads atomic.Uint64
	// writes and writeBytes are the worker's.
	writes, writeBytes uint64
	// sampler is there while keys are sampled.
	sampler atomic.Pointer[sampler]
	// meter is there while the replica leads and is asked for something.
	meter *load.Meter
	// told: placement heard of this leader's rates. untold: in worker.rated.
	told, untold bool
	quiet        uint8 // looks in which it led and nobody asked
}

// sampler keeps the keys of some requests, the newest of them.
type sampler struct {
	// odds out of 2^32 that a request is kept.
	odds atomic.Uint64

	mu      sync.Mutex // a leaf
	samples []load.Sample
	next    int // where the next one goes once samples is full
}

// mix spreads numbers in a row over all (splitmix64): which requests are kept must not beat with any rhythm of theirs, and
// must be the same in each replay.
func mix(n uint64) uint64 {
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	return n ^ n>>31
}

func (s *sampler) wants(h uint64) bool { return h>>32 < s.odds.Load() }

// keep takes one sample. What it is given stays the caller's.
func (s *sampler) keep(start, end shard.Key, bytes int) {
	it := load.Sample{Start: start[:min(len(start), maxSampleKey)].Clone(), Weight: 1 + float64(bytes)/beat.WorkBytes}
	if end != nil {
		it.End = append(shard.Key{}, end[:min(len(end), maxSampleKey)]...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) < maxSamples {
		s.samples = append(s.samples, it)
		return
	}
	s.samples[s.next] = it
	s.next = (s.next + 1) % maxSamples
}

func (s *sampler) kept() []load.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]load.Sample(nil), s.samples...)
}

// read counts a read that was evaluated, on any goroutine; a scan's page covers a range.
func (l *shardLoad) read(q *raw.Query, page shard.Range, bytes int) {
	s, h := l.readOf(bytes)
	switch {
	case s == nil:
	case q.Kind == raw.Get:
		s.keep(q.Keys[h%uint64(len(q.Keys))], nil, bytes)
	default:
		s.keep(page.Start, page.End, bytes)
	}
}

// readTxn is read for a transaction's.
func (l *shardLoad) readTxn(q *mvcc.Query, ans *mvcc.Answer, bytes int) {
	s, h := l.readOf(bytes)
	switch {
	case s == nil:
	case q.Kind == mvcc.Get:
		s.keep(q.Keys[h%uint64(len(q.Keys))], nil, bytes)
	case ans.Rejected == nil:
		s.keep(ans.Range.Start, ans.Range.End, bytes)
	}
}

// readOf counts a read, and returns where it is to be kept, or nil, and a number drawn for it.
func (l *shardLoad) readOf(bytes int) (*sampler, uint64) {
	n := l.reads.Add(1<<countShift + uint64(bytes))
	s := l.sampler.Load()
	if s == nil {
		return nil, 0
	}
	h := mix(n)
	if !s.wants(h) {
		return nil, 0
	}
	return s, h
}

// write counts a write that was admitted, on the worker.
func (l *shardLoad) write(body []byte) {
	l.writes++
	l.writeBytes += uint64(len(body))
	s := l.sampler.Load()
	if s == nil {
		return
	}
	h := mix(l.writes<<32 ^ l.writeBytes)
	if !s.wants(h) {
		return
	}
	var start, end shard.Key
	if cmd, err := mvcc.Decode(body); err == nil {
		start = touchedTxn(cmd, h)
	} else if cmd, err := raw.DecodeCommand(body); err == nil {
		start, end = touched(cmd, h)
	}
	if start != nil {
		s.keep(start, end, len(body))
	}
}

// touchedTxn is one of the keys that a transaction's command names, or nil. Its keys may come to lie in different shards.
func touchedTxn(cmd mvcc.Command, h uint64) (key shard.Key) {
	n := uint64(0)
	cmd.Keys(func(shard.Key) { n++ })
	if n == 0 {
		return nil
	}
	at := h % n
	cmd.Keys(func(k shard.Key) {
		if at == 0 {
			key = k
		}
		at--
	})
	return key
}

// touched is what a command touches: one of its keys, or, if it has conditions and must stay in one shard, everything from
// its first key to its last.
func touched(cmd *raw.Command, h uint64) (start, end shard.Key) {
	if len(cmd.Conditions) == 0 {
		op := &cmd.Ops[h%uint64(len(cmd.Ops))]
		if op.Kind == raw.DeleteRange {
			return op.Key, append(shard.Key{}, op.End...)
		}
		return op.Key, nil
	}
	var last shard.Key
	cmd.Keys(func(k shard.Key) {
		if start == nil || k.Compare(start) < 0 {
			start = k
		}
		if last == nil || k.Compare(last) > 0 {
			last = k
		}
	})
	if start.Compare(last) == 0 {
		return start, nil
	}
	return start, last.Next()
}

// take returns what was counted since the last time.
func (l *shardLoad) take() load.Count {
	n := l.reads.Swap(0)
	c := load.Count{Reads: n >> countShift, ReadBytes: n & (1<<countShift - 1), Writes: l.writes, WriteBytes: l.writeBytes}
	l.writes, l.writeBytes = 0, 0
	return c
}

// forget ends what is known, because the replica leads no more.
func (l *shardLoad) forget() {
	l.sampler.Store(nil)
	l.meter, l.told, l.quiet = nil, false, 0
}

// lookAtLoad looks at what a leader was asked for in the time since the last look.
func (r *replica) lookAtLoad(seconds float64) {
	l := &r.load
	c := l.take()
	if l.meter == nil {
		if c.Reads|c.Writes != 0 {
			l.meter = new(load.Meter) // from now on: this look's time may have begun before it led
		} else if l.quiet++; l.quiet >= quietLooks {
			r.dropLoad()
		}
		return
	}
	m := l.meter
	m.Turn(c, seconds)
	if m.Idle() {
		r.dropLoad()
		return
	}
	if m.News() {
		r.tellRates()
	}
	if r.splitting != nil || r.machine.Desc.Joint() {
		return // refused now; it is no less busy afterwards
	}
	r.judgeLoad(c)
}

// dropLoad forgets the rates of a shard that nobody asks for, and tells so: once, also if it was busy under another leader.
func (r *replica) dropLoad() {
	l := &r.load
	if l.meter != nil || !l.told {
		r.tellRates()
	}
	l.sampler.Store(nil)
	l.meter, l.told, l.quiet = nil, true, 0
}

// judgeLoad asks whether the shard has too much to do, and wishes it split if that helps.
func (r *replica) judgeLoad(c load.Count) {
	l, s := &r.load, r.w.store
	var samples []load.Sample
	smp := l.sampler.Load()
	if smp != nil {
		samples = smp.kept()
	}
	v := l.meter.Judge.Look(load.Policy{Work: s.Bounds().SplitWork}, l.meter, samples, r.machine.Desc.Range, int64(r.w.now))
	switch {
	case v.Sample && smp == nil:
		smp = new(sampler)
		smp.setOdds(c)
		l.sampler.Store(smp)
	case v.Sample:
		smp.setOdds(c)
	case smp != nil:
		l.sampler.Store(nil)
	}
	work := l.meter.Rates().Work()
	if v.Rests > 0 {
		s.logger.Info("shard is busy and is not split", "shard", r.id, "work", int64(work), "because", v.Why, "rests", v.Rests)
	}
	if len(v.Cut) > 0 {
		s.sizer.wish(SplitWish{Shard: r.id, Epoch: r.machine.Desc.Epoch, Keys: v.Cut, Bytes: r.size.bytes, Work: work})
	}
}

// setOdds aims at samplesPerLook when as much comes as did since the last look.
func (s *sampler) setOdds(c load.Count) {
	s.odds.Store(min(1<<32, samplesPerLook<<32/max(1, c.Reads+c.Writes)))
}

// splitLoad lets left begin anew after a split, and returns what a right begins with; nil if nothing was known.
func (r *replica) splitLoad() (part func() *load.Meter) {
	m := r.load.meter
	r.load.sampler.Store(nil)
	if m == nil {
		return func() *load.Meter { return nil }
	}
	r.load.meter = m.Part(true)
	return func() *load.Meter { return m.Part(false) }
}

// tellRates puts a shard's rates on the list of the next report. They can wait for it.
func (r *replica) tellRates() {
	if !r.load.untold {
		r.load.untold = true
		r.w.rated = append(r.w.rated, r)
	}
}

// reportRates adds what a leader knows of its rates. It may have come on the list when it led before: one that has not found
// out anything since says nothing.
func (r *replica) reportRates(out *beat.Report) {
	l := &r.load
	if !r.canServe() || l.meter == nil && !l.told {
		return
	}
	rate := beat.Rate{Shard: r.id, Term: r.group.Term()}
	if m := l.meter; m != nil {
		if !m.Settled() {
			return // what placement knows of it is better
		}
		m.Told = m.Rates()
		rate.Rates = m.Told
	}
	l.told = true
	out.Rates = append(out.Rates, rate)
}
