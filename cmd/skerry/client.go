package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

// knockTimeout is how long nobody may listen before a command gives up, knockInterval how often it looks.
const (
	knockTimeout  = time.Second
	knockInterval = 100 * time.Millisecond
)

// session is an open client and what the settings say about it.
type session struct {
	*client.DB
	addrs   string
	timeout time.Duration
	tls     *tls.Config // nil: plain text
}

// clientFlags adds the flags of commands that talk to a cluster.
func (a *app) clientFlags(cmd *cobra.Command) { a.registry.AddFlags(cmd.Flags(), clientKeys...) }

// open connects to the cluster that the settings name.
func (a *app) open(cmd *cobra.Command) (*session, error) {
	v, err := a.load(cmd)
	if err != nil {
		return nil, err
	}
	s := &session{addrs: strings.Join(v.List(keyAddr), ","), timeout: v.Duration(keyTimeout)}
	if s.timeout <= 0 {
		return nil, usagef("--timeout must be above zero, such as 10s")
	}
	if s.tls, err = clientTLS(v); err != nil {
		return nil, err
	}
	ctx, cancel := s.limit(cmd.Context())
	defer cancel()
	if err := knock(ctx, v.List(keyAddr)); err != nil {
		return nil, err
	}
	s.DB, err = client.Open(ctx, s.addrs, client.WithRetryBudget(s.timeout), client.WithTLS(s.tls))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.addrs, err)
	}
	return s, nil
}

// knock finds out quickly whether nobody listens at any of the addresses, which is the commonest mistake and would
// otherwise take the whole timeout. A node that is just being started gets a moment.
func knock(ctx context.Context, addrs []string) error {
	d := net.Dialer{Timeout: knockTimeout} // of its own: a dial that the end of the time cuts off says nothing of who listens
	for end := time.Now().Add(knockTimeout); ; {
		for _, addr := range addrs {
			c, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				return c.Close()
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				return nil // there may be somebody: let the client find out
			}
		}
		select {
		case <-time.After(knockInterval):
		case <-ctx.Done():
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fault.Errorf(fault.NobodyThere, "nobody listens at %s (connection refused); start a node there, such as `skerry playground`, or name another with --addr or SKERRY_ADDR",
				strings.Join(addrs, ", "))
		}
	}
}

// limit bounds one request.
func (s *session) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// withDB runs f with a client that is closed afterwards.
func (a *app) withDB(cmd *cobra.Command, f func(ctx context.Context, s *session) error) error {
	s, err := a.open(cmd)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // everything that mattered was answered
	return f(cmd.Context(), s)
}

// byteForm is how a command line writes keys and values: escaped text, or hexadecimal.
type byteForm struct{ hex bool }

func (b *byteForm) flag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&b.hex, "hex", false, "keys and values are in hexadecimal, in and out")
}

// key reads a key.
func (b *byteForm) key(text string) ([]byte, error) {
	if b.hex {
		return b.decode(text)
	}
	key, err := output.Unescape(text)
	return key, fault.With(fault.BadUsage, err)
}

// value reads a value. Values are taken as they are typed, because a backslash in one is more often meant than not.
func (b *byteForm) value(text string) ([]byte, error) {
	if b.hex {
		return b.decode(text)
	}
	return []byte(text), nil
}

func (b *byteForm) decode(text string) ([]byte, error) {
	out, err := hex.DecodeString(text)
	if err != nil {
		return nil, usagef("%q is not hexadecimal; leave --hex out for text", text)
	}
	return out, nil
}

// show writes a key or a value.
func (b *byteForm) show(x []byte) string {
	if b.hex {
		return hex.EncodeToString(x)
	}
	return output.Escape(x)
}

// pair is a key and its value in JSON, in the form of a line that `skerry import` reads.
type pair struct {
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"key_base64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

func makePair(key, value []byte, keysOnly bool) pair {
	k := output.MakeBinary(key)
	p := pair{Key: k.Text, KeyBase64: k.Base64}
	if !keysOnly {
		v := output.MakeBinary(value)
		p.Value, p.ValueBase64 = v.Text, v.Base64
	}
	return p
}
