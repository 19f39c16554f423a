package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Order changes what is wrong with the disk or the clocks of a process of a Hurtful cluster. A new process begins with
// good ones. A process that is not there takes no orders.
func (p *Proc) Order(o order) {
	text, err := json.Marshal(o)
	if err != nil {
		p.c.T.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_, _ = p.in.Write(append(text, '\n'))
	}
}

// Stat is what a process uses.
type Stat struct {
	RSS        int64 // bytes
	Files      int   // open descriptors
	Goroutines int   // as of at most a second ago
	Heap       int64 // bytes in use or not yet collected, as of then
}

// Stat measures a process of a Hurtful cluster; false if there is none, or it has just begun.
func (p *Proc) Stat() (Stat, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return Stat{}, false
	}
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	mem, err := os.ReadFile(dir + "statm")
	if err != nil {
		return Stat{}, false
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return Stat{}, false
	}
	fields := strings.Fields(string(mem))
	info, err := os.Stat(p.child.Data + ".stat")
	if len(fields) < 2 || err != nil || time.Since(info.ModTime()) > 3*statInterval {
		return Stat{}, false
	}
	text, err := os.ReadFile(p.child.Data + ".stat")
	if err != nil {
		return Stat{}, false
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	s := Stat{RSS: pages * int64(os.Getpagesize()), Files: len(files)}
	_, err = fmt.Sscan(string(text), &s.Goroutines, &s.Heap)
	return s, err == nil
}

// Resident is how many bytes of memory a process has, 0 if there is none.
func (p *Proc) Resident() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	mem, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var size, resident int64
	_, _ = fmt.Sscan(string(mem), &size, &resident)
	return resident * int64(os.Getpagesize())
}
