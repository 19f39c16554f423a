package call

import (
	"fmt"
	"math"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// A frame carries the requests, or the replies, that travel together: one version byte, then items up to the end. Items
// are not counted, so that a frame grows by appending; each begins with an id that the sender of the request chose and
// that its reply repeats.
const frameVersion = 1

// Flags of a request item. A part whose flag is missing is zero and takes no bytes.
const (
	reqFollower byte = 1 << iota
	reqOp            // Op, Term and Since follow
	reqWishes        // Wait and Trace follow
	reqFlags    = reqFollower | reqOp | reqWishes
)

// wishTrace is Trace, in the byte of Wait: whoever knows no wishes but those of LockWait reads it as one that it does not
// know, and overlooks it.
const wishTrace byte = 1 << 3

// wishes is Wait and Trace in one byte.
func (r *Request) wishes() byte {
	b := byte(r.Wait) &^ wishTrace
	if r.Trace {
		b |= wishTrace
	}
	return b
}

// AppendRequest appends one request to the frame b; an empty b begins a new frame. The Timeout travels in microseconds,
// rounded up, so that what is nearly over does not become "no limit".
func AppendRequest(b []byte, id uint64, r *Request) []byte {
	if len(b) == 0 {
		b = append(b, frameVersion)
	}
	var flags byte
	if r.Follower {
		flags |= reqFollower
	}
	if r.Op != (OpID{}) || r.Term != 0 || r.Since != 0 {
		flags |= reqOp
	}
	wishes := r.wishes()
	if wishes != 0 {
		flags |= reqWishes
	}
	b = codec.AppendUvarint(b, id)
	b = append(b, byte(r.Kind), flags)
	b = codec.AppendUvarint(b, uint64(r.Shard))
	b = codec.AppendUvarint(b, r.Epoch.ConfVer)
	b = codec.AppendUvarint(b, r.Epoch.Version)
	b = codec.AppendUvarint(b, micros(r.Timeout))
	if flags&reqOp != 0 {
		b = r.Op.Append(b)
		b = codec.AppendUvarint(b, r.Term)
		b = codec.AppendUvarint(b, r.Since)
	}
	if flags&reqWishes != 0 {
		b = append(b, wishes)
	}
	return codec.AppendBytes(b, r.Body)
}

// DecodeRequests calls f for every request of the frame in order, until f returns an error. r is overwritten after f
// returns: f copies what it keeps. r.Body aliases the frame.
func DecodeRequests(frame []byte, f func(id uint64, r *Request) error) error {
	d := codec.Decoder{B: frame}
	d.Version(frameVersion)
	var r Request
	for d.Err() == nil && len(d.B) > 0 {
		r = Request{}
		id := readRequest(&d, &r)
		if d.Err() != nil {
			break
		}
		if err := f(id, &r); err != nil {
			return err
		}
	}
	if err := d.Err(); err != nil {
		return fmt.Errorf("frame of requests: %w", err)
	}
	return nil
}

func readRequest(d *codec.Decoder, r *Request) (id uint64) {
	id = d.Uvarint()
	r.Kind = Kind(d.Byte())
	flags := d.Byte()
	r.Shard = shard.ID(d.Uvarint())
	r.Epoch = shard.Epoch{ConfVer: d.Uvarint(), Version: d.Uvarint()}
	r.Timeout = duration(d)
	r.Follower = flags&reqFollower != 0
	if flags&reqOp != 0 {
		r.Op = ReadOpID(d)
		r.Term = d.Uvarint()
		r.Since = d.Uvarint()
	}
	if flags&reqWishes != 0 {
		wishes := d.Byte()
		r.Wait, r.Trace = LockWait(wishes&^wishTrace), wishes&wishTrace != 0
	}
	r.Body = d.Bytes()
	if flags&^reqFlags != 0 {
		fail(d)
	}
	return id
}

// AppendReply appends one reply to the frame b; an empty b begins a new frame.
func AppendReply(b []byte, id uint64, r *Reply) []byte {
	return append(AppendReplyHead(b, id, r), r.Body...)
}

// AppendReplyHead is AppendReply without the body, which must follow.
func AppendReplyHead(b []byte, id uint64, r *Reply) []byte {
	if len(b) == 0 {
		b = append(b, frameVersion)
	}
	b = codec.AppendUvarint(b, id)
	b = codec.AppendUvarint(b, r.Term)
	b = codec.AppendUvarint(b, r.Applied)
	if r.Stages != nil {
		b = append(b, byte(errStages))
		b = codec.AppendBytes(b, r.Stages.append(nil))
	}
	b = AppendError(b, r.Err)
	return codec.AppendUvarint(b, uint64(len(r.Body)))
}

// DecodeReplies calls f for every reply of the frame in order, until f returns an error. r is overwritten after f
// returns: f copies what it keeps. r.Body aliases the frame; r.Err does not.
func DecodeReplies(frame []byte, f func(id uint64, r *Reply) error) error {
	d := codec.Decoder{B: frame}
	d.Version(frameVersion)
	var r Reply
	for d.Err() == nil && len(d.B) > 0 {
		id := d.Uvarint()
		r = Reply{Term: d.Uvarint(), Applied: d.Uvarint()}
		if len(d.B) > 0 && d.B[0] == byte(errStages) {
			r.Stages = readReplyStages(&d)
		}
		r.Err, r.Body = ReadError(&d), d.Bytes()
		if d.Err() != nil {
			break
		}
		if err := f(id, &r); err != nil {
			return err
		}
	}
	if err := d.Err(); err != nil {
		return fmt.Errorf("frame of replies: %w", err)
	}
	return nil
}

func readReplyStages(d *codec.Decoder) *Stages {
	d.Byte()
	s, err := readStages(d.Bytes())
	if err != nil {
		fail(d)
	}
	return s
}

// Append appends the encoding of o. The Client is random, so it has a fixed width.
func (o OpID) Append(b []byte) []byte {
	b = appendUint64(b, o.Client)
	return codec.AppendUvarint(b, o.Seq)
}

// ReadOpID reads what Append wrote from the front of d. The caller checks d.Err.
func ReadOpID(d *codec.Decoder) OpID { return OpID{Client: d.Uint64(), Seq: d.Uvarint()} }

func (o OpID) String() string { return fmt.Sprintf("%x/%d", o.Client, o.Seq) }

func appendUint64(b []byte, v uint64) []byte {
	return append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// micros rounds up; what is over already becomes the shortest time, because zero means no limit.
func micros(t time.Duration) uint64 {
	if t < 0 {
		return 1
	}
	us := uint64(t / time.Microsecond)
	if t%time.Microsecond != 0 {
		us++
	}
	return us
}

// duration reads what micros made.
func duration(d *codec.Decoder) time.Duration {
	us := d.Uvarint()
	if us > math.MaxInt64/uint64(time.Microsecond) {
		// Rounding up may pass the largest Duration by a part of a microsecond.
		if us == math.MaxInt64/uint64(time.Microsecond)+1 {
			return math.MaxInt64
		}
		fail(d)
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// fail makes d malformed.
func fail(d *codec.Decoder) {
	d.B = nil
	d.Byte()
}
