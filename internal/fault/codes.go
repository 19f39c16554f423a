package fault

// The codes. Those of answers of stores stand in the reasons of an SDK's error and in logs.
const (
	NotLeader     Code = "SK1001"
	StaleEpoch    Code = "SK1002"
	NotReady      Code = "SK1003"
	NoSuchShard   Code = "SK1004"
	ServerBusy    Code = "SK1005"
	Refresh       Code = "SK1006"
	Overwritten   Code = "SK1007"
	KeyOutside    Code = "SK1008"
	Refused       Code = "SK1009"
	FateUnknown   Code = "SK1010"
	WrongCluster  Code = "SK1011"
	StoreStopped  Code = "SK1012"
	UseTwoPhase   Code = "SK1013"
	TooNew        Code = "SK1014"
	Closed        Code = "SK1015"
	NoFreshTime   Code = "SK1016"
	Unreachable   Code = "SK1017"
	NeverHappened Code = "SK1018"
	TxnRejected   Code = "SK1019"
	UnknownError  Code = "SK1020"

	NotFound      Code = "SK2001"
	Conflict      Code = "SK2002"
	Ambiguous     Code = "SK2003"
	CrossShard    Code = "SK2004"
	KeyTooLarge   Code = "SK2005"
	ValueTooLarge Code = "SK2006"
	Invalid       Code = "SK2007"
	Unavailable   Code = "SK2008"
	ClientClosed  Code = "SK2009"
	Interrupted   Code = "SK2010"
	UnknownShard  Code = "SK2011"

	TooOld      Code = "SK3001"
	TxnTooLarge Code = "SK3002"
	TxnDone     Code = "SK3003"
	ReadOnly    Code = "SK3004"
	NotCounter  Code = "SK3005"
	TxnConflict Code = "SK3006"

	DirInUse     Code = "SK4001"
	DirForeign   Code = "SK4002"
	DirFormat    Code = "SK4003"
	Corrupt      Code = "SK4004"
	NoRoom       Code = "SK4005"
	PortInUse    Code = "SK4006"
	DirCluster   Code = "SK4007"
	MemberLost   Code = "SK4008"
	MemberOther  Code = "SK4009"
	StoreRemoved Code = "SK4010"
	MemberGone   Code = "SK4011"
	DirEmpty     Code = "SK4012"
	StoreRefused Code = "SK4013"
	BadDir       Code = "SK4014"
	ProgramOld   Code = "SK4015"
	ProgramNew   Code = "SK4016"
	Diverged     Code = "SK4017"

	DiskFailed Code = "SK5001"
	DiskHangs  Code = "SK5002"
	DiskLow    Code = "SK5003"

	PlainText    Code = "SK6001"
	NoCert       Code = "SK6002"
	BadAuthority Code = "SK6003"
	CertExpired  Code = "SK6004"
	CertName     Code = "SK6005"
	CertRefused  Code = "SK6006"
	HandshakeErr Code = "SK6007"
	CertFiles    Code = "SK6008"

	UnknownKey   Code = "SK7001"
	UnknownEnv   Code = "SK7002"
	BadValue     Code = "SK7003"
	BadConfig    Code = "SK7004"
	BadFile      Code = "SK7005"
	BadUsage     Code = "SK7006"
	NobodyThere  Code = "SK7007"
	UnknownFault Code = "SK7008"
	BadSource    Code = "SK7009"
	BadTarget    Code = "SK7010"
	Unconfirmed  Code = "SK7011"
	GoesOn       Code = "SK7012"
	NotReached   Code = "SK7013"
	NodesBehind  Code = "SK7014"
)

// Entry is what there is to say about a code.
type Entry struct {
	Code   Code   `json:"code"`
	Means  string `json:"means"`
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
}

// Group is a part of the table.
type Group struct {
	Title   string
	Entries []Entry
}

