package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/skerrydb/skerry/tests/sim/world"
)

// decisionsMagic is the first line of a file of decisions.
const decisionsMagic = "skerry-sim decisions 1"

// build says which code this program was made of, as far as it knows.
func build() string {
	rev, dirty := "unknown", ""
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			switch {
			case s.Key == "vcs.revision":
				rev = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = " modified"
			}
		}
	}
	return rev + dirty
}

// writeDecisionsHeader says which world the decisions that follow are of.
func writeDecisionsHeader(out io.Writer, o *Options, k *Knobs) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nbuild %s\nseed %d\nsalt %d\n", decisionsMagic, build(), o.Seed, o.Salt)
	for _, s := range o.Set {
		fmt.Fprintf(&b, "set %s\n", s)
	}
	if o.Bug != "" {
		fmt.Fprintf(&b, "bug %s\n", o.Bug)
	}
	fmt.Fprintf(&b, "knobs %q\n\n", k.String())
	_, err := io.WriteString(out, b.String())
	return err
}

// Recording is a file of decisions.
type Recording struct {
	Options   // of the world: seed, salt, knobs, bug
	Build     string
	SameBuild bool // this program is of the code that wrote it
	Knobs     string
	Decisions *world.Decisions
}

// ReadRecording reads a file that Options.Record wrote.
func ReadRecording(in io.Reader) (*Recording, error) {
	r := bufio.NewReader(in)
	rec := &Recording{}
	for line := 1; ; line++ {
		text, err := r.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("line %d: the header of a file of decisions ends too early", line)
		}
		text = strings.TrimSpace(text)
		switch {
		case line == 1 && text != decisionsMagic:
			return nil, fmt.Errorf("line 1: this is no file of decisions: want %q", decisionsMagic)
		case line == 1:
		case text == "":
			rec.Decisions, err = world.ReadDecisions(r, line+1)
			return rec, err
		default:
			if err := rec.header(text); err != nil {
				return nil, fmt.Errorf("line %d: %q: %w", line, text, err)
			}
		}
	}
}

func (rec *Recording) header(text string) (err error) {
	name, v, _ := strings.Cut(text, " ")
	switch name {
	case "build":
		rec.Build, rec.SameBuild = v, v == build()
	case "seed":
		rec.Seed, err = strconv.ParseUint(v, 10, 64)
	case "salt":
		rec.Salt, err = strconv.ParseUint(v, 10, 64)
	case "set":
		rec.Set = append(rec.Set, v)
	case "bug":
		rec.Bug = v
	case "knobs":
		rec.Knobs, err = strconv.Unquote(v)
	default:
		err = errors.New("no such line belongs in a header")
	}
	return err
}

// check refuses a recording of other knobs than its seed draws in this build: not one decision would mean the same.
func (rec *Recording) check(k *Knobs) error {
	if rec.Knobs != k.String() {
		return fmt.Errorf("the file is of a world with other knobs than seed %d has in this build (%s; the file is of build %s):\n%s\nand not\n%s", rec.Seed, build(), rec.Build, rec.Knobs, k)
	}
	return nil
}

// Replay runs the world of a recording again. What o says of traces holds; all else is of the recording.
func Replay(rec *Recording, o Options) *Result {
	o.Seed, o.Salt, o.Set, o.Bug, o.follow = rec.Seed, rec.Salt, rec.Set, rec.Bug, rec
	return Run(o)
}
