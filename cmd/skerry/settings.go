package main

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/internal/cli/config"
	"github.com/skerrydb/skerry/internal/cli/output"
)

// defaultAddr is where a node listens and where commands look for one.
const defaultAddr = "127.0.0.1:4400"

// The keys of settings, as flags, in files, and with SKERRY_ before them in the environment.
const (
	keyAddr          = "addr"
	keyTimeout       = "timeout"
	keyListen        = "listen"
	keyAdvertise     = "advertise"
	keyData          = "data"
	keyMemory        = "memory"
	keyMemberID      = "member-id"
	keyMembers       = "members"
	keyBootstrap     = "bootstrap"
	keyJoin          = "join"
	keyMember        = "member"
	keyReplace       = "replace"
	keyReplicas      = "replicas"
	keyStores        = "stores"
	keySplitKeys     = "split-keys"
	keySplitKeysFile = "split-keys-file"
	keyCache         = "cache"
	keyMemTable      = "mem-table"
	keyMemoryBudget  = "memory-budget"
	keyCapacity      = "capacity"
	keyLowSpace      = "low-space"
	keySnapshotRate  = "snapshot-rate"
	keySplitSize     = "split-size"
	keySplitLoad     = "split-load"
	keySlowOperation = "slow-operation"
	keyCheckEvery    = "check-every"
	keyCheckRate     = "check-rate"
	keyDownAfter     = "down-after"
	keyMaxReceiving  = "max-receiving"
	keyMaxSending    = "max-sending"
	keyAdmin         = "admin"
	keyTLS           = "tls"
	keyTLSCert       = "tls-cert"
	keyTLSKey        = "tls-key"
	keyTLSCA         = "tls-ca"
	keyTLSServerName = "tls-server-name"
	keyStopTimeout   = "stop-timeout"
	keyLogLevel      = "log-level"
	keyLogFormat     = "log-format"
)

// settings is the table of everything that can be set by file, environment or flag.
func settings() *config.Registry {
	return config.New(
		config.Setting{Key: keyAddr, Kind: config.List, Default: defaultAddr, Usage: "addresses of any nodes of the cluster", Check: checkAddr},
		config.Setting{Key: keyTimeout, Kind: config.Duration, Default: "10s", Usage: "how long one request is tried"},
		config.Setting{Key: keyListen, Kind: config.Text, Default: defaultAddr, Usage: "address to listen on", Check: checkAddr},
		config.Setting{Key: keyAdvertise, Kind: config.Text, Usage: "address that others dial (default the one listened on)", Check: checkAddr},
		config.Setting{Key: keyData, Kind: config.Text, Usage: "directory of the data (default ./" + defaultDataDir + ")"},
		config.Setting{Key: keyMemory, Kind: config.Bool, Usage: "keep everything in memory; it is lost at the end"},
		config.Setting{Key: keyMemberID, Kind: config.Number, Usage: "number of this placement member, 1 to 5"},
		config.Setting{Key: keyMembers, Kind: config.List, Usage: `all first placement members, such as "1=a:4400,2=b:4400,3=c:4400"`, Check: checkMember},
		config.Setting{Key: keyBootstrap, Kind: config.Bool, Usage: "allow an empty directory to begin a new cluster"},
		config.Setting{Key: keyJoin, Kind: config.List, Usage: "addresses of nodes of the cluster to join", Check: checkAddr},
		config.Setting{Key: keyMember, Kind: config.Bool, Usage: "with --join: bring a new placement member, too"},
		config.Setting{Key: keyReplace, Kind: config.Number, Usage: "with --join: number of the placement member in whose place a new one comes"},
		config.Setting{Key: keyReplicas, Kind: config.Number, Usage: "copies of each shard (default 3, of a lone node 1)"},
		config.Setting{Key: keyStores, Kind: config.Number, Usage: "stores to wait for before the first shards are made (default as many as replicas)"},
		config.Setting{Key: keySplitKeys, Kind: config.List, Usage: `keys at which the first shards are cut; \xNN for any byte, \x2c for a comma`},
		config.Setting{Key: keySplitKeysFile, Kind: config.Text, Usage: "file with one split key per line"},
		config.Setting{Key: keyCache, Kind: config.Size, Usage: "cache for blocks of data (default an eighth of the machine's memory, 64MiB to 2GiB)", Check: sizeWithin("1MiB", "1TiB")},
		config.Setting{Key: keyMemTable, Kind: config.Size, Default: "64MiB", Usage: "size of a memtable; up to four exist", Check: sizeWithin("1MiB", "2GiB")},
		config.Setting{Key: keyMemoryBudget, Kind: config.Size, Usage: "memory for what is under way (default a quarter of the machine's, at most 1GiB)", Check: sizeWithin("64MiB", "1TiB")},
		config.Setting{Key: keyCapacity, Kind: config.Size, Usage: "how much of its disk a store may take (default all of it)", Check: sizeWithin("1GiB", "1024TiB")},
		config.Setting{Key: keyLowSpace, Kind: config.Size, Usage: "below so many free bytes of its disk a store takes no more data (default a twentieth of that)"},
		config.Setting{Key: keySnapshotRate, Kind: config.Size, Usage: "bytes a second received in snapshots (default no limit)"},
		config.Setting{Key: keySplitSize, Kind: config.Size, Default: "96MiB", Usage: "size from which on shards are split; 0 is never", Check: orZero(sizeWithin("1MiB", "1TiB"))},
		config.Setting{Key: keySplitLoad, Kind: config.Number, Default: "5000", Usage: "requests a second from which on shards are split; 4 KiB count as one; 0 is never"},
		config.Setting{Key: keySlowOperation, Kind: config.Duration, Default: "500ms", Usage: "log operations that take a store longer, with where the time went; 0 is never"},
		config.Setting{Key: keyCheckEvery, Kind: config.Duration, Default: "24h", Usage: "how often all data are checked in the background; 0 is never", Check: checkEvery},
		config.Setting{Key: keyCheckRate, Kind: config.Size, Default: "8MiB", Usage: "bytes a second that are read for that", Check: sizeWithin("64KiB", "1TiB")},
		config.Setting{Key: keyDownAfter, Kind: config.Duration, Default: "30m", Usage: "how long a store may be silent before its replicas are made anew elsewhere"},
		config.Setting{Key: keyMaxReceiving, Kind: config.Number, Default: "4", Usage: "shards that are copied to one store at a time", Check: atLeastOne},
		config.Setting{Key: keyMaxSending, Kind: config.Number, Default: "4", Usage: "shards that are copied from one store at a time", Check: atLeastOne},
		config.Setting{Key: keyAdmin, Kind: config.Text, Usage: "address of the HTTP listener for /metrics, /livez, /readyz, /debug/pprof (default none)", Check: checkAddr},
		config.Setting{Key: keyTLS, Kind: config.Bool, Usage: "speak TLS, trusting the system's authorities unless --tls-ca names another"},
		config.Setting{Key: keyTLSCert, Kind: config.Text, Usage: "file of the certificate to show, in PEM"},
		config.Setting{Key: keyTLSKey, Kind: config.Text, Usage: "file of its private key"},
		config.Setting{Key: keyTLSCA, Kind: config.Text, Usage: "file of the authorities that others' certificates must be signed by"},
		config.Setting{Key: keyTLSServerName, Kind: config.Text, Usage: "name that servers' certificates must be valid for (default the host dialled)"},
		config.Setting{Key: keyStopTimeout, Kind: config.Duration, Default: "30s", Usage: "how long a node that is stopped may take to give its leaderships away; 0 is no time"},
		config.Setting{Key: keyLogLevel, Kind: config.Text, Default: "info", Usage: "debug, info, warn or error", Check: checkLogLevel},
		config.Setting{Key: keyLogFormat, Kind: config.Text, Default: "text", Usage: "text or json", Check: oneOf("text", "json")},
	)
}

