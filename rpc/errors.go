package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// errorTrailer carries a typed error beside the gRPC status, which people and their tools read.
const errorTrailer = "skerry-error-bin"

// toStatus gives a typed error its form on the wire: a status for people, and the error itself in the trailer.
func toStatus(err error, setTrailer func(metadata.MD)) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.FromContextError(err).Err()
	}
	setTrailer(metadata.Pairs(errorTrailer, string(call.AppendError(nil, err))))
	code := codes.Unavailable
	var invalid *shard.InvalidError
	var wrong *shard.WrongClusterError
	var version *shard.VersionError
	switch {
	case errors.As(err, &invalid):
		code = codes.InvalidArgument
	case errors.As(err, &wrong), errors.As(err, &version):
		code = codes.FailedPrecondition
	}
	return status.Error(code, err.Error())
}

// fromStatus gives back the typed error. Where there is none the other side was not reached, or broke off: whether it
// got the request is not known, and the error wraps shard.ErrUnavailable.
//
// ctx is the caller's own: a call that ended although ctx goes on, because our connections were closed under it, was not
// cancelled by the caller and must not say so.
func fromStatus(ctx context.Context, err error, trailer metadata.MD, what string) error {
	if err == nil || err == io.EOF {
		return err
	}
	if v := trailer.Get(errorTrailer); len(v) > 0 {
		d := codec.Decoder{B: []byte(v[0])}
		if typed := call.ReadError(&d); d.Done() == nil && typed != nil {
			return typed
		}
	}
	var insecure *SecurityError
	switch {
	case errors.As(err, &insecure): // also if ctx ended meanwhile: it says what to do
		return fmt.Errorf("%s: %w", what, insecure)
	case ctx.Err() != nil:
		return ctx.Err()
	case status.Code(err) == codes.DeadlineExceeded: // the other side's clock was a little ahead of ctx
		return context.DeadlineExceeded
	}
	return fmt.Errorf("%s: %w (%s)", what, shard.ErrUnavailable, status.Convert(err).Message())
}

// unaryErrors turns the typed errors of handlers into statuses.
func unaryErrors(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	res, err := h(ctx, req)
	if _, foreign := info.Server.(*healthServer); foreign {
		return res, err // its codes are those of grpc.health.v1
	}
	if err != nil {
		return nil, toStatus(err, func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) })
	}
	return res, nil
}

// streamErrors does the same for streams.
func streamErrors(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	return toStatus(h(srv, ss), ss.SetTrailer)
}

// invoke makes a unary call and gives back typed errors.
func invoke[Req, Res any](ctx context.Context, what string, req *Req,
	f func(context.Context, *Req, ...grpc.CallOption) (*Res, error)) (*Res, error) {
	var trailer metadata.MD
	res, err := f(ctx, req, grpc.Trailer(&trailer))
	if err != nil {
		return nil, fromStatus(ctx, err, trailer, what)
	}
	return res, nil
}
