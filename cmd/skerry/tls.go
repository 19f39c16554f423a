package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/cli/config"
)

// tlsFiles are those that settings name, checked as far as settings go. ok is false for plain text.
func tlsFiles(v *config.Values) (info transport.TLSInfo, ok bool, err error) {
	info = transport.TLSInfo{CertFile: v.Text(keyTLSCert), KeyFile: v.Text(keyTLSKey), TrustedCAFile: v.Text(keyTLSCA)}
	if (info.CertFile == "") != (info.KeyFile == "") {
		return info, false, fmt.Errorf("--%s and --%s go together: a certificate is of no use without its key", keyTLSCert, keyTLSKey)
	}
	for key, file := range map[string]string{keyTLSCert: info.CertFile, keyTLSKey: info.KeyFile, keyTLSCA: info.TrustedCAFile} {
		if _, err := os.Stat(file); file != "" && err != nil {
			return info, false, fmt.Errorf("--%s: %w", key, err)
		}
	}
	return info, info.CertFile != "" || info.TrustedCAFile != "", nil
}

// nodeTLS is how a node is recognised and whom it trusts; nil for plain text. With authorities named, everybody who dials it
// must show a certificate of one of them, as it does itself to those whom it dials.
func nodeTLS(v *config.Values) (*node.TLS, error) {
	info, ok, err := tlsFiles(v)
	if err != nil || !ok {
		return nil, err
	}
	if info.CertFile == "" {
		return nil, fmt.Errorf("--%s alone does not secure a node: it needs a certificate of its own (--%s, --%s)", keyTLSCA, keyTLSCert, keyTLSKey)
	}
	return tlsOf(info)
}

func tlsOf(info transport.TLSInfo) (*node.TLS, error) {
	info.ClientCertAuth = info.TrustedCAFile != ""
	server, err := info.ServerConfig()
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", info.CertFile, err)
	}
	client, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", info.CertFile, err)
	}
	return &node.TLS{Server: server, Client: client}, nil
}

// clientTLS is how a command connects; nil for plain text.
func clientTLS(v *config.Values) (*tls.Config, error) {
	info, ok, err := tlsFiles(v)
	if err != nil || !ok {
		return nil, err
	}
	c, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("certificate %s, authorities %s: %w", info.CertFile, info.TrustedCAFile, err)
	}
	return c, nil
}

// playgroundYears is how long a certificate that a playground makes is good.
const playgroundYears = 1

// playgroundHosts are what the certificate is for; ports do not matter.
var playgroundHosts = []string{"localhost:0", "127.0.0.1:0", "[::1]:0"}

// playgroundTLS makes a certificate for this machine below a directory, or takes the one that is there. It is its own
// authority: whoever has its files is let in.
func playgroundTLS(dir string) (info transport.TLSInfo, t *node.TLS, err error) {
	if dir == "" {
		return info, nil, errors.New("--tls needs --data: the certificate is made there")
	}
	info, err = transport.SelfCert(zap.NewNop(), filepath.Join(dir, "tls"), playgroundHosts, playgroundYears, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return info, nil, fmt.Errorf("make a certificate: %w", err)
	}
	info.TrustedCAFile = info.CertFile
	t, err = tlsOf(info)
	return info, t, err
}

// secured is a listener that speaks TLS, if there is any.
func secured(l net.Listener, t *node.TLS) net.Listener {
	if t == nil {
		return l
	}
	c := t.Server.Clone()
	c.NextProtos = []string{"http/1.1"}
	return tls.NewListener(l, c)
}
