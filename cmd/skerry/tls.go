package main

import (
	"crypto/tls"
	"net"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/cli/config"
)

// tlsFiles are what the settings name.
func tlsFiles(v *config.Values) node.TLS {
	return node.TLS{Cert: v.Text(keyTLSCert), Key: v.Text(keyTLSKey), CA: v.Text(keyTLSCA), ServerName: v.Text(keyTLSServerName)}
}

// clientTLS is how a command talks to nodes: nil, in plain text, unless a setting speaks of TLS.
func clientTLS(v *config.Values) (*tls.Config, error) {
	t := tlsFiles(v)
	if t == (node.TLS{}) && !v.Bool(keyTLS) {
		return nil, nil
	}
	return t.Client()
}

// nodeTLS is how a node talks to everybody.
func nodeTLS(v *config.Values) (*node.TLS, error) {
	t := tlsFiles(v)
	switch {
	case t == (node.TLS{}):
		return nil, nil
	case t.Cert == "" || t.Key == "":
		return nil, settingsf("a node that speaks TLS needs a certificate and its key: give --tls-cert and --tls-key")
	}
	return &t, nil
}

// certificateHosts are the names that a playground at an address is dialled by.
func certificateHosts(addr string) ([]string, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, settingsf("address %q: %w; write it like host:4400", addr, err)
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if host != "" && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		hosts = append(hosts, host)
	}
	return hosts, nil
}
