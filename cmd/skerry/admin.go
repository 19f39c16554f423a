package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/fault"
)

// adminHeaderTimeout bounds how long a connection may take to say what it wants.
const adminHeaderTimeout = 5 * time.Second

// adminServer is the HTTP listener for operations. Its goroutine serves until close. The zero value listens nowhere.
type adminServer struct{ http *http.Server }

// startAdmin listens on addr; nowhere if that is empty.
func startAdmin(addr string, n *node.Node, log *slog.Logger) (*adminServer, error) {
	s := &adminServer{}
	if addr == "" {
		return s, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fault.Errorf(fault.PortInUse, "listen on %s (--admin): %w; stop what listens there, or name another with --admin", addr, err)
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
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, n.Readiness()) })
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

// ready says whether the node is, and each reason why not in a line of its own.
func ready(w http.ResponseWriter, r node.Readiness) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(r.Not) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, why := range r.Not {
			fmt.Fprintln(w, "not ready:", why)
		}
	} else {
		fmt.Fprintln(w, "ok")
	}
	for _, why := range r.Notes {
		fmt.Fprintln(w, "note:", why)
	}
}

func (s *adminServer) close() {
	if s.http != nil {
		_ = s.http.Close()
	}
}
