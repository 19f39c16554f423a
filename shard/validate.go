package shard

import "fmt"

// Validate reports the first law of descriptors that d breaks. Every descriptor that is stored or sent obeys them, so
// an error means a bug or damaged bytes, never a user's mistake.
//
// INVARIANT: no store holds two replicas of one shard. Two would share one data span, and one of them could be removed
// under the other.
func (d *Descriptor) Validate() error {
	if d.ID == 0 {
		return fmt.Errorf("descriptor of %s: zero shard id", d.Range)
	}
	if d.Range.Empty() {
		return fmt.Errorf("descriptor of %s: empty range %s", d.ID, d.Range)
	}
	for i, r := range d.Replicas {
		if r.ID == 0 || r.Store == 0 {
			return fmt.Errorf("descriptor of %s: zero id in replica %s", d.ID, r)
		}
		if r.Role < Voter || r.Role > DemotingVoter {
			return fmt.Errorf("descriptor of %s: unknown role in replica %s", d.ID, r)
		}
		if i > 0 && r.ID <= d.Replicas[i-1].ID {
			return fmt.Errorf("descriptor of %s: replica %s is not after %s", d.ID, r, d.Replicas[i-1])
		}
		for _, o := range d.Replicas[:i] {
			if o.Store == r.Store {
				return fmt.Errorf("descriptor of %s: replicas %s and %s on one store", d.ID, o, r)
			}
		}
	}
	if oldHalf, newHalf := d.halves(); oldHalf == 0 || newHalf == 0 {
		return fmt.Errorf("descriptor of %s: no voter", d.ID)
	}
	return nil
}

// halves counts the voters of the old and of the new half of the configuration. Outside a joint configuration they are
// the same voters.
func (d *Descriptor) halves() (oldHalf, newHalf int) {
	for _, r := range d.Replicas {
		if r.Role == Voter || r.Role == DemotingVoter {
			oldHalf++
		}
		if r.Role == Voter || r.Role == IncomingVoter {
			newHalf++
		}
	}
	return oldHalf, newHalf
}

// CheckKey returns a *KeyNotInShardError if k lies outside d's range.
func (d *Descriptor) CheckKey(k Key) error {
	if d.Range.Contains(k) {
		return nil
	}
	return &KeyNotInShardError{Shard: d.ID, Key: k.Clone(), Range: d.Range}
}

// CheckEpoch compares the epoch of a request with d's: the Version, and with needConf the ConfVer too.
//
// INVARIANT: only equality passes, so that a request is never served under another range or membership than the one by
// which it was cut. An older request gets a *StaleEpochError with d, from which the caller learns; a newer one means
// that this replica is behind, gets a *NotReadyError, and the caller keeps its newer route.
func (d *Descriptor) CheckEpoch(req Epoch, needConf bool) error {
	have := d.Epoch
	if !needConf {
		have.ConfVer, req.ConfVer = 0, 0
	}
	switch {
	case req == have:
		return nil
	case req.Newer(have):
		return &NotReadyError{Shard: d.ID, Epoch: d.Epoch, Why: "the request knows a newer epoch"}
	}
	return &StaleEpochError{Shard: d.ID, Current: []*Descriptor{d}}
}
