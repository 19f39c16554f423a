package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/tests/ports"
)

// TestTLSProcesses: three processes that speak TLS with each other and with every command, of which one is killed.
func TestTLSProcesses(t *testing.T) {
	cleanEnv(t)
	dir := t.TempDir()
	bin := filepath.Join(dir, "skerry")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	certs, err := node.MakeCertificates(filepath.Join(dir, "tls"), []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	addrs := ports.Free(t, 3)
	members := fmt.Sprintf("1=%s,2=%s,3=%s", addrs[0], addrs[1], addrs[2])
	var procs []*exec.Cmd
	for i, addr := range addrs {
		log, err := os.Create(filepath.Join(dir, fmt.Sprintf("log%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, "server", "--bootstrap", "--member-id", fmt.Sprint(i+1), "--members", members, "--listen", addr,
			"--data", filepath.Join(dir, fmt.Sprintf("node%d", i)), "--tls-cert", certs.Node.Cert, "--tls-key", certs.Node.Key, "--tls-ca", certs.Node.CA)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		procs = append(procs, cmd)
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = log.Close()
			if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
				t.Logf("%s:\n%s", addr, b)
			}
		})
	}
	_, errs, code := command(t, "", "get", "a", "--addr", waitListens(t, addrs[0]))
	if code != exitError || !strings.Contains(errs, "the server speaks TLS, and we do not") {
		t.Fatalf("in plain text: exit %d, %s", code, errs)
	}
	t.Setenv("SKERRY_TLS_CA", certs.Client.CA)
	t.Setenv("SKERRY_TLS_CERT", certs.Client.Cert)
	t.Setenv("SKERRY_TLS_KEY", certs.Client.Key)
	s := &steps{t: t, addr: strings.Join(addrs, ",")}
	s.run(0, "", "put", "a", "1", "--timeout", "60s")
	s.healthy("3")
	if err := procs[2].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.run(0, "", "put", "b", "2", "--timeout", "60s")
	s.expect("1\n", "get", "a")
	s.expect("2\n", "get", "b")
	if out, errs, _ := command(t, "", "ctl", "status", "--addr", s.addr); !strings.Contains(out, "2 of 3 members answer") {
		t.Errorf("status: %s%s", out, errs)
	} else {
		t.Log(out)
	}
}

// waitListens waits until somebody listens at an address.
func waitListens(t *testing.T, addr string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// TestPlaygroundTLS: a playground with certificates of its own says how to use them, and keeps them.
func TestPlaygroundTLS(t *testing.T) {
	cleanEnv(t)
	dir := t.TempDir()
	for range 2 {
		p := start(t, "playground", "--tls", "--stores", "1", "--data", dir, "--addr", "127.0.0.1:0")
		s := &steps{t: t, addr: p.wait(`address +(\S+)\n`)}
		ca := p.wait(`SKERRY_TLS_CA=(\S+) `)
		cert, key := p.wait(`SKERRY_TLS_CERT=(\S+) `), p.wait(`SKERRY_TLS_KEY=(\S+)\n`)
		s.run(0, "", "put", "a", "1", "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key)
		_, errs, code := command(t, "", "get", "a", "--addr", s.addr, "--tls-ca", ca)
		if code != exitError || !strings.Contains(errs, "name one with --tls-cert and --tls-key") {
			t.Errorf("without a certificate: exit %d, %s", code, errs)
		}
		if code := p.end(); code != 0 {
			t.Fatalf("exit %d", code)
		}
	}
}
