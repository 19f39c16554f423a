package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/tests/ports"
)

// running is a command that goes on until stop.
type running struct {
	t    *testing.T
	mu   sync.Mutex
	text strings.Builder
	stop context.CancelFunc
	code chan int
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// start runs a command in the background; both outputs go to one text.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, stop: cancel, code: make(chan int, 1)}
	a := &app{name: "skerry", in: strings.NewReader(""), out: r, err: r, registry: settings()}
	go func() { r.code <- a.run(ctx, args) }()
	t.Cleanup(cancel)
	return r
}

// wait returns the first match of a pattern in the output.
func (r *running) wait(pattern string) string {
	r.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		m := re.FindStringSubmatch(r.text.String())
		r.mu.Unlock()
		if m != nil {
			return m[len(m)-1]
		}
	}
	r.t.Fatalf("%q did not appear in %s", pattern, r.text.String())
	return ""
}

// end stops the command as a signal would and returns its exit code.
func (r *running) end() int {
	r.t.Helper()
	r.stop()
	select {
	case code := <-r.code:
		return code
	case <-time.After(30 * time.Second):
		r.t.Fatalf("it does not stop: %s", r.text.String())
		return -1
	}
}

// steps runs command lines against one cluster.
type steps struct {
	t    *testing.T
	addr string
}

// run expects an exit code and returns standard output.
func (s *steps) run(code int, in string, args ...string) string {
	s.t.Helper()
	out, errs, got := command(s.t, in, append(args, "--addr", s.addr)...)
	if got != code {
		s.t.Fatalf("skerry %q: exit %d, want %d\n%s%s", args, got, code, out, errs)
	}
	return out
}

func (s *steps) expect(want string, args ...string) {
	s.t.Helper()
	if out := s.run(0, "", args...); out != want {
		s.t.Fatalf("skerry %q printed %q, want %q", args, out, want)
	}
}

// healthy waits for the verdict, which may come a heartbeat late.
func (s *steps) healthy(want string) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		out, errs, code := command(s.t, "", "ctl", "status", "--addr", s.addr)
		if code == 0 && strings.HasPrefix(out, "healthy\n") && strings.Contains(out, want) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("status: exit %d\n%s%s", code, out, errs)
		}
	}
}

// TestPlayground is the tour of a new user, and everything that the shell can do with data.
func TestPlayground(t *testing.T) {
	cleanEnv(t)
	began := time.Now()
	p := start(t, "playground", "--addr", "127.0.0.1:0", "--split-keys", `g,go/s,\x80`)
	s := &steps{t: t, addr: p.wait(`address +(\S+)\n`)}
	t.Logf("ready after %s", time.Since(began))
	p.wait("Ctrl-C ends it")

	s.run(0, "", "put", "user/42", "ada")
	s.expect("ada\n", "get", "user/42")
	s.run(exitNotFound, "", "get", "user/43")
	s.run(0, "a\x00b\n", "put", `\x80bin`, "-")
	s.expect(`a\x00b\x0a`+"\n", "get", `\x80bin`)
	s.expect("a\x00b\n", "get", "--raw", `\x80bin`)
	s.run(0, "", "put", "--hex", "00ff", "", "--ttl", "1h")
	if left, err := time.ParseDuration(strings.TrimSpace(s.run(0, "", "get", `\x00\xff`, "--ttl"))); err != nil || left > time.Hour || left < 59*time.Minute {
		t.Errorf("time to live: %s, %v", left, err)
	}
	s.run(exitError, "", "put", "user/42", "bob", "--if-absent")
	s.run(exitError, "", "put", "user/42", "bob", "--if-value", "eve")
	s.run(0, "", "put", "user/42", "bob", "--if-value", "ada")
	s.expect("user/42\tbob\n", "scan", "--prefix", "user/")
	s.expect(`\x80bin`+"\nuser/42\n", "scan", "--reverse", "--keys-only", "--limit", "2")
	s.run(0, "", "del", "user/42", "never/was")
	s.run(exitNotFound, "", "get", "user/42")

	testTransfer(t, s)
	testCtl(t, s)
	out := s.run(0, "", "bench", "ycsb-f", "--duration", "300ms", "--warmup", "0s", "--keys", "200", "--clients", "4", "-o", "json", "--cleanup")
	var res struct {
		Operations int `json:"operations"`
		Latencies  []struct {
			P99 int `json:"p99_us"`
		} `json:"latencies"`
	}
	if err := json.Unmarshal([]byte(out), &res); err != nil || res.Operations == 0 || len(res.Latencies) != 3 || res.Latencies[0].P99 == 0 {
		t.Errorf("bench: %v in %s", err, out)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit %d: %s", code, p.text.String())
	}
}

