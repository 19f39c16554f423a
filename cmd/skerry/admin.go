package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skerrydb/skerry/cmd/node"
)

const (
	// readyPatience is how long /readyz waits for the answer.
	readyPatience = 200 * time.Millisecond
	// adminHeaderTimeout bounds how long a connection may take to say what it wants.
	adminHeaderTimeout = 5 * time.Second
)

// adminServer is the HTTP listener for operations. Its goroutine serves until close. The zero value listens nowhere.
type adminServer struct {
	http     *http.Server
	draining atomic.Bool
}

// startAdmin listens on addr; nowhere if that is empty.
func startAdmin(addr string, n *node.Node, log *slog.Logger) (*adminServer, error) {
	s := &adminServer{}
	if addr == "" {
		return s, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s (--admin): %w", addr, err)
	}
	if g := n.Guard(); g != nil {
		l = g.Listener(l)
	}
	s.http = &http.Server{Handler: s.handler(n), ReadHeaderTimeout: adminHeaderTimeout}
	log.Info("administration over HTTP", "addr", l.Addr().String())
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("administration over HTTP ended", "err", err)
		}
	}()
	return s, nil
}

func (s *adminServer) handler(n *node.Node) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(gatherer(n), promhttp.HandlerOpts{}))
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { reply(w, n.Err()) })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			reply(w, errors.New("stopping"))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), readyPatience)
		defer cancel()
		reply(w, n.Ready(ctx))
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// gatherer joins the process's metrics and the node's.
func gatherer(n *node.Node) prometheus.Gatherers {
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	out := prometheus.Gatherers{process}
	if m, ok := any(n).(interface{ Registry() prometheus.Gatherer }); ok {
		out = append(out, m.Registry())
	}
	return out
}

func reply(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// drain makes /readyz say no, so that nobody sends new work while the node stops.
func (s *adminServer) drain() { s.draining.Store(true) }

func (s *adminServer) close() {
	if s.http != nil {
		_ = s.http.Close()
	}
}
