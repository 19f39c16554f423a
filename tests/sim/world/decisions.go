package world

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Every choice of a world can be written down and given back: which task runs, where more than one could, and every
// value that was drawn. One decision is one line:
//
//	= 3 n1/worker      3 stands for the task "worker" of machine n1 below
//	t 2/5 3            of five tasks that could run the one at place 2 did, which is 3
//	i 4/10             4 was drawn from [0, 10)
//	d 1500000/2000001  the same, of a duration in nanoseconds
//	u 9f3a…            any 64 bits, in hexadecimal
//	f 0.25             a fraction
//
// What a strategy draws for itself is not written: its choice is.

// decision is one line.
type decision struct {
	kind  byte
	n, v  uint64
	label string // of the task that was picked; empty: not said
	line  int
}

// describe is a decision for people.
func (d *decision) describe() string {
	switch d.kind {
	case 't':
		s := fmt.Sprintf("place %d of %d tasks that can run", d.v, d.n)
		if d.label != "" {
			s += ", which is " + d.label
		}
		return s
	case 'i', 'd':
		return fmt.Sprintf("a number below %d (%c)", d.n, d.kind)
	case 'u':
		return "64 bits (u)"
	}
	return "a fraction (f)"
}

// recorder writes the decisions of a world.
type recorder struct {
	out    *bufio.Writer
	labels map[string]int
}

// Record writes every decision from now on to out. Call it before Run, and StopRecording after it.
func (w *World) Record(out io.Writer) {
	w.recorder = &recorder{out: bufio.NewWriter(out), labels: make(map[string]int)}
}

// StopRecording writes what is buffered.
func (w *World) StopRecording() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.recorder == nil {
		return nil
	}
	err := w.recorder.out.Flush()
	w.recorder = nil
	return err
}

func (r *recorder) add(kind byte, n, v uint64, task *Task) {
	switch kind {
	case 't':
		name := task.machine.name + "/" + task.name
		label, ok := r.labels[name]
		if !ok {
			label = len(r.labels) + 1
			r.labels[name] = label
			fmt.Fprintf(r.out, "= %d %s\n", label, name)
		}
		fmt.Fprintf(r.out, "t %d/%d %d\n", v, n, label)
	case 'u':
		fmt.Fprintf(r.out, "u %x\n", v)
	case 'f':
		fmt.Fprintf(r.out, "f %s\n", strconv.FormatFloat(math.Float64frombits(v), 'g', -1, 64))
	default:
		fmt.Fprintf(r.out, "%c %d/%d\n", kind, v, n)
	}
}

// Decisions are those of a file, to be taken again.
type Decisions struct {
	list   []decision
	at     int
	misfit *Misfit
}

// Misfit says where a run stops to follow its file.
type Misfit struct {
	Step     uint64 // of the world
	Line     int    // of the file
	Decision int    // the how manieth
	Why      string
}

// Error implements error.
func (m *Misfit) Error() string {
	return fmt.Sprintf("step %d does not fit decision %d (line %d): %s", m.Step, m.Decision, m.Line, m.Why)
}

// ReadDecisions reads the decisions of a file; line is the number of the first line that in gives. A last line that was
// cut short is left out.
func ReadDecisions(in io.Reader, line int) (*Decisions, error) {
	ds := &Decisions{}
	labels := make(map[string]string)
	r := bufio.NewReader(in)
	for ; ; line++ {
		text, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return ds, nil
		}
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(text, "= "); ok {
			id, name, ok := strings.Cut(rest, " ")
			if !ok {
				return nil, fmt.Errorf("line %d: %q names no task", line, text)
			}
			labels[id] = name
			continue
		}
		d, err := parseDecision(text, labels)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q is no decision: %w", line, text, err)
		}
		d.line = line
		ds.list = append(ds.list, d)
	}
}