// Find looks a code up.
func Find(code Code) (Entry, bool) {
	for _, g := range Table() {
		for _, e := range g.Entries {
			if e.Code == code {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// Table is everything, in the order of the codes.
func Table() []Group {
	return []Group{
		{"Calls of the SDK", calls()}, {"Transactions", transactions()}, {"Answers of stores", answers()},
		{"Starting a node", starting()}, {"Disks", disks()}, {"Security", security()}, {"Settings and commands", settings()},
	}
}

func answers() []Entry {
	return []Entry{
		{NotLeader, "the replica that was asked does not lead its shard; nothing happened", "a leader changed: an election, a balance of leaders, a node that stops", "nothing: the SDK goes to the leader. If it stands in an error that ended a call, the shard has had no leader for long: `skerry ctl status`"},
		{StaleEpoch, "the request was made for an older form of the shard; nothing happened", "the shard was split or its replicas changed since the client learnt of it", "nothing: the answer carries what is current, and the SDK cuts the request again"},
		{NotReady, "the replica is behind what the request knows, or has not applied yet what it must know; nothing happened", "a new leader, a replica that waits for its data, or a node that has just started", "nothing: the SDK tries again. If it lasts, `skerry ctl shard get KEY` shows which replica is behind"},
		{NoSuchShard, "the store holds no replica of that shard; nothing happened", "the replica moved away", "nothing: the SDK asks placement. If it lasts, `skerry ctl shard list` shows where the shard is"},
		{ServerBusy, "a bound of the store was reached; nothing happened, and the answer says how long to wait", "more work than the store or one shard can take: a slow disk, a hot shard, too many clients", "send less at once, or add stores; `skerry ctl store list` shows a slow disk, `skerry ctl shard list` a hot shard"},
		{Refresh, "the write named a term or an index that the leader cannot vouch for; nothing happened", "the leader changed, or the write waited so long that the log was cut", "nothing: the SDK makes a fresh attempt"},
		{Overwritten, "the write's entry was replaced by another leader's; nothing happened", "the leader lost its majority in between", "nothing: the SDK makes a fresh attempt"},
		{KeyOutside, "a key lies outside the shard that was asked; nothing happened", "the client cut its request by an old route", "nothing: the SDK cuts it again"},
		{Refused, "a store or placement refuses the request; trying again does not help", "the text says what is wrong with it", "do what the text says"},
		{FateUnknown, "whether an attempt of a write took effect can never be known", "the shard that knew is gone, or its log was cut before anybody asked", "see SK2003"},
		{WrongCluster, "the other side belongs to another cluster; nothing happened", "an address of another cluster: a copied configuration, or a machine that was set up anew", "correct the addresses (`--addr`, `--join`), or start with the directory of that cluster (`--data`)"},
		{StoreStopped, "the store has stopped because going on could damage data", "a write, sync or checksum failed on its disk", "read the reason in the log of its node; the SDK goes to other replicas"},
		{UseTwoPhase, "the leader may not compute commit timestamps now; nothing happened", "it has not heard a timestamp since it became leader", "nothing: the SDK commits in two phases"},
		{TooNew, "a timestamp lies in the future; nothing happened", "`db.At` with a timestamp that placement has not issued, or clocks of members that differ by more than a second", "use timestamps that `db.Timestamp` gave; check the members' clocks"},
		{Closed, "what was asked is shutting down; nothing happened", "a node stops", "nothing: the SDK goes elsewhere"},
		{NoFreshTime, "the store has not heard placement's time for a minute: writes with a TTL and transactions are refused", "placement has no leader, or the store cannot reach it", "bring placement back: `skerry ctl member list`"},
		{Unreachable, "nobody answered, and whether the request arrived is not known", "a node is down, or the network is cut", "the SDK goes on by itself; if it lasts, start the node or mend the network"},
		{NeverHappened, "an attempt was asked about and will never take effect", "its leader changed before it was proposed", "nothing: the SDK makes a fresh attempt"},
		{TxnRejected, "a command of a transaction was rejected; nothing was done", "another transaction, or a bound; the text says which", "see the codes of transactions, SK3001 to SK3006"},
		{UnknownError, "the other side returned an error that this program does not know", "it is of a newer version", "use the same version on both sides"},
	}
}

func calls() []Entry {
	return []Entry{
		{NotFound, "the key does not exist, or is expired", "it was never written, or deleted, or its time to live is over", "nothing, if that can be: test with errors.Is(err, client.ErrNotFound)"},
		{Conflict, "a condition did not hold; nothing was written", "somebody else wrote the key in between, or the condition was wrong", "decide again with the current value, which the error carries (*client.ConflictError)"},
		{Ambiguous, "the write may or may not have happened, and what became of it could not be learnt in time", "no answer came, and those who knew are gone or were not reached before the time was over", "read the key before you write it again, or write with a condition. See docs/at-most-once.md"},
		{CrossShard, "the keys of one Atomic lie in more than one shard; nothing was written", "a shard boundary lies between them", "use a transaction (db.Update), or give keys that belong together a common prefix"},
		{KeyTooLarge, "a key is longer than 8 KiB; nothing was sent", "", "use a shorter key, such as a hash"},
		{ValueTooLarge, "a value is larger than 8 MiB; nothing was sent", "", "cut the value into several keys"},
		{Invalid, "no shard could ever serve this request; trying again does not help", "the text says what is wrong: an empty key, a time to live that is not above zero, a range that ends before it begins", "correct the call"},
		{Unavailable, "nobody could serve the call before its time was over; of a write: nothing happened", "a shard without a majority, a cluster that starts, a network that is cut, or a deadline that was too short; the error lists the last attempts", "try again later or with more time; `skerry ctl status` says what is wrong with the cluster"},
		{ClientClosed, "the client was closed; of a write: nothing happened", "DB.Close was called while calls were under way", "close it after them"},
		{Interrupted, "the caller's context ended; of a write: nothing happened", "the caller cancelled it", "nothing"},
		{UnknownShard, "there is no such shard; nothing was done", "a mistyped number, or a cluster that was set up anew", "`skerry ctl shard list` shows which there are"},
	}
}

func transactions() []Entry {
	return []Entry{
		{TooOld, "the timestamp is below the safe point: versions that it wants may be collected", "a transaction or a read at a timestamp that is older than the history that is kept", "begin anew, or read at a later timestamp"},
		{TxnTooLarge, "the transaction would exceed its bounds; nothing was written", "too many keys or bytes in one transaction", "cut it into several"},
		{TxnDone, "the transaction is over already", "a call on a transaction after its Commit or Rollback", "begin another one"},
		{ReadOnly, "a write in a transaction that only reads", "db.View was used", "use db.Update"},
		{NotCounter, "an Add met a value that is not 8 bytes long; nothing was written", "the key holds something else than a counter", "put 8 bytes, big-endian, first, or delete the key"},
		{TxnConflict, "another transaction stood in the way; nothing of this one was written", "both wrote one key, or one waited longer than the other's lock lives", "run it again; db.Update does so by itself"},
	}
}

func starting() []Entry {
	return []Entry{
		{DirInUse, "the directory is in use by another process", "a node runs there", "stop it, or name another directory with --data"},
		{DirForeign, "the directory is not empty and holds no store", "a mistyped path", "name an empty directory, or that of the store"},
		{DirFormat, "the directory was written in another format", "another version of skerry wrote it", "use the version that wrote it, or a newer one"},
		{Corrupt, "what is on the disk is not what was written there", "a disk that fails, a directory that was changed or restored from a copy by hand", "do not repair it: remove the store from the cluster (`skerry ctl store remove`) and start an empty one in its place. `skerry debug check` says what is damaged"},
		{NoRoom, "the disk is too full to open the store", "other files, or more data than the disk holds", "make room and start it again; nothing that was acknowledged is lost"},
		{PortInUse, "the address cannot be listened on", "another process listens there, or the address is of another machine", "stop the other one, or choose another with --listen"},
		{DirCluster, "the directory belongs to another cluster than what is beside it or answers at --join", "a directory or an address of another cluster", "correct --data or --join; nothing was changed"},
		{MemberLost, "a placement member with an empty directory cannot come back under its number", "its directory was lost", "start it as a new member with --join and --replace, without --member-id, --members and --bootstrap"},
		{MemberOther, "the placement directory belongs to another member", "a wrong --member-id or --data", "correct it"},
		{StoreRemoved, "the store was removed from the cluster: its shards live elsewhere", "somebody ran `skerry ctl store remove`", "wipe its directory to bring the machine back as a new store"},
		{MemberGone, "the placement member was removed: its number never comes back", "somebody removed or replaced it", "empty the placement directory and start with --join, or run the node as a store alone"},
		{DirEmpty, "the placement directory is empty and may not begin a cluster", "a first start without --bootstrap, or a directory that was lost", "the first time start with --bootstrap; a lost member comes back with --join and --replace"},
		{StoreRefused, "placement refuses this store", "the text says why: it was never registered, or a copy of its directory is in use elsewhere", "do what the text says"},
		{BadDir, "the directory cannot be made, read or written", "a path through a file, or rights that are missing", "name a directory that can be written with --data; nothing was changed"},
		{ProgramOld, "the cluster has a version that this program does not know", "an older program was started after the upgrade was finalized, or on a machine that was left out of it", "start a program at least as new as that of the other nodes: `skerry ctl version show` lists them. The version is never lowered"},
		{ProgramNew, "the cluster has a version that is too old for this program", "releases were skipped, or the last upgrade was never finalized", "start the program that was there before, run `skerry ctl version finalize`, and upgrade by way of the release between"},
		{Diverged, "the data of this store differ from those of the majority of a shard's replicas, and it must not be served from any more", "memory or a disk that damages what it is given, files that were changed by hand, or a defect of skerry", "do not repair it: keep a copy of the directory for whoever looks for the cause, remove the store from the cluster (`skerry ctl store remove`) and start an empty one in its place; for a placement member start another one with --replace"},
	}
}

func disks() []Entry {
	return []Entry{
		{DiskFailed, "a write or a sync failed, and the store stopped: going on could lose what it promised", "the disk is full, or fails", "`no space left on device`: make room and start it again. Anything else: replace the disk and the store"},
		{DiskHangs, "the disk did not finish a sync for so long that the store gave up", "a disk, a controller or a network volume that hangs", "find out why, and start it again when it works; its shards were led elsewhere after a second"},
		{DiskLow, "the disk of a store is nearly full: what adds data is refused, deletes and moves are not; nothing happened", "more data than the store's disk can hold, or other files on it; see `--low-space`", "delete keys, move shards away (`skerry ctl shard move`), add a store, or make room; writes go on by themselves"},
	}
}

func security() []Entry {
	return []Entry{
		{PlainText, "one side speaks TLS and the other does not", "a setting is missing on one of them", "client: --tls-ca (client.WithTLS); server: --tls-cert and --tls-key"},
		{NoCert, "the server asks for a client certificate", "it was started with --tls-ca", "name one that its authority signed with --tls-cert and --tls-key"},
		{BadAuthority, "a certificate is signed by nobody who is trusted", "a wrong --tls-ca, or a certificate of another authority", "name the authority that signed it"},
		{CertExpired, "a certificate is not valid now", "it expired, or a clock is wrong", "renew it, or set the clocks right; no restart is needed"},
		{CertName, "a certificate is for another name than was dialled", "the address that is dialled is not in the certificate", "dial it by such a name, use --tls-server-name, or make a certificate with the name"},
		{CertRefused, "the other side refused our certificate", "it is not for this purpose, or not signed by its authority", "use one that its --tls-ca signed and that is for client authentication"},
		{HandshakeErr, "the TLS handshake failed", "the text says what the other side said", "see the log of the other side"},
		{CertFiles, "the files of certificates cannot be used", "a wrong path, or a key of another certificate", "check --tls-cert, --tls-key and --tls-ca"},
	}
}

func settings() []Entry {
	return []Entry{
		{UnknownKey, "the file names a setting that does not exist", "a typing error; the text names the nearest one", "correct it; `skerry config print` lists all"},
		{UnknownEnv, "a variable SKERRY_* is no setting", "a typing error; the text names the nearest one", "correct or unset it"},
		{BadValue, "a setting has a value that it cannot have", "the text says which and why", "correct it"},
		{BadConfig, "the settings do not fit together", "the text says which", "correct them; `skerry config check` tries them"},
		{BadFile, "a file of settings cannot be read", "a wrong path, or wrong TOML or YAML", "correct it"},
		{BadUsage, "there is no such command, flag or argument", "a typing error", "`skerry COMMAND --help`"},
		{NobodyThere, "nobody listens at the address", "no node runs there", "start one, or name another with --addr or SKERRY_ADDR"},
		{UnknownFault, "there is no such code", "a typing error, or a newer version", "`skerry explain-error` lists all"},
		{BadSource, "what is to be read cannot be, or a part of it cannot be stored; what came before it may be written", "a wrong path, a damaged file, a record that is no key and value, or the checkpoint of another import", "correct what the text names and start the same command again: what is written again has the same value"},
		{BadTarget, "an export cannot be written, or not all of it; nothing in the cluster was touched", "a path that cannot be written, a disk that is full, or a file that is there already", "name another file or directory, make room, or say --overwrite"},
		{Unconfirmed, "a command that cannot be undone was not confirmed; nothing was done", "it was started without --yes", "look at what the text says would happen, and say --yes if it is meant"},
		{GoesOn, "the command stopped waiting; what it began goes on", "it was interrupted, or its time was over", "the text says how to look how far it is"},
		{NotReached, "what was begun ended without its goal; the data is where it was, or on its way back", "somebody cancelled it, something more urgent came, or a store went away meanwhile", "look at the shard (`skerry ctl shard get`), and ask again"},
		{NodesBehind, "the version of the cluster cannot be raised yet; nothing was changed", "a node runs an older program, or is not heard and may come back with any", "the text names the nodes: upgrade them, start them, or remove those that are gone for good"},
	}
}
