package call

import (
	"strings"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// An error travels as its core: the first error in its chain that this package knows, with all its fields. If what
// wraps the core says more, that text travels too. Each kind's fields are length-prefixed, so that an error of a newer
// version reads as an *UnknownError and the frame around it stays readable.
//
//	error = errNone | kind, bytes(fields) | errWrapped, bytes(text, kind, bytes(fields))
type errKind byte

const (
	errNone          errKind = 0
	errNotLeader     errKind = 1
	errStaleEpoch    errKind = 2
	errNotReady      errKind = 3
	errNotFound      errKind = 4
	errServerBusy    errKind = 5
	errRefresh       errKind = 6
	errOverwritten   errKind = 7
	errKeyNotInShard errKind = 8
	errInvalid       errKind = 9
	errAmbiguous     errKind = 10
	errWrongCluster  errKind = 11
	errBroken        errKind = 12
	errNever         errKind = 13
	errUseTwoPhase   errKind = 14
	errTooNew        errKind = 15
	errDiskFull      errKind = 17
	errVersion       errKind = 16
	errClosed        errKind = 32
	errNoFreshTime   errKind = 33
	errUnavailable   errKind = 34
	errStages        errKind = 253 // no error: Reply.Stages, and then the error. Only who asked for them is sent them
	errWrapped       errKind = 254
	errUnknown       errKind = 255
)

// maxErrorTextBytes bounds the free text of an error on the wire: people read it, programs do not.
const maxErrorTextBytes = 1 << 10

// UnknownError is an error of the other side that is none of the typed ones. Whether anything happened is not known.
type UnknownError struct{ Text string }

// FaultCode implements fault.Coded.
func (*NeverError) FaultCode() fault.Code { return fault.NeverHappened }

// FaultCode implements fault.Coded.
func (*UnknownError) FaultCode() fault.Code { return fault.UnknownError }

func (e *UnknownError) Error() string { return e.Text }

// remoteError is a typed error that the other side had wrapped in a text of its own.
type remoteError struct {
	text string // the whole text, the core's included
	core error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.core }

// AppendError appends the encoding of err, which may be nil.
func AppendError(b []byte, err error) []byte {
	if err == nil {
		return append(b, byte(errNone))
	}
	core := findCore(err)
	if core == nil {
		core = &UnknownError{Text: clip(err.Error())}
	}
	kind, fields := appendCore(nil, core)
	if text := clip(err.Error()); text != clip(core.Error()) {
		fields = append(codec.AppendString(nil, text), appendItem(nil, kind, fields)...)
		kind = errWrapped
	}
	return appendItem(b, kind, fields)
}

func appendItem(b []byte, kind errKind, fields []byte) []byte {
	return codec.AppendBytes(append(b, byte(kind)), fields)
}

// findCore returns the first error in err's chain that appendCore knows, in the order of errors.As, or nil.
func findCore(err error) error {
	if kind, _ := appendCore(nil, err); kind != errNone {
		return err
	}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		if inner := w.Unwrap(); inner != nil {
			return findCore(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range w.Unwrap() {
			if core := findCore(inner); core != nil {
				return core
			}
		}
	}
	return nil
}

// appendCore appends the fields of err itself, not of what it wraps; errNone means that it is none of the known errors.
func appendCore(b []byte, err error) (errKind, []byte) {
	switch e := err.(type) {
	case *shard.NotLeaderError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		b = appendReplica(b, e.Leader)
		return errNotLeader, codec.AppendUvarint(b, e.Term)
	case *shard.StaleEpochError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		b = codec.AppendUvarint(b, uint64(len(e.Current)))
		for _, d := range e.Current {
			b = d.Append(b)
		}
		return errStaleEpoch, b
	case *shard.NotReadyError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		b = codec.AppendUvarint(b, e.Epoch.ConfVer)
		b = codec.AppendUvarint(b, e.Epoch.Version)
		return errNotReady, codec.AppendString(b, e.Why)
	case *shard.NotFoundError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		return errNotFound, codec.AppendUvarint(b, uint64(e.Store))
	case *shard.ServerBusyError:
		b = codec.AppendUvarint(b, uint64(e.Store))
		b = codec.AppendString(b, e.Why)
		return errServerBusy, codec.AppendUvarint(b, uint64(max(e.Wait, 0)))
	case *shard.RefreshError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		b = codec.AppendUvarint(b, e.Term)
		return errRefresh, codec.AppendUvarint(b, e.Applied)
	case *shard.OverwrittenError:
		return errOverwritten, codec.AppendUvarint(b, uint64(e.Shard))
	case *shard.KeyNotInShardError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		b = codec.AppendBytes(b, e.Key)
		b = codec.AppendBytes(b, e.Range.Start)
		return errKeyNotInShard, codec.AppendBytes(b, e.Range.End)
	case *shard.InvalidError:
		return errInvalid, codec.AppendString(b, e.Why)
	case *shard.AmbiguousError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		return errAmbiguous, codec.AppendString(b, e.Why)
	case *shard.WrongClusterError:
		b = codec.AppendUvarint(b, uint64(e.Want))
		return errWrongCluster, codec.AppendUvarint(b, uint64(e.Have))
	case *shard.BrokenError:
		b = codec.AppendUvarint(b, uint64(e.Store))
		return errBroken, codec.AppendString(b, e.Why)
	case *NeverError:
		return errNever, e.Op.Append(b)
	case *shard.UseTwoPhaseError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		return errUseTwoPhase, codec.AppendString(b, e.Why)
	case *shard.TooNewError:
		b = codec.AppendUvarint(b, uint64(e.Shard))
		b = codec.AppendUvarint(b, e.Timestamp)
		return errTooNew, codec.AppendUvarint(b, e.Limit)
	case *shard.DiskFullError:
		b = codec.AppendUvarint(b, uint64(e.Store))
		b = codec.AppendUvarint(b, e.Free)
		return errDiskFull, codec.AppendUvarint(b, e.Low)
	case *shard.VersionError:
		b = codec.AppendUvarint(b, e.Cluster)
		b = codec.AppendUvarint(b, e.Oldest)
		return errVersion, codec.AppendUvarint(b, e.Newest)
	case *UnknownError:
		return errUnknown, codec.AppendString(b, clip(e.Text))
	}
	for _, s := range sentinels() {
		if err == s.err {
			return s.kind, b
		}
	}
	return errNone, b
}

// ReadError reads what AppendError wrote from the front of d. The caller checks d.Err. It aliases nothing.
func ReadError(d *codec.Decoder) error {
	kind := errKind(d.Byte())
	if kind == errNone {
		return nil
	}
	in := codec.Decoder{B: d.Bytes()}
	var err error
	if kind == errWrapped {
		text := in.String()
		if kind = errKind(in.Byte()); kind == errNone || kind == errWrapped {
			fail(d)
			return nil
		}
		core := codec.Decoder{B: in.Bytes()}
		err = &remoteError{text: text, core: readCore(&core, kind)}
		if core.Done() != nil {
			fail(d)
		}
	} else {
		err = readCore(&in, kind)
	}
	if in.Done() != nil {
		fail(d)
	}
	if d.Err() != nil {
		return nil
	}
	return err
}

// readCore reads the fields of one error. The caller checks d.Done.
func readCore(d *codec.Decoder, kind errKind) error {
	for _, s := range sentinels() {
		if s.kind == kind {
			return s.err
		}
	}
	switch kind {
	case errNotLeader:
		return &shard.NotLeaderError{Shard: shard.ID(d.Uvarint()), Leader: readReplica(d), Term: d.Uvarint()}
	case errStaleEpoch:
		e := &shard.StaleEpochError{Shard: shard.ID(d.Uvarint())}
		for range d.Count(7) { // the shortest descriptor has 7 bytes
			e.Current = append(e.Current, shard.ReadDescriptor(d))
		}
		return e
	case errNotReady:
		return &shard.NotReadyError{Shard: shard.ID(d.Uvarint()),
			Epoch: shard.Epoch{ConfVer: d.Uvarint(), Version: d.Uvarint()}, Why: d.String()}
	case errNotFound:
		return &shard.NotFoundError{Shard: shard.ID(d.Uvarint()), Store: shard.StoreID(d.Uvarint())}
	case errServerBusy:
		return &shard.ServerBusyError{Store: shard.StoreID(d.Uvarint()), Why: d.String(), Wait: nanos(d)}
	case errRefresh:
		return &shard.RefreshError{Shard: shard.ID(d.Uvarint()), Term: d.Uvarint(), Applied: d.Uvarint()}
	case errOverwritten:
		return &shard.OverwrittenError{Shard: shard.ID(d.Uvarint())}
	case errKeyNotInShard:
		return &shard.KeyNotInShardError{Shard: shard.ID(d.Uvarint()), Key: shard.Key(d.Bytes()).Clone(),
			Range: shard.Range{Start: shard.Key(d.Bytes()).Clone(), End: shard.Key(d.Bytes()).Clone()}}
	case errInvalid:
		return &shard.InvalidError{Why: d.String()}
	case errAmbiguous:
		return &shard.AmbiguousError{Shard: shard.ID(d.Uvarint()), Why: d.String()}
	case errWrongCluster:
		return &shard.WrongClusterError{Want: shard.ClusterID(d.Uvarint()), Have: shard.ClusterID(d.Uvarint())}
	case errBroken:
		return &shard.BrokenError{Store: shard.StoreID(d.Uvarint()), Why: d.String()}
	case errNever:
		return &NeverError{Op: ReadOpID(d)}
	case errUseTwoPhase:
		return &shard.UseTwoPhaseError{Shard: shard.ID(d.Uvarint()), Why: d.String()}
	case errTooNew:
		return &shard.TooNewError{Shard: shard.ID(d.Uvarint()), Timestamp: d.Uvarint(), Limit: d.Uvarint()}
	case errDiskFull:
		return &shard.DiskFullError{Store: shard.StoreID(d.Uvarint()), Free: d.Uvarint(), Low: d.Uvarint()}
	case errVersion:
		return &shard.VersionError{Cluster: d.Uvarint(), Oldest: d.Uvarint(), Newest: d.Uvarint()}
	case errUnknown:
		return &UnknownError{Text: d.String()}
	}
	d.B = nil // fields of a newer version
	return &UnknownError{Text: "an error that only a newer version knows"}
}

type sentinel struct {
	kind errKind
	err  error
}

func sentinels() [3]sentinel {
	return [3]sentinel{
		{errClosed, shard.ErrClosed}, {errNoFreshTime, shard.ErrNoFreshTime}, {errUnavailable, shard.ErrUnavailable},
	}
}

// clip shortens text to its bound.
func clip(text string) string {
	if len(text) <= maxErrorTextBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxErrorTextBytes], "")
}

func appendReplica(b []byte, r shard.Replica) []byte {
	b = codec.AppendUvarint(b, uint64(r.ID))
	b = codec.AppendUvarint(b, uint64(r.Store))
	return append(b, byte(r.Role))
}

func readReplica(d *codec.Decoder) shard.Replica {
	return shard.Replica{ID: shard.ReplicaID(d.Uvarint()), Store: shard.StoreID(d.Uvarint()), Role: shard.Role(d.Byte())}
}

// nanos reads a duration that was written in nanoseconds.
func nanos(d *codec.Decoder) time.Duration {
	v := d.Uvarint()
	if v > 1<<63-1 {
		fail(d)
		return 0
	}
	return time.Duration(v)
}
