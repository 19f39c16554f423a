package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/internal/fault"
)

// A store whose data were found to differ from those of a shard's other replicas must never serve again: which of its data
// are wrong beside those that were compared, and since when, nobody knows. That is said by a file in its directory, which
// outlives the process, and which Open refuses. (CockroachDB's marker for the same.)
const (
	divergedFile = "DIVERGED"
	divergedTemp = "DIVERGED.tmp"
	divergedHead = "skerry diverged 1\n"
)

const divergedAdvice = "remove the store from the cluster (skerry ctl store remove) and start an empty one in its place; " +
	"in place of a placement member start another one with --replace"

// DivergedError says that a store stops because its data differ from those of others, and what is to be done about it.
type DivergedError struct{ Why string }

func (e *DivergedError) Error() string { return e.Why + "; " + divergedAdvice }

// FaultCode implements fault.Coded.
func (*DivergedError) FaultCode() fault.Code { return fault.Diverged }

// MarkDiverged writes down, durably, that the store must not be served from any more, and why. The text is one line.
func (e *Engine) MarkDiverged(why string) error {
	if err := e.check(); err != nil {
		return err
	}
	if err := e.writeFile(divergedTemp, divergedFile, divergedHead+strings.TrimSpace(why)+"\n"); err != nil {
		return e.fail(fmt.Errorf("write that the data differ from those of other replicas: %w", err))
	}
	return nil
}

// checkDiverged refuses a store that was marked. What the file says is for people: that it is there is enough.
func (e *Engine) checkDiverged() error {
	text, err := e.readFile(divergedFile)
	if errors.Is(err, errNoFile) {
		return nil
	}
	if err != nil {
		return err
	}
	why := strings.TrimSpace(strings.TrimPrefix(text, divergedHead))
	return fault.Errorf(fault.Diverged, "its data differ from those of the other replicas (the file %s says: %s): it must not be served from; %s",
		e.path(divergedFile), why, divergedAdvice)
}
