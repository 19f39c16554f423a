package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/google/pprof/profile"

	"github.com/skerrydb/skerry/tests/bench/stages"
)

// stacksOf is a stage whose samples are printed, to see what it is made of.
var stacksOf = flag.String("stacks", "", "with -costs: print the samples of this stage")

// heaps says what each node has allocated since it began.
func (s *skerry) heaps() (out []*profile.Profile, err error) {
	for _, addr := range s.admin {
		got, err := fetch(fmt.Sprintf("http://%s/debug/pprof/heap?gc=1", addr))
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
	return out, nil
}

// between is what was allocated from one look at the heaps to another, each.
func between(then, now []*profile.Profile, kind string, each float64) map[stages.Stage]float64 {
	out := byStage(now, kind)
	for k, v := range byStage(then, kind) {
		out[k] -= v
	}
	for k := range out {
		out[k] /= each
	}
	return out
}

// profiles are those of one window.
type profiles struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	servers []*profile.Profile // in the order of nodes
	clients *profile.Profile
	errs    []error
}

// profiles begins to take them, for so long.
func (s *skerry) profiles(length time.Duration) *profiles {
	p := &profiles{servers: make([]*profile.Profile, len(s.admin))}
	for i, addr := range s.admin {
		p.take(&p.servers[i], func() (*profile.Profile, error) {
			return fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, int(length.Seconds())))
		})
	}
	p.take(&p.clients, func() (*profile.Profile, error) { // they are in this process
		var text bytes.Buffer
		if err := pprof.StartCPUProfile(&text); err != nil {
			return nil, err
		}
		time.Sleep(length)
		pprof.StopCPUProfile()
		return profile.Parse(&text)
	})
	return p
}

func (p *profiles) take(to **profile.Profile, get func() (*profile.Profile, error)) {
	p.wg.Go(func() {
		got, err := get()
		p.mu.Lock()
		defer p.mu.Unlock()
		*to, p.errs = got, append(p.errs, err)
	})
}

// wait returns once they are taken.
func (p *profiles) wait() error {
	p.wg.Wait()
	return errors.Join(p.errs...)
}

// save writes each into a file, whose name begins so.
func (p *profiles) save(name string) error {
	if err := p.wait(); err != nil {
		return err
	}
	err := write(name+"-clients.pprof", p.clients)
	for i, of := range p.servers {
		err = errors.Join(err, write(fmt.Sprintf("%s-n%d.pprof", name, i+1), of))
	}
	return err
}

func write(name string, p *profile.Profile) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(p.Write(f), f.Close())
}

func fetch(url string) (*profile.Profile, error) {
	r, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return profile.ParseData(b)
}

// into fills a sheet. Shares are those of the profiles; the sums are what the kernel counted.
func (p *profiles) into(c *sheet) error {
	if err := p.wait(); err != nil {
		return err
	}
	c.servers = scaled(byStage(p.servers, "cpu"), c.sample.server)
	c.clients = scaled(byStage([]*profile.Profile{p.clients}, "cpu"), c.sample.client)
	return nil
}

// byStage sums a kind of samples.
func byStage(of []*profile.Profile, kind string) map[stages.Stage]float64 {
	out := make(map[stages.Stage]float64)
	for _, p := range of {
		at := -1
		for i, t := range p.SampleType {
			if t.Type == kind {
				at = i
			}
		}
		for _, s := range p.Sample {
			var stack []string
			for _, l := range s.Location {
				for _, line := range l.Line {
					stack = append(stack, line.Function.Name)
				}
			}
			st := stages.Of(stack)
			if kind != "cpu" {
				st = stages.Of(stack[allocators(stack):])
			}
			out[st] += float64(s.Value[at])
			if string(st) == *stacksOf {
				fmt.Fprintln(os.Stderr, kind, s.Value[at], strings.Join(stack, " < "))
			}
		}
	}
	return out
}

// allocators is how many functions at the end of a stack only allocate.
func allocators(stack []string) int {
	n := 0
	for n < len(stack) && strings.HasPrefix(stack[n], "runtime.") {
		n++
	}
	return n
}

// scaled makes the sum so much.
func scaled(of map[stages.Stage]float64, sum float64) map[stages.Stage]float64 {
	var all float64
	for _, v := range of {
		all += v
	}
	for k := range of {
		of[k] *= sum / max(all, 1)
	}
	return of
}
