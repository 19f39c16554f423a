package group

import "errors"

// Refusals. After each of them nothing has happened.
var (
	// ErrNotLeader is returned where only a leader can act.
	ErrNotLeader = errors.New("this replica does not lead its group")
	// ErrTransferring is returned by Propose and ProposeChange while leadership is being handed over. It ends with the
	// term, or after one election timeout.
	ErrTransferring = errors.New("leadership is being transferred")
	// ErrBusy is returned by Propose and ProposeChange while Config.MaxUncommittedBytes are uncommitted.
	ErrBusy = errors.New("too many uncommitted bytes in the log")
	// ErrNotReady is returned by ReadIndex until an entry of the leader's own term is applied.
	ErrNotReady = errors.New("no entry of the leader's own term is applied yet")
	// ErrPromised is returned by Campaign, ForgetLeader and Step while this replica keeps still for a leader that it
	// heard less than one election timeout ago.
	ErrPromised = errors.New("a leader was heard less than one election timeout ago")
	// ErrNotVoter is returned by TransferLeader for a replica that is not a voter of the incoming configuration.
	ErrNotVoter = errors.New("not a voter of the incoming configuration")
	// ErrEmpty is returned by Propose for an entry without data: raft keeps those for itself, and a membership change
	// that it refuses is turned into one.
	ErrEmpty = errors.New("an entry needs data")
	// ErrAutoLeave is returned by ProposeChange for a joint change that is not explicit.
	ErrAutoLeave = errors.New("a joint change must be explicit")
)

// Reasons for which Step and Deliver drop a message. Dropping a message is always safe.
var (
	// ErrUnexpected is returned by Step for types that do not belong on the network, and by Deliver for others than
	// the responses of local storage.
	ErrUnexpected = errors.New("unexpected type of raft message")
	// ErrMalformed is wrapped with what is wrong with a message.
	ErrMalformed = errors.New("malformed raft message")
	// ErrBeyondLog is returned by Step for a heartbeat whose commit index lies above the last entry here. Either the
	// message is malformed, or this store has lost entries that it once acknowledged.
	ErrBeyondLog = errors.New("leader counts on entries that this log does not hold")
	// ErrStranger is returned by Step for a response of a replica that is not in the configuration.
	ErrStranger = errors.New("response of a replica that is not in the configuration")
)
