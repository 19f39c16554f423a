// Package progress shows how far a long command is: a bar with rate and remaining time on a terminal, one plain line
// every five seconds where there is none, so that the log of a script stays readable.
//
// A Progress has one goroutine, which draws or prints; New starts it and Done ends it. Add may be called from any
// number of goroutines and never blocks on the output.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/skerrydb/skerry/internal/cli/output"
)

const (
	plainInterval = 5 * time.Second
	barInterval   = 200 * time.Millisecond
)

// Options say what is shown, and where.
type Options struct {
	Out      io.Writer
	Terminal bool // Out is one: draw a bar
	Verb     string
	// Keys and Bytes are all that there is to do; zero if not known.
	Keys, Bytes int64
	// Noun, if not empty, is what is counted in place of keys; bytes are not.
	Noun string
}

// Summary is what was done, and how long it took.
type Summary struct {
	Keys    int64         `json:"keys"`
	Bytes   int64         `json:"bytes"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// String is the summary for people.
func (s Summary) String() string {
	line := fmt.Sprintf("%s keys, %s in %s", output.Count(s.Keys), output.Bytes(float64(s.Bytes)), output.Duration(s.Elapsed))
	if s.Elapsed > 0 {
		line += fmt.Sprintf(" (%s/s)", output.Bytes(float64(s.Bytes)/s.Elapsed.Seconds()))
	}
	return line
}

// Progress counts what is done. Safe for concurrent use.
type Progress struct {
	o           Options
	start       time.Time
	keys, bytes atomic.Int64

	stop chan struct{}
	wg   sync.WaitGroup
}

// New begins to show progress.
func New(o Options) *Progress {
	p := &Progress{o: o, start: time.Now(), stop: make(chan struct{})}
	switch {
	case o.Terminal && o.Noun != "":
		p.wg.Go(p.drawCounted)
	case o.Terminal:
		p.wg.Go(p.draw)
	default:
		p.wg.Go(p.print)
	}
	return p
}

// Add counts keys and bytes as done.
func (p *Progress) Add(keys int, bytes int64) {
	p.keys.Add(int64(keys))
	p.bytes.Add(bytes)
}

// Done ends the display. It must be called once.
func (p *Progress) Done() Summary {
	close(p.stop)
	p.wg.Wait()
	return p.summary()
}

func (p *Progress) summary() Summary {
	return Summary{Keys: p.keys.Load(), Bytes: p.bytes.Load(), Elapsed: time.Since(p.start)}
}

// print writes a line now and then.
func (p *Progress) print() {
	t := time.NewTicker(plainInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			fmt.Fprintln(p.o.Out, p.line())
		case <-p.stop:
			return
		}
	}
}

// line says how far it is in one line.
func (p *Progress) line() string {
	s := p.summary()
	if p.o.Noun != "" {
		return p.counted(s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", p.o.Verb, output.Count(s.Keys))
	if p.o.Keys > 0 {
		fmt.Fprintf(&b, " of %s", output.Count(p.o.Keys))
	}
	fmt.Fprintf(&b, " keys, %s", output.Bytes(float64(s.Bytes)))
	rate := float64(s.Bytes) / s.Elapsed.Seconds()
	if p.o.Bytes > 0 {
		fmt.Fprintf(&b, " of %s (%d%%)", output.Bytes(float64(p.o.Bytes)), 100*s.Bytes/p.o.Bytes)
	}
	fmt.Fprintf(&b, ", %s/s", output.Bytes(rate))
	if left := p.o.Bytes - s.Bytes; p.o.Bytes > 0 && left > 0 && rate > 0 {
		fmt.Fprintf(&b, ", %s left", (time.Duration(float64(left) / rate * float64(time.Second))).Round(time.Second))
	}
	return b.String()
}

// counted is line for what has no bytes.
func (p *Progress) counted(s Summary) string {
	text := fmt.Sprintf("%s: %s of %s %s", p.o.Verb, output.Count(s.Keys), output.Count(p.o.Keys), p.o.Noun)
	if s.Keys > 0 && s.Keys < p.o.Keys {
		text += fmt.Sprintf(", %s left", (time.Duration(float64(s.Elapsed) * float64(p.o.Keys-s.Keys) / float64(s.Keys))).Round(time.Second))
	}
	return text
}

// drawCounted is draw for what has no bytes.
func (p *Progress) drawCounted() {
	bars := mpb.New(mpb.WithOutput(p.o.Out), mpb.WithAutoRefresh(), mpb.WithRefreshRate(barInterval))
	bar := bars.AddBar(p.o.Keys, mpb.PrependDecorators(decor.Name(p.o.Verb+" "), decor.CountersNoUnit("%d of %d "+p.o.Noun)),
		mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
	p.follow(bars, bar, &p.keys, p.o.Keys)
}

// draw keeps a bar up to date. The bar is told what the counters say and not each Add, which would go through a channel
// of the library for every batch.
func (p *Progress) draw() {
	bars := mpb.New(mpb.WithOutput(p.o.Out), mpb.WithAutoRefresh(), mpb.WithRefreshRate(barInterval))
	keys := decor.Any(func(decor.Statistics) string {
		return fmt.Sprintf("  %s keys", output.Count(p.keys.Load()))
	})
	counted := decor.CountersKibiByte("% .1f of % .1f")
	eta := decor.AverageETA(decor.ET_STYLE_GO)
	after := []decor.Decorator{decor.AverageSpeed(decor.SizeB1024(0), "% .1f"), decor.Name("  "), eta, decor.Name(" left"), keys}
	if p.o.Bytes == 0 { // nobody knows how much there is: no share, no remaining time
		counted, after = decor.CurrentKibiByte("% .1f"), []decor.Decorator{after[0], keys}
	}
	bar := bars.AddBar(p.o.Bytes, mpb.PrependDecorators(decor.Name(p.o.Verb+" "), counted), mpb.AppendDecorators(after...))
	p.follow(bars, bar, &p.bytes, p.o.Bytes)
}

// follow tells a bar what a counter says, until the end.
func (p *Progress) follow(bars *mpb.Progress, bar *mpb.Bar, count *atomic.Int64, all int64) {
	t := time.NewTicker(barInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			// The bar completes itself at its total and is then never redrawn, so that is left to the end.
			if n := count.Load(); all == 0 || n < all {
				bar.SetCurrent(n)
			}
		case <-p.stop:
			if n := count.Load(); n == all && n > 0 {
				bar.SetCurrent(n)
			}
			bar.Abort(false) // a completed bar takes no notice
			bars.Wait()
			return
		}
	}
}
