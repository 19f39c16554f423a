package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// Refusal is why a connection was not let in, as a word for a metric's label.
type Refusal string

// Why a server lets nobody in, or a caller will not talk to it.
const (
	RefusedPlainText Refusal = "plain_text"        // the caller does not speak TLS
	RefusedNone      Refusal = "no_certificate"    // the caller shows no certificate that the server could accept
	RefusedAuthority Refusal = "unknown_authority" // a certificate is signed by nobody who is trusted
	RefusedExpired   Refusal = "expired"           // a certificate is not valid now
	RefusedName      Refusal = "wrong_name"        // a certificate is for somebody else
	RefusedByCaller  Refusal = "refused_by_caller" // the caller does not accept the server's certificate
	RefusedOther     Refusal = "other"             // anything else, such as versions that do not fit
)

// Refusals are all of them.
var Refusals = []Refusal{RefusedPlainText, RefusedNone, RefusedAuthority, RefusedExpired, RefusedName, RefusedByCaller, RefusedOther}

// SecurityError says that two sides do not agree how to talk securely. Trying again does not help: somebody has to change
// a setting or a certificate. It wraps shard.ErrUnavailable.
type SecurityError struct {
	Addr   string // that was dialled
	Reason Refusal
	Why    string // a sentence
	Hint   string // what to do
}

func (e *SecurityError) Error() string {
	return fmt.Sprintf("%s: %s; %s", e.Addr, e.Why, e.Hint)
}

// FaultCode implements fault.Coded.
func (e *SecurityError) FaultCode() fault.Code {
	switch e.Reason {
	case RefusedPlainText:
		return fault.PlainText
	case RefusedNone:
		return fault.NoCert
	case RefusedAuthority:
		return fault.BadAuthority
	case RefusedExpired:
		return fault.CertExpired
	case RefusedName:
		return fault.CertName
	case RefusedByCaller:
		return fault.CertRefused
	}
	return fault.HandshakeErr
}

// Unwrap makes it an address that does not answer, for those who can go elsewhere.
func (e *SecurityError) Unwrap() error { return shard.ErrUnavailable }

// refusalOf finds out why a handshake failed, as the side that accepts sees it.
func refusalOf(err error) Refusal {
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &authority):
		return RefusedAuthority
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return RefusedExpired
	case errors.As(err, new(x509.HostnameError)):
		return RefusedName
	case errors.As(err, new(tls.RecordHeaderError)):
		return RefusedPlainText
	case strings.Contains(err.Error(), "didn't provide a certificate"): // crypto/tls has no type for it
		return RefusedNone
	case alertOf(err) != "":
		return RefusedByCaller
	}
	return RefusedOther
}

// alertOf is the alert that the other side sent, without the words around it; empty if err is none. The alerts of
// crypto/tls have no exported type.
func alertOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

// securityError is what a caller is told of a failed handshake with addr, nil if err is of another kind. name is the one
// that the server's certificate had to have.
func securityError(addr, name string, err error) *SecurityError {
	e := &SecurityError{Addr: addr, Reason: refusalOf(err)}
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch e.Reason {
	case RefusedPlainText:
		e.Why, e.Hint = "the server does not speak TLS", "leave TLS out (--tls, --tls-ca), or start the server with --tls-cert and --tls-key"
	case RefusedAuthority:
		e.Why, e.Hint = "the server's certificate is signed by an unknown authority", "name the authority's certificate with --tls-ca"
	case RefusedExpired:
		errors.As(err, &invalid)
		e.Why, e.Hint = "the server's certificate is not valid now", "renew it, or set the clocks right ("+invalid.Detail+")"
	case RefusedName:
		names := "none"
		if errors.As(err, &host) {
			names = namesOf(host.Certificate)
		}
		e.Why = fmt.Sprintf("the server's certificate is not valid for %s, it is for %s", name, names)
		e.Hint = "dial it by such a name, name one with --tls-server-name, or give the server another certificate"
	case RefusedByCaller:
		return refusedUs(e, alertOf(err))
	default:
		return nil
	}
	return e
}

// refusedUs tells what an alert of the server means.
func refusedUs(e *SecurityError, alert string) *SecurityError {
	switch alert {
	case "certificate required":
		e.Reason, e.Why = RefusedNone, "the server asks for a client certificate that its authority signed"
		e.Hint = "name one with --tls-cert and --tls-key"
	case "unknown certificate authority":
		e.Reason, e.Why = RefusedAuthority, "our certificate is signed by an unknown authority, says the server"
		e.Hint = "use one that the server's --tls-ca signed"
	case "expired certificate":
		e.Reason, e.Why, e.Hint = RefusedExpired, "our certificate is not valid now, says the server", "renew it, or set the clocks right"
	case "bad certificate":
		e.Reason, e.Why = RefusedOther, "our certificate was refused by the server"
		e.Hint = "use one that the server's --tls-ca signed and that is for client authentication"
	default:
		e.Reason, e.Why, e.Hint = RefusedOther, "the handshake failed ("+alert+")", "see the server's log"
	}
	return e
}

func namesOf(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name"
	}
	return strings.Join(names, ", ")
}
