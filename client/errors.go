package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// Sentinels for errors.Is. What the calls return wraps one of them in an *Error, which says what was attempted, where,
// and what to do; a call whose context ended wraps the context's error as well.
var (
	// ErrNotFound is returned by Get and GetTTL for a key that does not exist or is expired.
	ErrNotFound = fault.New(fault.NotFound, "key not found")
	// ErrNoShard is returned by calls of Admin for a shard that does not exist.
	ErrNoShard = fault.New(fault.UnknownShard, "no such shard")
	// ErrConflict is returned by conditional writes: a condition did not hold and nothing was written. The error is also
	// a *ConflictError with the current value.
	ErrConflict = fault.New(fault.Conflict, "condition did not hold, nothing was written")
	// ErrAmbiguous is returned by writes that may or may not have taken effect, and whose fate could not be learnt in
	// time. Read the key, or make the write conditional, before writing again.
	ErrAmbiguous = fault.New(fault.Ambiguous, "outcome unknown: the write may or may not have happened")
	// ErrCrossShard is returned by Atomic for keys that lie in different shards. Nothing was written.
	ErrCrossShard = fault.New(fault.CrossShard, "the keys lie in more than one shard, nothing was written")
	// ErrKeyTooLarge is returned for keys above shard.MaxKeyBytes.
	ErrKeyTooLarge = fault.New(fault.KeyTooLarge, "key too large")
	// ErrValueTooLarge is returned for values above shard.MaxValueBytes.
	ErrValueTooLarge = fault.New(fault.ValueTooLarge, "value too large")
	// ErrInvalid is returned for requests that no shard could ever serve. Trying again does not help.
	ErrInvalid = fault.New(fault.Invalid, "invalid request")
	// ErrUnavailable is returned when the budget of time was over before anybody could serve the call. Of a write it
	// says that nothing happened.
	ErrUnavailable = fault.New(fault.Unavailable, "unavailable")
	// ErrClosed is returned by calls on a closed DB. Of a write it says that nothing happened.
	ErrClosed = fault.New(fault.ClientClosed, "client is closed")
)

// Error is what calls return for one part of their work.
type Error struct {
	Op  string // "get", "put", …
	Key []byte // the user's key, the first of the part; nil if there is none
	// Shard and Store say where the last attempt went; zero if there was none.
	Shard    shard.ID
	Store    shard.StoreID
	Attempts int // requests sent
	Elapsed  time.Duration
	// Reasons say why earlier attempts did not do it: the last few, oldest first.
	Reasons []string
	Hint    string // what to do; may be empty
	// Kind is one of the sentinels, or the context's error if that ended the call before anything was written.
	Kind error
	// Cause is what else is known; may be nil.
	Cause error
}

// Error says it all in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Key != nil {
		b.WriteString(" " + shortKey(e.Key))
	}
	b.WriteString(": " + e.Kind.Error())
	if e.Cause != nil {
		b.WriteString(": " + strings.TrimPrefix(e.Cause.Error(), e.Kind.Error()+": "))
	}
	if e.Attempts > 0 {
		fmt.Fprintf(&b, " (%s on %s, %d attempt(s) in %s)", e.Shard, e.Store, e.Attempts, e.Elapsed.Round(time.Millisecond))
	}
	if len(e.Reasons) > 0 {
		b.WriteString("; before: " + strings.Join(e.Reasons, "; "))
	}
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	if code := e.FaultCode(); code != "" {
		b.WriteString(" [" + string(code) + "]")
	}
	return b.String()
}

// FaultCode is the number of the error, see Code. If nobody could be reached for a reason that somebody has to do something
// about, it is that reason's.
func (e *Error) FaultCode() fault.Code {
	switch cause := fault.Of(e.Cause); {
	case cause == fault.WrongCluster, cause == fault.NodesBehind, cause == fault.ProgramOld, cause == fault.ProgramNew, cause == fault.NoFreshTime, cause >= fault.PlainText && cause <= fault.CertFiles:
		return cause
	case errors.Is(e.Kind, ErrConflict) && cause == fault.TxnConflict:
		return cause
	case isContext(e.Kind):
		return fault.Interrupted
	}
	return fault.Of(e.Kind)
}

// Code is the number of an error of this package, such as SK2003, or "". `skerry explain-error` and docs/errors.md say what
// each means and what helps.
func Code(err error) string { return string(fault.Of(err)) }

// Unwrap gives errors.Is and errors.As both what kind it is and what caused it.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// ConflictError tells what stood in the way of a conditional write, so that a loop of compare-and-swap need not read.
type ConflictError struct {
	Key     []byte
	Exists  bool
	Current []byte // the value, if it Exists
}