func parseDecision(text string, labels map[string]string) (d decision, err error) {
	fields := strings.Fields(text)
	if len(fields) < 2 || len(fields[0]) != 1 || len(fields) > 2 && fields[0] != "t" || len(fields) > 3 {
		return d, errors.New("want a kind and a value")
	}
	d.kind = fields[0][0]
	switch d.kind {
	case 'u':
		d.v, err = strconv.ParseUint(fields[1], 16, 64)
		return d, err
	case 'f':
		f, err := strconv.ParseFloat(fields[1], 64)
		if err == nil && !(f >= 0 && f < 1) {
			err = errors.New("a fraction is at least 0 and less than 1")
		}
		d.v = math.Float64bits(f)
		return d, err
	case 't', 'i', 'd':
		v, n, _ := strings.Cut(fields[1], "/")
		if d.v, err = strconv.ParseUint(v, 10, 63); err == nil {
			d.n, err = strconv.ParseUint(n, 10, 63)
		}
		if err == nil && d.v >= d.n {
			err = fmt.Errorf("%d is not below %d", d.v, d.n)
		}
		if err == nil && len(fields) == 3 {
			if d.label = labels[fields[2]]; d.label == "" {
				err = fmt.Errorf("no task is called %s before", fields[2])
			}
		}
		return d, err
	}
	return d, fmt.Errorf("no kind is called %c", d.kind)
}

// Follow lets the world decide as it is written, up to the end or to where that does not fit any more. From there on the
// seed decides, as it would have in the world that was recorded if nothing was changed. Call it before Run.
func (w *World) Follow(d *Decisions) { w.follow = d }

// Misfit is where the world stopped to follow, nil if it did not.
func (d *Decisions) Misfit() *Misfit { return d.misfit }

// Taken is how many decisions were taken from the file, of how many there are.
func (d *Decisions) Taken() (taken, of int) { return d.at, len(d.list) }

// next is the next decision if it fits. task tells which task is at a place.
func (d *Decisions) next(step uint64, is decision, task func(i int) *Task) (v uint64, ok bool) {
	if d.misfit != nil || d.at >= len(d.list) {
		return 0, false
	}
	l := &d.list[d.at]
	why := ""
	if l.kind != is.kind || l.n != is.n {
		why = fmt.Sprintf("the file has %s, the run wants one of %s", l.describe(), is.wants())
	} else if l.kind == 't' && l.label != "" {
		if t := task(int(l.v)); t.machine.name+"/"+t.name != l.label {
			why = fmt.Sprintf("the file has %s, in the run %s/%s is there", l.describe(), t.machine.name, t.name)
		}
	}
	if why != "" {
		d.misfit = &Misfit{Step: step, Line: l.line, Decision: d.at + 1, Why: why}
		return 0, false
	}
	d.at++
	return l.v, true
}

// wants is what a run asks for.
func (d *decision) wants() string {
	if d.kind == 't' {
		return fmt.Sprintf("%d tasks that can run", d.n)
	}
	return d.describe()
}

// decideLocked gives back what the seed drew, or what the file that the world follows says instead, and writes it down.
// The seed draws in any case, so that it goes on as it would have where a file ends.
func (w *World) decideLocked(kind byte, n, v uint64, task func(i int) *Task) uint64 {
	if w.follow != nil {
		if f, ok := w.follow.next(w.steps, decision{kind: kind, n: n}, task); ok {
			v = f
		}
	}
	if w.recorder != nil {
		var t *Task
		if task != nil {
			t = task(int(v))
		}
		w.recorder.add(kind, n, v, t)
	}
	return v
}

// The draws of a world.

func (w *World) pickLocked() int {
	i := w.strategy.pick(w.runnable)
	if len(w.runnable) == 1 {
		return i
	}
	return int(w.decideLocked('t', uint64(len(w.runnable)), uint64(i), func(i int) *Task { return w.runnable[i] }))
}

func (w *World) uint64Locked() uint64 { return w.decideLocked('u', 0, w.rng.Uint64(), nil) }

func (w *World) intLocked(n int) int {
	return int(w.decideLocked('i', uint64(n), uint64(w.rng.IntN(n)), nil))
}

func (w *World) nanosLocked(n int64) int64 {
	return int64(w.decideLocked('d', uint64(n), uint64(w.rng.Int64N(n)), nil))
}

func (w *World) floatLocked() float64 {
	return math.Float64frombits(w.decideLocked('f', 0, math.Float64bits(w.rng.Float64()), nil))
}
