package raw

import (
	"bytes"
	"fmt"
	"math"

	"github.com/skerrydb/skerry/shard"
)

// Evaluate executes cmd on w at shard time now, which already includes the stamp of the command's entry. wroteTTL
// reports whether a key with a TTL was written. Current of the result is a copy. An error means that the store is
// broken: it comes from reading, never from the command.
//
// A command without conditions reads nothing, which is what lets a batch of blind writes go without an index.
//
// INVARIANT: reads nothing but cmd, w and now; so every replica comes to the same writes and the same result.
func Evaluate(cmd *Command, w Writer, now shard.Millis) (res Result, wroteTTL bool, err error) {
	for i := range cmd.Conditions {
		cond := &cmd.Conditions[i]
		v, exists, err := live(w, cond.Key, now)
		if err != nil {
			return Result{}, false, err
		}
		if exists != cond.Exists || cond.HasValue && !bytes.Equal(v.User, cond.Value) {
			return Result{Failed: i, Exists: exists, Current: bytes.Clone(v.User)}, false, nil
		}
	}
	for i := range cmd.Ops {
		op := &cmd.Ops[i]
		switch op.Kind {
		case Put:
			v := Value{User: op.Value}
			if op.TTL > 0 {
				v.ExpireAt, wroteTTL = expireAt(now, ttlMillis(op.TTL)), true
			}
			w.Set(op.Key, v.Append(w.Scratch(v.Size())))
		case Delete:
			w.Delete(op.Key)
		case DeleteRange:
			w.DeleteRange(shard.Range{Start: op.Key, End: op.End})
		}
	}
	return Result{Failed: -1}, wroteTTL, nil
}

// live reads a key as conditions see it: an expired key is absent. The value is valid until the next call of w.
func live(w Writer, k shard.Key, now shard.Millis) (Value, bool, error) {
	b, ok, err := w.Get(k)
	if err != nil {
		return Value{}, false, fmt.Errorf("evaluate condition on %s: %w", short(k), err)
	}
	if !ok {
		return Value{}, false, nil
	}
	v, err := DecodeValue(b)
	if err != nil {
		return Value{}, false, fmt.Errorf("evaluate condition on %s: %w", short(k), err)
	}
	if v.Expired(now) {
		return Value{}, false, nil
	}
	return v, true, nil
}

// expireAt adds without wrapping.
func expireAt(now shard.Millis, ttl uint64) shard.Millis {
	if uint64(now) > math.MaxUint64-ttl {
		return math.MaxUint64
	}
	return now + shard.Millis(ttl)
}

// Evaluate deletes those of r.Keys that are expired at now. deleted counts them. clean reports that none of the keys
// has a TTL any more: with Final, and if no TTL was written since AsOf, no key of the shard has one. An error means
// that the store is broken.
func (r *Reclaim) Evaluate(w Writer, now shard.Millis) (deleted int, clean bool, err error) {
	clean = true
	for _, k := range r.Keys {
		b, ok, err := w.Get(k)
		if err != nil {
			return 0, false, fmt.Errorf("reclaim %s: %w", short(k), err)
		}
		if !ok {
			continue
		}
		v, err := DecodeValue(b)
		if err != nil {
			return 0, false, fmt.Errorf("reclaim %s: %w", short(k), err)
		}
		switch {
		case v.Expired(now):
			w.Delete(k)
			deleted++
		case v.ExpireAt != 0:
			clean = false
		}
	}
	return deleted, clean, nil
}