func (e *ConflictError) Error() string {
	if !e.Exists {
		return fmt.Sprintf("key %s does not exist", shortKey(e.Key))
	}
	return fmt.Sprintf("key %s exists with a value of %d bytes", shortKey(e.Key), len(e.Current))
}

// BatchError says which keys of a batch went wrong. The others are done.
type BatchError struct {
	Op string
	// Errs has one error per key in the order of the call, nil for those that are done.
	Errs []error
}

func (e *BatchError) Error() string {
	n, first := 0, error(nil)
	for _, err := range e.Errs {
		if err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	return fmt.Sprintf("%s: %d of %d keys: %v", e.Op, n, len(e.Errs), first)
}

// Unwrap returns the errors, each once.
func (e *BatchError) Unwrap() []error {
	var out []error
	seen := make(map[error]bool)
	for _, err := range e.Errs {
		if err != nil && !seen[err] {
			seen[err] = true
			out = append(out, err)
		}
	}
	return out
}

// batchError makes a *BatchError if there is any error.
func batchError(op string, errs []error) error {
	for _, err := range errs {
		if err != nil {
			return &BatchError{Op: op, Errs: errs}
		}
	}
	return nil
}

// ProgressError says how far a DeleteRange came before Err ended it: everything in the range below Next is deleted. From
// Next on nothing is, except that with ErrAmbiguous the part of the range in the shard of Next may be.
type ProgressError struct {
	Next []byte
	Err  error
}

func (e *ProgressError) Error() string {
	return fmt.Sprintf("came as far as %s: %v", shortKey(e.Next), e.Err)
}

// Unwrap returns Err.
func (e *ProgressError) Unwrap() error { return e.Err }

// shownKeyBytes of a key stand in an error's text.
const shownKeyBytes = 64

func shortKey(k []byte) string {
	if len(k) > shownKeyBytes {
		return strconv.Quote(string(k[:shownKeyBytes])) + "..."
	}
	return strconv.Quote(string(k))
}

// refuse makes the error of a call that was never sent because of what it asks for.
func refuse(op string, key []byte, kind error, why, hint string) error {
	e := &Error{Op: op, Key: key, Kind: kind, Hint: hint}
	if why != "" {
		e.Cause = errors.New(why)
	}
	return e
}

// refuse makes the error of an effort that cannot succeed because of what was asked for.
func (e *effort) refuse(why, hint string) *Error {
	err := e.fail(ErrInvalid, errors.New(why))
	err.Hint = hint
	return err
}

// rejected makes the error of what a store or placement refused for good. What stands around the reason, such as whom it was
// asked of, says nothing to the caller.
func (e *effort) rejected(err error) *Error {
	var invalid *shard.InvalidError
	var wrong *shard.WrongClusterError
	switch {
	case errors.As(err, &invalid):
		err = invalid
	case errors.As(err, &wrong):
		err = wrong
	}
	out := e.fail(ErrInvalid, err)
	if as[*shard.WrongClusterError](err) {
		out.Hint = "the addresses are of more than one cluster, or of another one than before: name nodes of one cluster"
	}
	return out
}

// hint says what to do about an error of this kind.
func hint(kind error) string {
	switch kind {
	case ErrAmbiguous:
		return "read the key before writing again, or use a conditional write"
	case ErrUnavailable:
		return "nothing happened; try again later, with more time, or look at the shard with `skerry ctl shard get`"
	case ErrCrossShard:
		return "give keys that belong together a common prefix and write them in one shard, or write them one by one"
	case ErrConflict:
		return "decide again with the current value"
	}
	return ""
}

func checkKey(op string, key []byte) error {
	if len(key) == 0 {
		return refuse(op, []byte{}, ErrInvalid, "the key is empty", "give it at least one byte")
	}
	if n := len(key); n > shard.MaxKeyBytes {
		return refuse(op, key, ErrKeyTooLarge, fmt.Sprintf("%d bytes, at most %d", n, shard.MaxKeyBytes), "use a shorter key")
	}
	return nil
}

func checkValue(op string, key, value []byte) error {
	if n := len(value); n > shard.MaxValueBytes {
		return refuse(op, key, ErrValueTooLarge, fmt.Sprintf("%d bytes, at most %d", n, shard.MaxValueBytes),
			"cut the value into several keys")
	}
	return nil
}

func checkTTL(op string, key []byte, o *putOptions) error {
	if o.hasTTL && (o.ttl <= 0 || o.ttl > raw.MaxTTL) {
		return refuse(op, key, ErrInvalid, fmt.Sprintf("ttl %s, must be above zero and at most %s", o.ttl, raw.MaxTTL),
			"leave the option out for a key that stays")
	}
	return nil
}

// isContext reports whether err came from a context that ended.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
