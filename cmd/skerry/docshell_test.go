package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/tests/ports"
)

// TestMain lets the shells of documents call this binary by other names: skerry is the program, and curl is as much of that
// as the documents need.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "skerry":
		main()
	case "curl":
		resp, err := http.Get("http://" + os.Args[len(os.Args)-1])
		if err == nil {
			_, err = io.Copy(os.Stdout, resp.Body)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			os.Exit(7)
		}
		os.Exit(0)
	}
	name, value, _ := strings.Cut(capacityVar, "=")
	if err := os.Setenv(name, value); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// capacityVar gives every store of these tests a part of the machine's disk for its own, so that it does not matter how full
// that is.
const capacityVar = config.EnvPrefix + "CAPACITY=16GiB"

// docPorts are the addresses that documents may use: 127.0.0.1:4400 to 4407, and 8400 for HTTP.
const docPorts = 8

// commandLimit ends a command that hangs, and patience is how long one that only looks is run again until it shows what the
// document shows. Both are for loaded machines.
const (
	commandLimit = 90 * time.Second
	patience     = 45 * time.Second
)

// shell is a bash that runs one command after the other.
type shell struct {
	t     *testing.T
	dir   string
	to    *strings.Replacer // from addresses of documents to ours
	back  [][2]string       // ours, and those of documents
	in    io.Writer
	out   *bufio.Reader
	names names
	files int // of what runs in the background
	pids  []string
	cmd   *exec.Cmd
}

