package badinput

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
)

// secure is a node that lets in only who shows a certificate, and one beside it that speaks plain text. The files are in the
// directory tls of each row: ca.crt, me.*, late.* (expired), other.* (of another authority), other-ca.crt.
type secure struct {
	files map[string]string
	addr  string
	plain string
	db    *client.DB
}

func inSecure(t *testing.T) world {
	w := &secure{files: make(map[string]string)}
	own, foreign := newAuthority(t), newAuthority(t)
	w.files["ca.crt"], w.files["other-ca.crt"] = own.text, foreign.text
	w.sign(t, own, "node", time.Hour, true)
	w.sign(t, own, "me", time.Hour, false)
	w.sign(t, own, "late", -time.Hour, false)
	w.sign(t, foreign, "other", time.Hour, false)
	r := &run{T: t, dir: t.TempDir()}
	w.before(r)
	file := func(name string) string { return filepath.Join(r.dir, "tls", name) }
	cfg := lone("")
	cfg.Memory, cfg.TLS = true, &node.TLS{Cert: file("node.crt"), Key: file("node.key"), CA: file("ca.crt")}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := node.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	mine, err := (&node.TLS{Cert: file("me.crt"), Key: file("me.key"), CA: file("ca.crt")}).Client()
	if err != nil {
		t.Fatal(err)
	}
	if w.db, err = client.Open(ctx, n.Addr(), client.WithTLS(mine)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	plain := lone("")
	plain.Memory = true
	p, db := started(t, plain)
	_ = db.Close()
	w.addr, w.plain = n.Addr(), p.Addr()
	return w
}

func (w *secure) environ() []string { return []string{"SKERRY_ADDR=" + w.addr} }

func (w *secure) before(r *run) {
	for name, text := range w.files {
		r.write(filepath.Join("tls", name), text)
	}
}

// intact: who was let in before is served, and nothing was written by who was not.
func (w *secure) intact(r *run) {
	r.Helper()
	if err := w.db.Put(r.ctx(), []byte("after"), []byte("x")); err != nil {
		r.Error(err)
	}
	if _, err := w.db.Get(r.ctx(), []byte("stranger")); err == nil {
		r.Error("a stranger wrote")
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	text string
}

func newAuthority(t *testing.T) *authority {
	a := &authority{key: newKey(t)}
	tmpl := template("skerry authority", time.Hour)
	tmpl.IsCA, tmpl.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.text = pemText("CERTIFICATE", der)
	return a
}

// sign adds the files of a certificate that is valid for so long.
func (w *secure) sign(t *testing.T, a *authority, name string, life time.Duration, server bool) {
	key, tmpl := newKey(t), template(name, life)
	tmpl.KeyUsage, tmpl.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if server {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w.files[name+".crt"], w.files[name+".key"] = pemText("CERTIFICATE", der), pemText("EC PRIVATE KEY", private)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(name string, life time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	end := time.Now().Add(life)
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: end.Add(-3 * time.Hour), NotAfter: end,
		BasicConstraintsValid: true}
}

func pemText(kind string, der []byte) string {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	return b.String()
}

// replaceOnce is strings.Replace for the first of them.
func replaceOnce(s, old, to string) string { return strings.Replace(s, old, to, 1) }
