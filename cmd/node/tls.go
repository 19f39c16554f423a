package node

import (
	"crypto/tls"
	"log/slog"

	"go.etcd.io/etcd/client/pkg/v3/transport"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/rpc"
)

// TLS names the files that secure the connections of a node, or of a client of one. The certificate and its key are read
// again at each handshake, so that they are renewed by replacing the files; the authority is read at the start.
type TLS struct {
	// Cert and Key are files in PEM. A node shows the certificate to callers and to the nodes that it dials, so it must be
	// for both server and client authentication.
	Cert, Key string
	// CA is the file of the authorities that others' certificates must be signed by. A node that has one lets nobody in who
	// shows no such certificate. Empty trusts the system's for servers, and asks callers for nothing.
	CA string
	// ServerName is what the certificates of dialled servers must be valid for; empty is the host of each address.
	ServerName string
}

func (t *TLS) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: t.Cert, KeyFile: t.Key, TrustedCAFile: t.CA, ServerName: t.ServerName}
}

// Client is the configuration to dial with. Cert and Key may be empty.
func (t *TLS) Client() (*tls.Config, error) {
	if (t.Cert == "") != (t.Key == "") {
		return nil, fault.Errorf(fault.CertFiles, "--tls-cert and --tls-key go together: a certificate is of no use without its key")
	}
	cfg, err := t.info().ClientConfig()
	if err != nil {
		return nil, fault.Errorf(fault.CertFiles, "read the certificates (--tls-cert, --tls-key, --tls-ca): %w; give files that can be read, and the key that belongs to the certificate", err)
	}
	return cfg, nil
}

// guard is who lets callers in.
func (t *TLS) guard(log *slog.Logger) (*rpc.Guard, error) {
	if t.Cert == "" || t.Key == "" {
		return nil, fault.Errorf(fault.CertFiles, "a node that speaks TLS needs a certificate and its key (--tls-cert, --tls-key)")
	}
	cfg, err := t.info().ServerConfig()
	if err != nil {
		return nil, fault.Errorf(fault.CertFiles, "read the certificates (--tls-cert, --tls-key, --tls-ca): %w; give files that can be read, and the key that belongs to the certificate", err)
	}
	return rpc.NewGuard(cfg, log), nil
}
