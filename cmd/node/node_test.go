package node

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"
)

// TestPlaygroundStarts: a cluster in one process, over real sockets, has a leader for each first shard.
func TestPlaygroundStarts(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	logger := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	start := time.Now()
	p, err := StartPlayground(ctx, PlaygroundConfig{Memory: true, Listen: "127.0.0.1:0", SplitKeys: []string{"b", "c", "d"}, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %s", time.Since(start))
	leaders := 0
	for _, n := range p.Nodes {
		infos, err := n.Replicas(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if i.Leading {
				leaders++
			}
		}
	}
	if leaders != 5 { // four shards and shard 1
		t.Fatalf("%d leaders, want 5", leaders)
	}
}
