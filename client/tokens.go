package client

import (
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// Attempts beyond the first cost a token. Answers earn a part of one and time earns some, so that a client in a healthy
// cluster never notices, and in an outage sends little more than retriesPerSecond however many callers it has.
const (
	retriesPerSecond = 250.0
	retryBurst       = 500.0
	retriesPerAnswer = 0.1
	longestTokenWait = time.Second
)

// tokens is a bucket of permissions to try again. Nobody is refused: who finds it empty waits for its turn, because a
// caller's own budget ends its patience better than a counter can.
type tokens struct {
	mu   sync.Mutex
	have float64 // negative: as many callers wait
	at   env.Time
}

func newTokens(now env.Time) *tokens { return &tokens{have: retryBurst, at: now} }

// take takes a token and returns how long to wait for it.
func (t *tokens) take(now env.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.have = min(retryBurst, t.have+max(0, now.Sub(t.at)).Seconds()*retriesPerSecond)
	t.at = max(t.at, now)
	t.have = max(t.have-1, -retriesPerSecond*longestTokenWait.Seconds())
	if t.have >= 0 {
		return 0
	}
	return time.Duration(-t.have / retriesPerSecond * float64(time.Second))
}

// earn rewards an answer.
func (t *tokens) earn() {
	t.mu.Lock()
	t.have = min(retryBurst, t.have+retriesPerAnswer)
	t.mu.Unlock()
}