func newShell(t *testing.T) *shell {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sh := &shell{t: t, dir: dir, names: names{}}
	var pairs []string
	for i, addr := range ports.Free(t, docPorts+1) {
		shown := fmt.Sprintf("127.0.0.1:%d", 4400+i)
		if i == docPorts {
			shown = "127.0.0.1:8400"
		}
		pairs = append(pairs, shown, addr)
		sh.back = append(sh.back, [2]string{addr, shown})
	}
	sh.to = strings.NewReplacer(pairs...)
	if err := os.Mkdir(filepath.Join(sh.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"skerry", "curl"} {
		if err := os.Symlink(self, filepath.Join(sh.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	sh.cmd = exec.Command("bash", "--noprofile", "--norc")
	sh.cmd.Dir = sh.dir
	sh.cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, config.EnvPrefix) })
	sh.cmd.Env = append(sh.cmd.Env, "PATH="+sh.dir+"/bin:"+os.Getenv("PATH"), "LC_ALL=C", capacityVar, "SKERRY_ADDR="+sh.to.Replace("127.0.0.1:4400"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := sh.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	sh.cmd.Stdout, sh.cmd.Stderr = w, w
	if err := sh.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	sh.in, sh.out = in, bufio.NewReader(r)
	t.Cleanup(func() {
		_ = in.Close() // the shell ends, if it has not yet; what it started goes on
		for _, pid := range sh.pids {
			if n, err := strconv.Atoi(pid); err == nil && sh.owns(n) {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
		_ = sh.cmd.Wait()
		_ = r.Close()
	})
	sh.run("set -m")
	return sh
}

// owns reports whether a process is one that runs in the directory of the shell: numbers of processes are used again.
func (sh *shell) owns(pid int) bool {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && dir == sh.dir
}

// section runs the blocks of a section and returns what belongs into them.
func (sh *shell) section(s *section) map[*block][]string {
	sh.t.Helper()
	out := make(map[*block][]string)
	for _, b := range s.blocks {
		if b.notRun != "" {
			continue
		}
		var lines []string
		for _, st := range b.steps() {
			got := sh.step(st, b.hidden)
			lines = append(append(lines, st.shown...), got...)
		}
		if !b.hidden && !slices.Equal(lines, b.lines) {
			out[b] = lines
		}
	}
	return out
}

var (
	exitCode = regexp.MustCompile(`\s+# exit code (\d+)$`)
	comment  = regexp.MustCompile(`\s+# .*$`)
	onlyLook = regexp.MustCompile(`^(bin/)?skerry (put|ctl (status|plan|explain|version show|\w+ (list|get|show))|get|scan)\b|^(curl|tail|grep|cat) `)
)

// step runs a command and returns the lines that belong into the document. What a hidden one prints does not matter.
func (sh *shell) step(s step, hidden bool) []string {
	sh.t.Helper()
	cmd, code := s.command(), "0"
	if m := exitCode.FindStringSubmatch(cmd); m != nil {
		cmd, code = strings.TrimSuffix(cmd, m[0]), m[1]
	}
	cmd = sh.names.ours(sh.to.Replace(comment.ReplaceAllString(cmd, "")))
	cmd = strings.ReplaceAll(cmd, "--duration 10s", "--duration 1s")
	if strings.HasPrefix(cmd, "bin/skerry playground") {
		cmd += " --addr " + sh.back[0][0] + " &" // in a terminal of its own
	}
	if bg, ok := strings.CutSuffix(cmd, " &"); ok {
		return sh.background(bg, s.want)
	}
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		got, ended := sh.run(cmd)
		got = sh.shown(got)
		if (hidden || sh.names.alike(s.want, got)) && ended == code {
			return s.want
		}
		again := onlyLook.MatchString(cmd) && time.Now().Before(end)
		if *rewriteDocs && ended == code { // it prints what it will print, or the document is to change
			again = again && len(s.want) > 0 && time.Until(end) > patience-5*time.Second
		}
		if again {
			continue
		}
		if !*rewriteDocs || ended != code {
			sh.t.Errorf("%s\nprints, and ends with %s, not %s:\n%s\nand the document says:\n%s", strings.Join(s.shown, "\n"), ended, code, strings.Join(got, "\n"), strings.Join(s.want, "\n"))
		}
		return got
	}
}

// background starts a server, and waits until it has printed what the document shows.
func (sh *shell) background(cmd string, want []string) []string {
	sh.t.Helper()
	sh.files++
	file := filepath.Join(sh.dir, fmt.Sprintf("out%d", sh.files))
	if !strings.Contains(cmd, ">") {
		cmd += " > " + file + " 2>&1"
	}
	sh.run(cmd + " &")
	pid, _ := sh.run("echo $!")
	sh.pids = append(sh.pids, pid...)
	if len(want) == 0 {
		return nil
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(file)
		got := sh.shown(strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"))
		if err == nil && sh.names.alike(want, got) {
			return want
		}
		if time.Now().After(end) {
			sh.t.Errorf("%s\nprints:\n%s\nand the document says:\n%s", cmd, strings.Join(got, "\n"), strings.Join(want, "\n"))
			return got
		}
	}
}

// jobEnded is what a shell says of a process that was killed.
var jobEnded = regexp.MustCompile(`^bash: line \d+: +\d+ Killed`)

// run gives the shell a command and returns what it prints and what it ends with.
func (sh *shell) run(cmd string) (lines []string, code string) {
	sh.t.Helper()
	const mark = "@end "
	hangs := time.AfterFunc(commandLimit, func() { _ = syscall.Kill(sh.cmd.Process.Pid, syscall.SIGKILL) })
	defer hangs.Stop()
	if _, err := fmt.Fprintf(sh.in, "%s\necho \"%s$?\"\n", cmd, mark); err != nil {
		sh.t.Fatalf("%s: %v", cmd, err)
	}
	for {
		l, err := sh.out.ReadString('\n')
		if err != nil {
			sh.t.Fatalf("%s: the shell ended: %v", cmd, err)
		}
		l = strings.TrimSuffix(l, "\n")
		if at := strings.Index(l, mark); at >= 0 {
			if at > 0 {
				lines = append(lines, l[:at])
			}
			return lines, l[at+len(mark):]
		}
		if !jobEnded.MatchString(l) {
			lines = append(lines, strings.TrimRight(l, " "))
		}
	}
}

var logTime = regexp.MustCompile(`^time=\S+ `)

// shown is what a document says where the shell printed lines: with the addresses of the document, and columns as they were.
func (sh *shell) shown(lines []string) []string {
	out := slices.Clone(lines)
	for i, l := range out {
		l = strings.ReplaceAll(logTime.ReplaceAllString(l, ""), sh.dir, "/home/ada")
		for _, p := range sh.back {
			l = strings.ReplaceAll(l, p[0]+"  ", p[1]+strings.Repeat(" ", 2+len(p[0])-len(p[1])))
			l = strings.ReplaceAll(l, p[0], p[1])
		}
		out[i] = l
	}
	return out
}