// The groups of settings that commands have flags for.
var (
	clientKeys    = []string{keyAddr, keyTimeout, keyTLS, keyTLSCert, keyTLSKey, keyTLSCA, keyTLSServerName}
	nodeKeys      = []string{keyJoin, keyListen, keyAdvertise, keyData, keyMemory, keyAdmin, keyTLSCert, keyTLSKey, keyTLSCA, keyTLSServerName, keyStopTimeout, keyCheckEvery, keyCheckRate, keyLogLevel, keyLogFormat}
	placementKeys = []string{keyMemberID, keyMembers, keyBootstrap, keyMember, keyReplace, keyReplicas, keyStores, keySplitKeys, keySplitKeysFile, keyDownAfter, keyMaxReceiving, keyMaxSending}
	storeKeys     = []string{keyCache, keyMemTable, keyMemoryBudget, keyCapacity, keyLowSpace, keySnapshotRate, keySplitSize, keySplitLoad, keySlowOperation}
)

func checkAddr(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /") {
		return fmt.Errorf("%q is not an address; write it like host:4400", text)
	}
	return nil
}

func checkMember(text string) error {
	_, _, err := parseMember(text)
	return err
}

// parseMember reads "1=host:port".
func parseMember(text string) (id uint64, addr string, err error) {
	number, addr, ok := strings.Cut(text, "=")
	id, err = strconv.ParseUint(strings.TrimSpace(number), 10, 64)
	if !ok || err != nil || id == 0 {
		return 0, "", fmt.Errorf("%q is not a member; write it like 1=host:4400", text)
	}
	addr = strings.TrimSpace(addr)
	return id, addr, checkAddr(addr)
}

// sizeWithin refuses sizes with which a store would not work, or not start.
func sizeWithin(least, most string) func(string) error {
	return func(text string) error {
		n, err := output.ParseSize(text)
		lo, _ := output.ParseSize(least)
		hi, _ := output.ParseSize(most)
		if err == nil && (n < lo || n > hi) {
			err = fmt.Errorf("%s is not within %s and %s; leave it out for the default", text, least, most)
		}
		return err
	}
}

// orZero lets zero pass, which means something else.
func orZero(check func(string) error) func(string) error {
	return func(text string) error {
		if n, err := output.ParseSize(text); err == nil && n == 0 {
			return nil
		}
		return check(text)
	}
}

// minCheckEvery keeps a store from doing nothing else.
const minCheckEvery = time.Second

func checkEvery(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d != 0 && d < minCheckEvery {
		return fmt.Errorf("%s: at least %s, or 0 for never", text, minCheckEvery)
	}
	return nil // what is no duration was refused before
}

func atLeastOne(text string) error {
	if n, err := strconv.ParseUint(text, 10, 31); err != nil || n == 0 {
		return fmt.Errorf("%s: give at least 1; `skerry ctl pause-scheduling` stops copying for a while", text)
	}
	return nil
}

func checkLogLevel(text string) error {
	var l slog.Level
	if l.UnmarshalText([]byte(text)) != nil {
		return fmt.Errorf("%q is not a level; write debug, info, warn or error", text)
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(text string) error {
		if slices.Contains(words, text) {
			return nil
		}
		return fmt.Errorf("%q is not one of %s", text, strings.Join(words, ", "))
	}
}
