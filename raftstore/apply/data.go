package apply

import (
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// data evaluates an entry of commands, each on the state that the one before it left.
//
// INVARIANT: the epoch is checked here a second time, for equality. Between propose and apply the range may have
// changed; then the commands were cut for another range, and none has any effect, not even of its stamp.
func (m *Machine) data(d *codec.Decoder, eval uint64, w Writer) (Result, error) {
	version, stamp := readDataHeader(d)
	stale := version != m.Desc.Epoch.Version && !bug.SkipEpochCheck.On()
	if d.Err() == nil && !stale {
		m.advance(stamp)
	}
	res := Result{Replies: m.Scratch.room(countCommands(*d))}
	var bodies []byte // of the replies: one array for the whole entry
	for d.Err() == nil && len(d.B) > 0 {
		op, body := readCommand(d)
		if d.Err() != nil {
			break
		}
		reply := Reply{Op: op}
		if stale {
			reply.Err = m.stale()
			res.Replies = append(res.Replies, reply)
			continue
		}
		at := len(bodies)
		out, err := m.command(body, eval, stamp, w, bodies)
		switch {
		case err == nil && out.plain:
			reply.Body, res.Wrote = plainBody, res.Wrote || out.wrote
		case err == nil:
			bodies = out.bodies
			reply.Body = bodies[at:len(bodies):len(bodies)]
			res.Wrote = res.Wrote || out.wrote
		case rejected(err):
			reply.Err = err
		default:
			return Result{}, err
		}
		res.Replies = append(res.Replies, reply)
	}
	return res, d.Err()
}

// keptReplies is how many replies a scratch keeps room for between entries.
const keptReplies = 16

// room returns an empty slice for n replies.
func (s *Scratch) room(n int) []Reply {
	if n > keptReplies {
		return make([]Reply, 0, n)
	}
	if cap(s.replies) < n {
		s.replies = make([]Reply, 0, n)
	}
	clear(s.replies[:cap(s.replies)])
	return s.replies[:0]
}

// countCommands says how many commands d still holds.
func countCommands(d codec.Decoder) (n int) {
	for d.Err() == nil && len(d.B) > 0 {
		readCommand(&d)
		n++
	}
	return n
}

// outcome is what one command came to: the reply's body appended to bodies, or, of a plain one, plainBody.
type outcome struct {
	bodies []byte
	plain  bool
	wrote  bool
}

// plainBody is the reply to a raw command all of whose conditions held.
var plainBody = raw.Result{Failed: -1}.Append(nil)

// rejected tells an answer to the command from a failure of the store.
func rejected(err error) bool {
	switch err.(type) {
	case *shard.InvalidError, *shard.KeyNotInShardError:
		return true
	}
	return err == shard.ErrNoFreshTime
}

// command evaluates one body. A body that this version does not know is refused, not broken: stores copy bodies from
// clients into the log, and no client may stop a shard.
func (m *Machine) command(body []byte, eval uint64, stamp shard.Millis, w Writer, bodies []byte) (outcome, error) {
	if len(body) == 0 {
		return outcome{}, &shard.InvalidError{Why: "the command is empty"}
	}
	switch body[0] {
	case raw.KindRaw:
		return m.raw(body, stamp, w, bodies)
	case raw.KindReclaim:
		return m.reclaim(body, w, bodies)
	}
	if eval >= evalTxn && isTxn(body[0]) {
		return m.txn(body, w, bodies)
	}
	return outcome{}, &shard.InvalidError{Why: "the command is of an unknown kind; use a client of this cluster's version"}
}

func (m *Machine) raw(body []byte, stamp shard.Millis, w Writer, bodies []byte) (outcome, error) {
	cmd := &m.Scratch.cmd
	defer m.Scratch.forget()
	if err := cmd.Decode(body); err != nil {
		return outcome{}, &shard.InvalidError{Why: err.Error()}
	}
	// The proposer checked this under the same Version. Checked again, because a key outside would be written into
	// another shard's data, where no later check finds it.
	if err := cmd.CheckIn(m.Desc); err != nil && !bug.SkipEpochCheck.On() {
		return outcome{}, err
	}
	// A TTL counted from an old shard time would be over as soon as the time is heard again.
	if stamp == 0 && cmd.HasTTL() {
		return outcome{}, shard.ErrNoFreshTime
	}
	r, wroteTTL, err := raw.Evaluate(cmd, w, m.Applied.Time)
	if err != nil {
		return outcome{}, err
	}
	if wroteTTL {
		m.Applied.Expiring = m.Applied.Index
	}
	if r.Failed < 0 {
		return outcome{plain: true, wrote: len(cmd.Ops) > 0}, nil
	}
	return outcome{bodies: r.Append(bodies)}, nil
}

// keptCommandItems is how many conditions and operations a scratch command may keep room for between entries.
const keptCommandItems = 64

// forget drops the references of the scratch command into the entry.
func (s *Scratch) forget() {
	if cap(s.cmd.Ops) > keptCommandItems || cap(s.cmd.Conditions) > keptCommandItems {
		s.cmd = raw.Command{}
		return
	}
	clear(s.cmd.Ops)
	clear(s.cmd.Conditions)
}

func (m *Machine) reclaim(body []byte, w Writer, bodies []byte) (outcome, error) {
	r, err := raw.DecodeReclaim(body)
	if err != nil {
		return outcome{}, &shard.InvalidError{Why: err.Error()}
	}
	for _, k := range r.Keys {
		if err := m.Desc.CheckKey(k); err != nil {
			return outcome{}, err
		}
	}
	deleted, clean, err := r.Evaluate(w, m.Applied.Time)
	if err != nil {
		return outcome{}, err
	}
	// INVARIANT: Expiring is zero only while no key of the shard has a TTL. The view at AsOf had none but Keys, those
	// have none now, and none was written since.
	if r.Final && clean && m.Applied.Expiring <= r.AsOf {
		m.Applied.Expiring = 0
	}
	return outcome{plain: true, wrote: deleted > 0}, nil
}
