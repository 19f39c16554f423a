package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// TestEveryErrorHasACode: all sentinels and typed errors that a caller may see, and each code is in the table.
func TestEveryErrorHasACode(t *testing.T) {
	for _, err := range []error{
		ErrNotFound, ErrNoShard, ErrConflict, ErrAmbiguous, ErrCrossShard, ErrKeyTooLarge, ErrValueTooLarge, ErrInvalid, ErrUnavailable, ErrClosed,
		ErrTooOld, ErrTxnTooLarge, ErrTxnDone, ErrReadOnly, ErrNotCounter, &TxnConflictError{},
		&shard.NotLeaderError{}, &shard.StaleEpochError{}, &shard.NotReadyError{}, &shard.NotFoundError{}, &shard.ServerBusyError{},
		&shard.RefreshError{}, &shard.OverwrittenError{}, &shard.KeyNotInShardError{}, &shard.InvalidError{}, &shard.AmbiguousError{},
		&shard.WrongClusterError{}, &shard.BrokenError{}, &shard.UseTwoPhaseError{}, &shard.TooNewError{}, &shard.DiskFullError{}, &shard.VersionError{}, shard.ErrClosed,
		shard.ErrNoFreshTime, shard.ErrUnavailable, &call.NeverError{}, &call.UnknownError{}, &mvcc.Rejected{},
	} {
		if _, ok := fault.Find(fault.Of(err)); !ok {
			t.Errorf("%T %v has code %q", err, err, fault.Of(err))
		}
	}
	for _, r := range rpc.Refusals {
		if code := fault.Of(&rpc.SecurityError{Reason: r}); code < fault.PlainText || code > fault.HandshakeErr {
			t.Errorf("%s has code %q", r, code)
		}
	}
}

// TestErrorPrintsItsCode: the text ends with the code, which is that of what somebody has to do something about.
func TestErrorPrintsItsCode(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want fault.Code
	}{
		{&Error{Op: "put", Kind: ErrAmbiguous, Hint: "x"}, fault.Ambiguous},
		{&Error{Op: "put", Kind: ErrUnavailable, Cause: errBudget}, fault.Unavailable},
		{&Error{Op: "put", Kind: ErrUnavailable, Cause: &shard.NotLeaderError{}}, fault.Unavailable},
		{&Error{Op: "open", Kind: ErrUnavailable, Cause: fmt.Errorf("x: %w", &rpc.SecurityError{Reason: rpc.RefusedNone})}, fault.NoCert},
		{&Error{Op: "open", Kind: ErrUnavailable, Cause: &shard.WrongClusterError{}}, fault.WrongCluster},
		{&Error{Op: "put", Kind: ErrUnavailable, Cause: shard.ErrNoFreshTime}, fault.NoFreshTime},
		{&Error{Op: "commit", Kind: ErrConflict, Cause: &TxnConflictError{}}, fault.TxnConflict},
		{&Error{Op: "get", Kind: context.Canceled}, fault.Interrupted},
	} {
		if !strings.HasSuffix(c.err.Error(), "["+string(c.want)+"]") || Code(fmt.Errorf("x: %w", c.err)) != string(c.want) {
			t.Errorf("%q, code %s, want %s", c.err, Code(c.err), c.want)
		}
	}
	if Code(errors.New("x")) != "" {
		t.Error("a foreign error has a code")
	}
}
