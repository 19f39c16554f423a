package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/tests/ports"
)

var rewriteDocs = flag.Bool("rewrite-docs", false, "put what the commands of the documents print into the documents")

// TestDocuments runs the commands of the documents, in their order, in a shell, and compares what they print with what the
// documents say they print. Numbers, times, sizes and ids may differ, and a line of three dots stands for any lines.
//
// A section of a document is run if it stands here. In its blocks, a line with a $ is a command, and a block without any is
// all commands. "# exit code 3" behind a command is what it ends with; else it is 0.
func TestDocuments(t *testing.T) {
	cleanEnv(t)
	bin := filepath.Join(t.TempDir(), "skerry")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range []struct {
		file     string
		sections []string
	}{
		{"README.md", []string{"Five minutes"}},
		{"README.md", []string{"Three processes"}},
		{"docs/operations.md", []string{"Look into a stopped node"}},
	} {
		t.Run(c.file+" "+c.sections[0], func(t *testing.T) {
			name := filepath.Join("../..", c.file)
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			sh := newShell(t, bin)
			doc := string(text)
			for _, s := range c.sections {
				doc = sh.section(doc, s)
			}
			if *rewriteDocs && doc != string(text) {
				if err := os.WriteFile(name, []byte(doc), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// shell is a bash that runs one command after the other.
type shell struct {
	t     *testing.T
	dir   string
	ports []string // instead of 127.0.0.1:4400 and so on
	in    io.Writer
	out   *bufio.Reader
	files int // of what runs in the background
}

func newShell(t *testing.T, bin string) *shell {
	t.Helper()
	sh := &shell{t: t, dir: t.TempDir(), ports: ports.Free(t, 4)}
	if err := os.Mkdir(filepath.Join(sh.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(bin, filepath.Join(sh.dir, "bin/skerry")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "--noprofile", "--norc")
	cmd.Dir = sh.dir
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	sh.in, sh.out = in, bufio.NewReader(r)
	t.Cleanup(func() {
		sh.run("kill -9 $(jobs -p)")
		sh.run("wait")
		_ = in.Close()
		_ = cmd.Wait()
		_ = r.Close()
	})
	sh.run("set -m")
	sh.run("PATH=$PWD/bin:$PATH")
	sh.run("export SKERRY_ADDR=" + sh.ports[0])
	return sh
}

// section runs the blocks of a section and returns the document with what they print.
func (sh *shell) section(doc, title string) string {
	sh.t.Helper()
	before, rest, ok := strings.Cut(doc, "\n## "+title+"\n")
	if !ok {
		sh.t.Fatalf("there is no section %q", title)
	}
	body, after := rest, ""
	if i := strings.Index(rest, "\n## "); i >= 0 {
		body, after = rest[:i], rest[i:]
	}
	parts := strings.Split(body, "```")
	for i := 1; i < len(parts); i += 2 {
		lang, text, _ := strings.Cut(parts[i], "\n")
		parts[i] = lang + "\n" + sh.block(text)
	}
	return before + "\n## " + title + "\n" + strings.Join(parts, "```") + after
}

// block runs the commands of a block.
func (sh *shell) block(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !strings.Contains("\n"+text, "\n$ ") {
		for _, l := range lines {
			sh.command(l, nil)
		}
		return text
	}
	var out []string
	for i := 0; i < len(lines); {
		end := i + 1
		for end < len(lines) && !strings.HasPrefix(lines[end], "$ ") {
			end++
		}
		out = append(out, lines[i])
		out = append(out, sh.command(strings.TrimPrefix(lines[i], "$ "), lines[i+1:end])...)
		i = end
	}
	return strings.Join(out, "\n") + "\n"
}

var (
	exitCode = regexp.MustCompile(`\s+# exit code (\d+)$`)
	docPort  = regexp.MustCompile(`127\.0\.0\.1:440([0-3])\b`)
	onlyLook = regexp.MustCompile(`^(bin/)?skerry (put|ctl (status|\w+ (list|get))|get|scan)\b`)
)

// patience is how long a command that only looks is run again until it shows what the document shows.
const patience = 30 * time.Second

// command runs one and returns the lines that belong into the document.
func (sh *shell) command(cmd string, want []string) []string {
	sh.t.Helper()
	code := "0"
	if m := exitCode.FindStringSubmatch(cmd); m != nil {
		cmd, code = strings.TrimSuffix(cmd, m[0]), m[1]
	}
	shown := cmd
	cmd = docPort.ReplaceAllStringFunc(cmd, func(a string) string { return sh.ports[a[len(a)-1]-'0'] })
	cmd = strings.ReplaceAll(cmd, "--duration 10s", "--duration 1s")
	if strings.HasPrefix(cmd, "bin/skerry playground") {
		cmd += " --addr " + sh.ports[0]
	}
	if strings.HasSuffix(cmd, " &") || strings.HasPrefix(cmd, "bin/skerry playground") {
		return sh.background(strings.TrimSuffix(cmd, " &"), want)
	}
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		got, ended := sh.run(cmd)
		if alike(want, got) && ended == code {
			return want
		}
		if onlyLook.MatchString(cmd) && time.Now().Before(end) {
			continue
		}
		if !*rewriteDocs || ended != code {
			sh.t.Errorf("%s\nprints, and ends with %s, not %s:\n%s\nand the document says:\n%s", shown, ended, code, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return got
	}
}

// background starts a server, and waits until it has printed what the document shows.
func (sh *shell) background(cmd string, want []string) []string {
	sh.t.Helper()
	sh.files++
	file := filepath.Join(sh.dir, fmt.Sprintf("out%d", sh.files))
	sh.run(cmd + " > " + file + " 2>&1 &")
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		b, err := os.ReadFile(file)
		got := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		if err == nil && (len(want) == 0 || alike(want, got)) {
			return want
		}
		if time.Now().After(end) {
			sh.t.Errorf("%s\nprints:\n%s\nand the document says:\n%s", cmd, b, strings.Join(want, "\n"))
			return got
		}
	}
}

// run gives the shell a command and returns what it prints and what it ends with.
func (sh *shell) run(cmd string) (lines []string, code string) {
	sh.t.Helper()
	const mark = "@end "
	if _, err := fmt.Fprintf(sh.in, "%s\necho \"%s$?\"\n", cmd, mark); err != nil {
		sh.t.Fatal(err)
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
		if !strings.Contains(l, "Killed") {
			lines = append(lines, strings.TrimRight(l, " "))
		}
	}
}

// alike compares lines but for what differs between two runs.
func alike(want, got []string) bool {
	for i, l := range want {
		if strings.TrimSpace(l) == "..." {
			if i == len(want)-1 {
				return true
			}
			for skip := range len(got) + 1 {
				if alike(want[i+1:], got[skip:]) {
					return true
				}
			}
			return false
		}
		if len(got) == 0 || same(l) != same(got[0]) {
			return false
		}
		got = got[1:]
	}
	return len(got) == 0
}

var differs = []struct {
	what *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\b[0-9a-f]{12,16}\b`), "CLUSTER"},
	{regexp.MustCompile(`\b[0-9a-f]{7,8}\b`), "CHECKSUM"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d+\b`), "ADDR"},
	{regexp.MustCompile(`\d[\d,]*(\.\d+)?`), "N"},
	{regexp.MustCompile(`\bN ?([KMGT]i)?B\b`), "N"},
	{regexp.MustCompile(`\b(N(ns|µs|ms|s|m|h))+\b`), "N"},
	{regexp.MustCompile(`\b(leads|follows)(, asleep)?\b`), "IS"},
	{regexp.MustCompile(`(^|\s)-(\s|$)`), " N "}, // what is not measured yet
	{regexp.MustCompile(`\s+`), " "},
}

func same(l string) string {
	for _, d := range differs {
		l = d.what.ReplaceAllString(l, d.to)
	}
	return strings.TrimSpace(l)
}
