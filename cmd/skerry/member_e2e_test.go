package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/tests/ports"
)

// process is the program itself, as a process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
	done chan struct{}
	err  error // once done
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// launch starts it. It is killed with the test at the latest.
func launch(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(bin, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.t.Errorf("process %d does not end", p.cmd.Process.Pid)
	}
}

// ends waits until it has ended by itself, and returns what it said.
func (p *process) ends() string {
	p.t.Helper()
	select {
	case <-p.done:
		if p.err == nil {
			p.t.Fatalf("it ended with exit code 0: %s", p)
		}
	case <-time.After(30 * time.Second):
		p.t.Fatalf("it goes on: %s", p)
	}
	return p.String()
}

// TestMemberLosesDisk: a placement member is killed with kill -9 and its directory wiped. Under its number it is refused,
// before and after it came back as a new member; the cluster serves all the time, and after a full restart.
func TestMemberLosesDisk(t *testing.T) {
	cleanEnv(t)
	bin := filepath.Join(t.TempDir(), "skerry")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	addrs := ports.Free(t, 4)
	var members []string
	for i := range 3 {
		members = append(members, fmt.Sprintf("%d=%s", i+1, addrs[i]))
	}
	data := func(i int) string { return filepath.Join(dir, fmt.Sprintf("d%d", i+1)) }
	first := func(i int) []string {
		return []string{"placement", "--bootstrap", "--member-id", fmt.Sprint(i + 1), "--members", strings.Join(members, ","), "--replicas", "1",
			"--listen", addrs[i], "--data", data(i)}
	}
	args := [][]string{first(0), first(1), first(2), {"store", "--join", strings.Join(addrs[:3], ","), "--listen", addrs[3], "--data", data(3)}}
	var procs []*process
	for _, a := range args {
		procs = append(procs, launch(t, bin, a...))
	}
	s := &steps{t: t, addr: addrs[3]}
	awaitText(t, procs[3], "msg=ready")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, _, code := command(t, "", "put", "a", "1", "--addr", s.addr); code == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatal("the cluster does not serve")
		}
	}

	const lost = 1
	procs[lost].kill()
	if err := os.RemoveAll(data(lost)); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		if said := launch(t, bin, append(first(lost), "--data", filepath.Join(t.TempDir(), "empty"), "--listen", "127.0.0.1:0")...).ends(); !strings.Contains(said, "member 2") || !strings.Contains(said, "--join") {
			t.Fatalf("it said %s", said)
		}
	}
	refused()
	s.expect("1\n", "get", "a")
	args[lost] = []string{"placement", "--join", addrs[3], "--replace", "2", "--listen", addrs[lost], "--data", data(lost)}
	procs[lost] = launch(t, bin, args[lost]...)
	awaitText(t, procs[lost], "msg=ready")
	list := s.awaitVoters(3)
	for _, m := range list {
		if m.Member == 2 && m.State != memberRemoved {
			t.Fatalf("number 2 lives: %+v", list)
		}
	}
	refused()
	s.run(exitError, "", "ctl", "member", "remove", "9", "--yes")
	s.run(exitError, "", "ctl", "member", "remove", "3")
	s.run(0, "", "put", "a", "2")

	for _, p := range procs {
		p.kill()
	}
	for i, a := range args {
		procs[i] = launch(t, bin, a...)
	}
	awaitText(t, procs[3], "msg=ready")
	s.expect("2\n", "get", "a")
	if again := s.awaitVoters(3); len(again) != len(list) {
		t.Fatalf("the members were %+v and are %+v", list, again)
	}
	var to uint64
	for _, m := range list {
		if m.State == "voter" && !m.Leader {
			to = m.Member
		}
	}
	s.run(0, "", "ctl", "member", "transfer-leader", fmt.Sprint(to))
	for _, m := range s.awaitVoters(3) {
		if m.Leader && m.Member != to {
			t.Errorf("member %d leads, not %d", m.Member, to)
		}
	}
	s.run(0, "", "ctl", "member", "remove", "1", "--yes", "--wait")
	if said := procs[0].ends(); !strings.Contains(said, "member 1 was removed from placement") {
		t.Errorf("it said %s", said)
	}
	s.run(0, "", "put", "a", "3")
	s.expect("3\n", "get", "a")
}

// awaitVoters waits until so many members vote and are heard, and nothing is half done; it returns all that there were.
func (s *steps) awaitVoters(n int) []memberRow {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var doc struct {
			Members []memberRow `json:"members"`
		}
		out, _, code := command(s.t, "", "ctl", "member", "list", "--all", "-o", "json", "--addr", s.addr)
		if code == 0 {
			if err := json.Unmarshal([]byte(out), &doc); err != nil {
				s.t.Fatal(err)
			}
		}
		voters, rest := 0, 0
		for _, m := range doc.Members {
			switch {
			case m.State == "voter" && m.Heard:
				voters++
			case m.State != memberRemoved:
				rest++
			}
		}
		if voters == n && rest == 0 {
			return doc.Members
		}
		if time.Now().After(end) {
			s.t.Fatalf("the members are %s", out)
		}
	}
}

func awaitText(t *testing.T, p *process, want string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !strings.Contains(p.String(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q did not appear in %s", want, p)
		}
	}
}