// testTransfer imports real files, exports them in every form, and compares.
func testTransfer(t *testing.T, s *steps) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src", "strings")
	dir := t.TempDir()
	tree, lines, table, again := filepath.Join(dir, "tree"), filepath.Join(dir, "all.jsonl"), filepath.Join(dir, "all.csv"), filepath.Join(dir, "again")
	s.run(0, "", "import", src, "--prefix", "go/strings/", "--checkpoint", filepath.Join(dir, "cp"))
	s.run(0, "", "import", src, "--prefix", "go/zz/")
	s.run(0, "", "export", tree, "--prefix", "go/strings/")
	compareTrees(t, src, tree)
	s.run(exitError, "", "export", tree, "--prefix", "go/strings/")
	s.run(0, "", "export", lines, "--prefix", "go/strings/")
	s.run(0, "", "export", table, "--prefix", "go/strings/")
	scanned := s.run(0, "", "scan", "--prefix", "go/strings/", "-o", "json")
	if b, err := os.ReadFile(lines); err != nil || string(b) != scanned {
		t.Errorf("export as JSON lines and scan -o json differ (%v)", err)
	}
	for _, file := range []string{lines, table, "-"} {
		s.run(0, "", "del", "--prefix", "go/strings/", "--yes")
		s.expect("", "scan", "--prefix", "go/strings/")
		if file == "-" {
			s.run(0, scanned, "import", "-", "--format", "jsonl")
		} else {
			s.run(0, "", "import", file)
		}
		s.run(0, "", "export", again, "--prefix", "go/strings/", "--overwrite")
		compareTrees(t, src, again)
	}
	s.run(0, "", "put", "bad/../../etc/passwd", "x")
	s.run(exitError, "", "export", filepath.Join(dir, "bad"), "--prefix", "bad/")
}

func compareTrees(t *testing.T, want, got string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(want, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		rel, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(got, rel))
		if err == nil && string(a) != string(b) {
			err = fmt.Errorf("%s differs", rel)
		}
		return err
	})
	if err != nil || n < 10 {
		t.Fatalf("%d files: %v", n, err)
	}
}

// testCtl looks at the cluster and moves a leader.
func testCtl(t *testing.T, s *steps) {
	s.healthy("3 of 3 up")
	var stores struct {
		Stores []struct {
			ID    uint64 `json:"id"`
			State string `json:"state"`
		} `json:"stores"`
	}
	if out := s.run(0, "", "ctl", "store", "list", "-o", "json"); json.Unmarshal([]byte(out), &stores) != nil || len(stores.Stores) != 3 {
		t.Fatalf("stores: %s", out)
	}
	if out := s.run(0, "", "ctl", "shard", "list"); strings.Count(out, "\n") != 5 || !strings.Contains(out, `\x80`) {
		t.Fatalf("shards: %s", out)
	}
	for _, st := range stores.Stores {
		var got struct {
			Shard struct {
				ID       uint64 `json:"id"`
				Replicas []struct {
					Store uint64 `json:"store"`
					State struct {
						Leading bool `json:"leading"`
					} `json:"state"`
				} `json:"replicas"`
			} `json:"shard"`
		}
		out := s.run(0, "", "ctl", "shard", "get", "user/42", "-o", "json")
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		s.run(0, "", "ctl", "shard", "transfer-leader", fmt.Sprintf("s%d", got.Shard.ID), fmt.Sprintf("st%d", st.ID))
		out = s.run(0, "", "ctl", "shard", "get", "--id", fmt.Sprint(got.Shard.ID), "-o", "json")
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		for _, r := range got.Shard.Replicas {
			if r.State.Leading != (r.Store == st.ID) {
				t.Errorf("after the transfer to st%d: %s", st.ID, out)
			}
		}
	}
	s.run(exitError, "", "ctl", "shard", "transfer-leader", "s1003", "st999999")
	s.run(exitError, "", "ctl", "store", "remove", fmt.Sprint(stores.Stores[0].ID), "--yes") // it is up
}

// TestServer: a node that is told nothing but where to be is a cluster of its own, which stops in order and comes back
// with its data.
func TestServer(t *testing.T) {
	cleanEnv(t)
	s := &steps{t: t, addr: ports.Free(t, 1)[0]}
	dir := t.TempDir()
	file := filepath.Join(dir, "node.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "listen = %q\ndata = %q\nlog-format = \"json\"\nadmin = \"127.0.0.1:0\"\n", s.addr, filepath.Join(dir, "data")), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		n := start(t, "server", "--config", file)
		admin := n.wait(`"administration over HTTP","addr":"([^"]+)"`)
		n.wait(`"msg":"ready"`)
		if round == 0 {
			s.run(0, "", "put", "k", "v")
		}
		s.expect("v\n", "get", "k")
		for path, want := range map[string]string{"/livez": "ok", "/readyz": "ok", "/metrics": "go_goroutines", "/debug/pprof/": "goroutine"} {
			if body := fetch(t, "http://"+admin+path); !strings.Contains(body, want) {
				t.Errorf("%s: %s", path, body)
			}
		}
		s.healthy("1 replica each")
		if code := n.end(); code != 0 {
			t.Fatalf("exit %d: %s", code, n.text.String())
		}
	}
	out, _, code := command(t, "", "ctl", "status", "--addr", s.addr)
	if code != 2 || !strings.HasPrefix(out, "unavailable\n") {
		t.Errorf("status of nothing: exit %d, %s", code, out)
	}
	busy := start(t, "server", "--config", file)
	busy.wait(`"msg":"ready"`)
	_, errs, code := command(t, "", "server", "--listen", s.addr, "--data", filepath.Join(dir, "other"))
	if code != exitError || !strings.Contains(errs, "is another node running there?") {
		t.Errorf("second node on one address: exit %d, %s", code, errs)
	}
	busy.end()
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, r.Status, err)
	}
	return string(b)
}
