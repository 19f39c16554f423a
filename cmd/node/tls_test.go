package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skerrydb/skerry/client"
	adminv1 "github.com/skerrydb/skerry/proto/skerry/admin/v1"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
	"github.com/skerrydb/skerry/rpc"
)

// textBuffer takes a log.
type textBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *textBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *textBuffer) contains(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), text)
}

// caller is somebody who calls a server that speaks TLS.
type caller struct {
	name   string
	cfg    *tls.Config // nil: plain text
	reason rpc.Refusal // as the server counts it; empty: let in
	says   string      // what client.Open says
}

func clientConfig(t *testing.T, f TLS) *tls.Config {
	t.Helper()
	cfg, err := f.Client()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// callers makes the files of a cluster, and everybody who may call it.
func callers(t *testing.T) (*Certificates, *authority, []caller) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca := &authority{life: time.Hour}
	c := &Certificates{Node: TLS{Cert: file("n.crt"), Key: file("n.key"), CA: file("ca.crt")},
		Client: TLS{Cert: file("c.crt"), Key: file("c.key"), CA: file("ca.crt")}}
	late := TLS{Cert: file("late.crt"), Key: file("late.key"), CA: file("ca.crt")}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(ca.make(c.Node.CA))
	must(ca.sign(c.Node, "node", []string{"127.0.0.1"}))
	must(ca.sign(c.Client, "client", nil))
	ca.life = -time.Hour
	must(ca.sign(late, "late", nil))
	ca.life = time.Hour
	other, err := MakeCertificates(file("other"), []string{"127.0.0.1"})
	must(err)
	foreign := other.Client
	foreign.CA = c.Node.CA
	named := c.Client
	named.ServerName = "elsewhere.example"
	return c, ca, []caller{
		{"the right one", clientConfig(t, c.Client), "", ""},
		{"plain text", nil, rpc.RefusedPlainText, "the server speaks TLS, and we do not"},
		{"no certificate", clientConfig(t, TLS{CA: c.Node.CA}), rpc.RefusedNone, "the server asks for a client certificate"},
		{"a certificate of another authority", clientConfig(t, foreign), rpc.RefusedAuthority, "our certificate is signed by an unknown authority"},
		{"an expired certificate", clientConfig(t, late), rpc.RefusedExpired, "our certificate is not valid now"},
		{"another authority", clientConfig(t, TLS{Cert: c.Client.Cert, Key: c.Client.Key, CA: other.Node.CA}), rpc.RefusedByCaller, "signed by an unknown authority"},
		{"another name", clientConfig(t, named), rpc.RefusedByCaller, "is not valid for elsewhere.example, it is for 127.0.0.1"},
	}
}

// startSecure starts a node with both parts.
func startSecure(t *testing.T, c *Certificates) (*Node, *textBuffer) {
	t.Helper()
	log := new(textBuffer)
	cfg := placementConfig("")
	cfg.Store, cfg.TLS = storeConfig("", "").Store, &c.Node
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	return startReady(t, cfg), log
}

// open begins a call of any method, on a connection of its own.
func (c *caller) open(ctx context.Context, addr, method string) error {
	creds := insecure.NewCredentials()
	if c.cfg != nil {
		creds = credentials.NewTLS(c.cfg)
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err = cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	return err // what becomes of the call is the method's
}

// counted waits until the server has counted one more refusal: it does so after its answer.
func counted(t *testing.T, g *rpc.Guard, r rpc.Refusal, before uint64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); g.Refused(r) <= before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is not counted", r)
		}
	}
}

// TestSecurityMatrix: every method of every service refuses everybody but the right caller, counts and logs why.
func TestSecurityMatrix(t *testing.T) {
	certs, _, all := callers(t)
	n, log := startSecure(t, certs)
	methods := 0
	for _, d := range []grpc.ServiceDesc{kvv1.KV_ServiceDesc, raftv1.Raft_ServiceDesc, placementv1.Placement_ServiceDesc, adminv1.Admin_ServiceDesc, healthv1.Health_ServiceDesc} {
		var names []string
		for _, m := range d.Methods {
			names = append(names, m.MethodName)
		}
		for _, m := range d.Streams {
			names = append(names, m.StreamName)
		}
		for _, name := range names {
			methods++
			method := "/" + d.ServiceName + "/" + name
			for _, c := range all {
				before := n.Guard().Refused(c.reason0())
				err := c.open(testContext(t), n.Addr(), method)
				if (err == nil) != (c.reason == "") {
					t.Fatalf("%s by %s: %v", method, c.name, err)
				}
				if c.reason != "" {
					counted(t, n.Guard(), c.reason, before)
				}
			}
		}
	}
	t.Logf("%d methods, %d callers", methods, len(all))
	for _, c := range all[1:] {
		if !log.contains("reason=" + string(c.reason)) {
			t.Errorf("%s is not in the log", c.reason)
		}
	}
}

