package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Orders of administrators and their outcomes travel as JSON, see placement.proto. What one side does not know it refuses:
// a server that overlooked "dry_run" would do what was only asked about.

// decodeJSON reads one value and nothing after it.
func decodeJSON[T any](b []byte) (*T, error) {
	out := new(T)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the value")
	}
	return out, nil
}

// Administer implements placementv1.PlacementServer.
func (s *placementServer) Administer(ctx context.Context, r *placementv1.AdministerRequest) (*placementv1.AdministerReply, error) {
	o, err := decodeJSON[beat.Order](r.GetOrder())
	if err != nil {
		return nil, &shard.InvalidError{Why: "the order is not understood here: " + err.Error()}
	}
	out, err := s.p.Administer(ctx, o)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode the outcome: %w", err)
	}
	return &placementv1.AdministerReply{Outcome: b}, nil
}

// Administer implements Placement.
func (p *PlacementAt) Administer(ctx context.Context, o *beat.Order) (*beat.Outcome, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode the order: %w", err)
	}
	r, err := invoke(ctx, p.what("administer"), &placementv1.AdministerRequest{Order: b}, c.Administer)
	if err != nil {
		return nil, err
	}
	out, err := decodeJSON[beat.Outcome](r.GetOutcome())
	if err != nil {
		return nil, fmt.Errorf("%s: the outcome is not understood here: %w", p.what("administer"), err)
	}
	return out, nil
}
