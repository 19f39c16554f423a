package node

import (
	"fmt"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
)

// tokenRecord is what a directory asks placement with, see beat.Newcomer and beat.Candidate.
const tokenRecord = "token"

// tokenOf is the token of a directory. It is written down before it is used, so that a node that dies before it hears the
// answer gets the same one afterwards, and a directory that was lost never does.
func tokenOf(v env.Env, e *engine.Engine) (uint64, error) {
	b, ok, err := e.Record(tokenRecord)
	if err != nil {
		return 0, fmt.Errorf("read record %s: %w", tokenRecord, err)
	}
	if ok {
		d := codec.Decoder{B: b}
		d.Version(1)
		token := d.Uvarint()
		if err := d.Done(); err != nil {
			return 0, fmt.Errorf("record %s: %w", tokenRecord, err)
		}
		return token, nil
	}
	token := max(1, v.Rand())
	if err := e.SetRecord(tokenRecord, codec.AppendUvarint([]byte{1}, token)); err != nil {
		return 0, fmt.Errorf("write record %s: %w", tokenRecord, err)
	}
	return token, nil
}
