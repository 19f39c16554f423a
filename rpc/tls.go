package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// Why a server refused a caller, or a caller a server, before anything was said. The words are labels of metrics.
const (
	RefusedPlainText   = "plain text"            // the caller does not speak TLS
	RefusedNoCert      = "no certificate"        // the caller has none, and must
	RefusedUnknownCA   = "unknown authority"     // its certificate is of nobody that is trusted here
	RefusedExpired     = "expired"               // or not valid yet
	RefusedName        = "wrong name"            // the certificate is for another host
	RefusedByOtherSide = "refused by other side" // it does not like our certificate
	RefusedOther       = "other"
)

// ServerTLS secures a server. refused, if not nil, hears of every caller that was turned away, and why; it must not block.
func ServerTLS(c *tls.Config, refused func(remote net.Addr, reason string, err error)) credentials.TransportCredentials {
	return &serverTLS{TransportCredentials: credentials.NewTLS(c), refused: refused}
}

type serverTLS struct {
	credentials.TransportCredentials
	refused func(remote net.Addr, reason string, err error)
}

func (s *serverTLS) Clone() credentials.TransportCredentials {
	return &serverTLS{TransportCredentials: s.TransportCredentials.Clone(), refused: s.refused}
}

func (s *serverTLS) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	out, info, err := s.TransportCredentials.ServerHandshake(c)
	if err != nil && s.refused != nil {
		s.refused(c.RemoteAddr(), RefusalReason(err), err)
	}
	return out, info, err
}

// RefusalReason says what of a failed handshake.
func RefusalReason(err error) string {
	var header tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var alert tls.AlertError
	text := err.Error()
	switch {
	case errors.As(err, &header), strings.Contains(text, "does not look like a TLS handshake"):
		return RefusedPlainText
	case strings.Contains(text, "didn't provide a certificate"):
		return RefusedNoCert
	case errors.As(err, &authority):
		return RefusedUnknownCA
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return RefusedExpired
	case errors.As(err, &name):
		return RefusedName
	case errors.As(err, &alert), strings.Contains(text, "remote error: tls"):
		return RefusedByOtherSide
	}
	return RefusedOther
}

// ClientTLS secures connections to servers, whose certificates must be valid for the hosts that are dialled. c nil is plain
// text.
func ClientTLS(c *tls.Config) credentials.TransportCredentials {
	if c == nil {
		return nil
	}
	return &clientTLS{TransportCredentials: credentials.NewTLS(c)}
}

type clientTLS struct {
	credentials.TransportCredentials
}

func (s *clientTLS) Clone() credentials.TransportCredentials {
	return &clientTLS{TransportCredentials: s.TransportCredentials.Clone()}
}

func (s *clientTLS) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	out, info, err := s.TransportCredentials.ClientHandshake(ctx, authority, c)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%s%s (%w)", handshakeMark, advice(RefusalReason(err), authority), err)
	}
	return out, info, err
}

// handshakeMark begins what is said of a failed handshake. gRPC passes on its text alone.
const handshakeMark = "skerry handshake: "

func advice(reason, authority string) string {
	switch reason {
	case RefusedPlainText:
		return authority + " does not speak TLS; connect in plain text, or give the server a certificate (--tls-cert, --tls-key)"
	case RefusedUnknownCA:
		return "the certificate of " + authority + " is of an authority that is not trusted here; name its authority's certificate (--tls-ca)"
	case RefusedExpired:
		return "the certificate of " + authority + " has expired, or is not valid yet; renew it, and check both clocks"
	case RefusedName:
		return "the certificate is not valid for " + authority + "; dial the name that it is for, or make one for this name"
	case RefusedByOtherSide:
		return authority + " refuses our certificate, or the lack of one; name one of an authority that it trusts (--tls-cert, --tls-key)"
	}
	return "no secure connection to " + authority
}

// HandshakeError: the other side was reached, and either side did not trust the other, or they do not speak the same
// language. Trying again is of no use until somebody changes the settings.
type HandshakeError struct{ Why string }

func (e *HandshakeError) Error() string { return e.Why }

// What gRPC says of servers that close a connection before they say anything, as one that speaks TLS does to plain text;
// and of an alert that comes after the handshake of TLS 1.3, in which a client hears of its own certificate last.
var (
	signsOfTLS     = []string{"error reading server preface", "frame header looked like", "first record does not look like a TLS"}
	signsOfRefusal = []string{"remote error: tls: "}
)

// handshakeOf makes an error of a status that tells of a failed handshake; nil if it does not.
func handshakeOf(st *status.Status) error {
	text := st.Message()
	if _, why, ok := strings.Cut(text, handshakeMark); ok {
		return &HandshakeError{Why: strings.TrimSuffix(why, `"`)}
	}
	for _, sign := range signsOfRefusal {
		if i := strings.Index(text, sign); i >= 0 {
			return &HandshakeError{Why: "the server refuses our certificate, or the lack of one (" + strings.TrimSuffix(text[i:], `"`) + "); name one of an authority that it trusts (--tls-cert, --tls-key)"}
		}
	}
	for _, sign := range signsOfTLS {
		if strings.Contains(text, sign) {
			return &HandshakeError{Why: "the server does not answer plain text; it speaks TLS (name its authority's certificate with --tls-ca), or is no node of Skerry"}
		}
	}
	return nil
}
