package node

import (
	"log/slog"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// How soon a state that lasts is logged, and how often again. A start in order takes less than the first.
const (
	sparseGrace    = 2 * time.Second
	sparseInterval = 10 * time.Second
)

// sparseLog logs what is tried several times a second, but not each time. It is of one goroutine.
type sparseLog struct {
	env  env.Env
	log  *slog.Logger
	next env.Time // nothing is logged before
}

func newSparseLog(e env.Env, l *slog.Logger) sparseLog {
	return sparseLog{env: e, log: l, next: e.Now().Add(sparseGrace)}
}

// info logs at most once per sparseInterval; in between it is left to those who debug.
func (l *sparseLog) info(msg string, args ...any) {
	now := l.env.Now()
	if now < l.next {
		l.log.Debug(msg, args...)
		return
	}
	l.next = now.Add(sparseInterval)
	l.log.Info(msg, args...)
}
