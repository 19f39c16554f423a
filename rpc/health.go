package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthPoll is how soon a watcher of health hears of a change.
const healthPoll = 500 * time.Millisecond

// Ready is what a Node may know of itself, for health checks. Why is empty if it is ready for work.
type Ready interface{ NotReady() (why []string) }

// healthServer answers health checks (grpc.health.v1). There is one service, the node as a whole, whose name is empty.
type healthServer struct {
	healthv1.UnimplementedHealthServer
	s *Server
}

func (h *healthServer) now(service string) (*healthv1.HealthCheckResponse, error) {
	if service != "" {
		return nil, status.Errorf(codes.NotFound, "there is no service %q to check, only the node as a whole: leave the name empty", service)
	}
	h.s.mu.RLock()
	n, stopped := h.s.ready, h.s.stopped
	h.s.mu.RUnlock()
	out := &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}
	if stopped || n != nil && len(n.NotReady()) > 0 {
		out.Status = healthv1.HealthCheckResponse_NOT_SERVING
	}
	return out, nil
}

// Check implements healthv1.HealthServer.
func (h *healthServer) Check(_ context.Context, r *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	return h.now(r.GetService())
}

// Watch implements healthv1.HealthServer: the state now, and again at each change.
func (h *healthServer) Watch(r *healthv1.HealthCheckRequest, stream healthv1.Health_WatchServer) error {
	for last := healthv1.HealthCheckResponse_UNKNOWN; ; {
		is, err := h.now(r.GetService())
		if err != nil {
			is = &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVICE_UNKNOWN} // as its contract wants it
		}
		if is.GetStatus() != last {
			last = is.GetStatus()
			if err := stream.Send(is); err != nil {
				return err
			}
		}
		if err := h.s.env.Sleep(stream.Context(), healthPoll); err != nil {
			return status.FromContextError(err).Err()
		}
	}
}
