package node

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// playgroundCertLife is how long the certificates of a playground are valid, playgroundCertSpare how much of it must be
// left at a start.
const (
	playgroundCertLife  = 365 * 24 * time.Hour
	playgroundCertSpare = 24 * time.Hour
)

// Certificates are files for a cluster that is its own authority. The authority's key is kept nowhere: nobody can add to
// it later.
type Certificates struct {
	Node, Client TLS
}

// MakeCertificates returns the certificates in a directory for nodes at the given hosts, and makes new ones if there are
// none or they would not do.
func MakeCertificates(dir string, hosts []string) (*Certificates, error) {
	file := func(name string) string { return filepath.Join(dir, name) }
	c := &Certificates{
		Node:   TLS{Cert: file("node.crt"), Key: file("node.key"), CA: file("ca.crt")},
		Client: TLS{Cert: file("client.crt"), Key: file("client.key"), CA: file("ca.crt")},
	}
	if certificateServes(c.Node.Cert, hosts) {
		return c, nil
	}
	if err := makeCertificates(dir, c, hosts); err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	return c, nil
}

func makeCertificates(dir string, c *Certificates, hosts []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca := authority{life: playgroundCertLife}
	if err := ca.make(c.Node.CA); err != nil {
		return err
	}
	if err := ca.sign(c.Client, "skerry client", nil); err != nil {
		return err
	}
	return ca.sign(c.Node, "skerry node", hosts) // last: it says that the others are there
}

// certificateServes reports whether a file holds a certificate that is valid for the hosts a while longer.
func certificateServes(file string, hosts []string) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Until(cert.NotAfter) < playgroundCertSpare {
		return false
	}
	for _, h := range hosts {
		if cert.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

// authority signs certificates while it is in memory.
type authority struct {
	life time.Duration // from now on; below zero, everything is expired
	cert *x509.Certificate
	key  crypto.Signer
}

// template is what all certificates have in common.
func (a *authority) template(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(a.life)
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: end.Add(-max(a.life, 0) - time.Hour), NotAfter: end, BasicConstraintsValid: true}, nil
}

// make begins an authority, whose certificate goes to a file.
func (a *authority) make(file string) error {
	t, err := a.template("skerry authority")
	if err != nil {
		return err
	}
	t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return writePEM(file, 0o644, "CERTIFICATE", der)
}

// sign writes a certificate and its key.
func (a *authority) sign(to TLS, name string, hosts []string) error {
	t, err := a.template(name)
	if err != nil {
		return err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(hosts) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(to.Key, 0o600, "PRIVATE KEY", secret); err != nil {
		return err
	}
	return writePEM(to.Cert, 0o644, "CERTIFICATE", der)
}

func writePEM(file string, mode os.FileMode, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