// reason0 is a reason that exists, also for who is let in.
func (c *caller) reason0() rpc.Refusal {
	if c.reason == "" {
		return rpc.RefusedOther
	}
	return c.reason
}

// TestGuardedHTTP: an HTTP listener behind a guard refuses the same callers.
func TestGuardedHTTP(t *testing.T) {
	certs, _, all := callers(t)
	g, err := certs.Node.guard(testLogger())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") })}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(g.Listener(l)) }()
	defer func() { _ = srv.Close(); <-done }()
	for _, c := range all {
		scheme := "https://"
		if c.cfg == nil {
			scheme = "http://"
		}
		before := g.Refused(c.reason0())
		tr := &http.Transport{TLSClientConfig: c.cfg}
		res, err := (&http.Client{Transport: tr}).Get(scheme + l.Addr().String())
		text := ""
		if err == nil {
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			text = string(b)
		}
		tr.CloseIdleConnections()
		switch {
		case c.reason == "" && text != "in":
			t.Errorf("%s: %q, %v", c.name, text, err)
		case c.reason != "" && text == "in":
			t.Errorf("%s was let in", c.name)
		case c.cfg == nil && !strings.Contains(text, "this server speaks TLS"):
			t.Errorf("%s: %q, %v", c.name, text, err)
		}
		if c.reason != "" {
			counted(t, g, c.reason, before)
		}
	}
}

// TestOpenSaysWhy: a client learns at once what is wrong and what to do.
func TestOpenSaysWhy(t *testing.T) {
	certs, _, all := callers(t)
	n, _ := startSecure(t, certs)
	plain := startReady(t, placementConfig(""))
	check := func(name, addr string, cfg *tls.Config, says string) {
		t.Helper()
		began := time.Now()
		db, err := client.Open(testContext(t), addr, client.WithTLS(cfg))
		if says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			_ = db.Close()
			return
		}
		if err == nil {
			_ = db.Close()
			t.Errorf("%s was let in", name)
		} else if took := time.Since(began); took > 5*time.Second || !strings.Contains(err.Error(), says) {
			t.Errorf("%s after %s: %v", name, took, err)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	for _, c := range all {
		check(c.name, n.Addr(), c.cfg, c.says)
	}
	check("TLS to plain text", plain.Addr(), all[0].cfg, "the server does not speak TLS")
}

// TestCertificatesReload: a new certificate is shown to new connections, and those that live go on.
func TestCertificatesReload(t *testing.T) {
	certs, ca, all := callers(t)
	n, _ := startSecure(t, certs)
	db, err := client.Open(testContext(t), n.Addr(), client.WithTLS(all[0].cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	shown := func() string {
		cfg := all[0].cfg.Clone()
		cfg.NextProtos = []string{"h2"}
		c, err := tls.Dial("tcp", n.Addr(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if err := db.Put(testContext(t), []byte("a"), []byte("1")); err != nil || shown() != "node" {
		t.Fatal(err)
	}
	if err := ca.sign(certs.Node, "renewed", []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "renewed" {
		t.Fatalf("the server shows %q", got)
	}
	if v, err := db.Get(testContext(t), []byte("a")); err != nil || string(v) != "1" {
		t.Fatalf("%q, %v", v, err)
	}
	// A file that is half written ends no connection either, and is mended by the next.
	good, err := os.ReadFile(certs.Node.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certs.Node.Cert, good[:len(good)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := all[0].open(testContext(t), n.Addr(), kvv1.KV_Stream_FullMethodName); err == nil {
		t.Fatal("a server without a certificate let somebody in")
	}
	if _, err := db.Get(testContext(t), []byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certs.Node.Cert, good, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "renewed" {
		t.Fatalf("the server shows %q", got)
	}
}
