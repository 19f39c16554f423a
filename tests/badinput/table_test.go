package badinput

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Words that many rows share.
const (
	nothingSent    = "nothing was sent"
	nothingWritten = "nothing was written"
	nothingDone    = "nothing was done"
	nothingStarted = "nothing was started or made"
	noOpened       = "the directory is as it was; the right node starts on it and has everything"
	leftAsItIs     = "nothing was changed: not one file"
)

var table = []Section{
	{Title: "Keys, values and ranges", World: "cluster", Cases: []Case{
		{Name: "empty key", Does: "`Put` with an empty key", Code: fault.Invalid, Says: []string{"the key is empty"}, Helps: "give it at least one byte", Safe: nothingSent,
			Run: func(r *run) error { return r.db().Put(r.ctx(), nil, []byte("x")) }},
		{Name: "key too large", Does: "`Put` with a key of 8,193 bytes", Code: fault.KeyTooLarge, Says: []string{"8193 bytes, at most 8192"}, Helps: "use a shorter key", Safe: nothingSent,
			Run: func(r *run) error {
				return r.db().Put(r.ctx(), bytes.Repeat([]byte("k"), shard.MaxKeyBytes+1), nil)
			}},
		{Name: "value too large", Does: "`Put` with a value of more than 8 MiB", Code: fault.ValueTooLarge, Says: []string{"8388609 bytes, at most 8388608"}, Helps: "cut the value into several keys", Safe: "the key holds what it held",
			Run: func(r *run) error {
				return r.db().Put(r.ctx(), canaries()[0], make([]byte, shard.MaxValueBytes+1))
			}},
		{Name: "value on standard input too large", CLI: "put canary/0 -", In: string(make([]byte, shard.MaxValueBytes+1)), Code: fault.ValueTooLarge, Says: []string{"more than 8388608 bytes"}, Helps: "cut it into several keys", Safe: "the key holds what it held"},
		{Name: "one bad key of a batch", Does: "`PutMany` of two keys, one of them empty", Code: fault.Invalid, Says: []string{"1 of 2 keys", "the key is empty"}, Helps: "give it at least one byte", Safe: "the other key is written, and the error has one entry per key",
			Run: func(r *run) error {
				err := r.db().PutMany(r.ctx(), []client.KV{{Key: []byte("batch/good"), Value: []byte("1")}, {Key: nil, Value: []byte("2")}})
				if v, gerr := r.db().Get(r.ctx(), []byte("batch/good")); gerr != nil || string(v) != "1" {
					r.Errorf("the good key: %q, %v", v, gerr)
				}
				var be *client.BatchError
				if !errors.As(err, &be) || len(be.Errs) != 2 || be.Errs[0] != nil {
					r.Errorf("the errors of the batch: %v", err)
				}
				return err
			}},
		{Name: "command of too many operations", Does: "`Atomic` with 4,097 operations", Code: fault.Invalid, Says: []string{"4097 operations", "at most 4096"}, Helps: "use smaller batches", Safe: nothingSent,
			Run: func(r *run) error {
				return r.db().Atomic(r.ctx(), func(b *client.Batch) {
					for i := range raw.MaxOps + 1 {
						b.Put(fmt.Appendf(nil, "atomic/%d", i), nil)
					}
				})
			}},
		{Name: "command of too many bytes", Does: "`Atomic` with more than 16 MiB", Code: fault.Invalid, Says: []string{"the command has", "at most 16777216"}, Helps: "use smaller batches", Safe: nothingSent,
			Run: func(r *run) error {
				return r.db().Atomic(r.ctx(), func(b *client.Batch) {
					for i := range 3 {
						b.Put(fmt.Appendf(nil, "atomic/%d", i), make([]byte, shard.MaxValueBytes))
					}
				})
			}},
		{Name: "command over two shards", Does: "`Atomic` over keys of two shards", Code: fault.CrossShard, Says: []string{"nothing was written", "they lie in s"}, Helps: "give keys that belong together a common prefix", Safe: nothingWritten,
			Run: func(r *run) error {
				return r.db().Atomic(r.ctx(), func(b *client.Batch) { b.Put(canaries()[0], nil); b.Put(canaries()[8], nil) })
			}},
		{Name: "condition that does not hold", Does: "`CompareAndSwap` with another value than the key has", Code: fault.Conflict, Says: []string{"nothing was written", "exists with a value of 8 bytes"}, Helps: "decide again with the current value", Safe: "the key holds what it held, and the error has that value",
			Run: func(r *run) error {
				return r.db().CompareAndSwap(r.ctx(), canaries()[0], []byte("something"), nil)
			}},
		{Name: "reversed range", Does: "`Scan` from z to a", Code: fault.Invalid, Says: []string{"ends before it begins"}, Helps: "swap its bounds", Safe: nothingSent,
			Run: func(r *run) error {
				for _, err := range r.db().Scan(r.ctx(), client.Range{Start: []byte("z"), End: []byte("a")}) {
					return err
				}
				return nil
			}},
		{Name: "delete of a reversed range", Does: "`DeleteRange` from z to a", Code: fault.Invalid, Says: []string{"ends before it begins"}, Helps: "swap its bounds", Safe: "nothing was deleted",
			Run: func(r *run) error {
				return r.db().DeleteRange(r.ctx(), client.Range{Start: []byte("z"), End: []byte("a")})
			}},
		{Name: "delete of an empty range", Does: "`DeleteRange` from canary/0 to canary/0", Sees: "no error", Safe: "nothing was deleted",
			Run: func(r *run) error {
				return r.db().DeleteRange(r.ctx(), client.Range{Start: canaries()[0], End: canaries()[0]})
			}},
		{Name: "bound that no key can have", Does: "`DeleteRange` from a bound of 8,193 bytes on", Code: fault.KeyTooLarge, Says: []string{"longer than any key"}, Helps: "use a shorter one", Safe: "nothing was deleted",
			Run: func(r *run) error {
				return r.db().DeleteRange(r.ctx(), client.Range{Start: bytes.Repeat([]byte("a"), shard.MaxKeyBytes+1)})
			}},
		{Name: "negative limit", Does: "`Scan` with `Limit(-1)`", Code: fault.Invalid, Says: []string{"limit -1"}, Helps: "give positive ones, or none", Safe: nothingSent,
			Run: func(r *run) error {
				for _, err := range r.db().Scan(r.ctx(), client.Range{}, client.Limit(-1)) {
					return err
				}
				return nil
			}},
		{Name: "negative limit at the command line", CLI: "scan --limit -1", Code: fault.BadUsage, Says: []string{"--limit cannot be below zero"}, Helps: "leave it out for all keys", Safe: nothingSent},
		{Name: "negative time to live", Does: "`skerry put canary/0 x --ttl -1s`", Code: fault.Invalid, Says: []string{"ttl -1s, must be above zero"}, Helps: "leave the option out for a key that stays", Safe: "the key holds what it held",
			Run: func(r *run) error { return r.command("put canary/0 x --ttl -1s") }},
		{Name: "time to live of centuries", Does: "`Put` with `TTL(290 years)`", Code: fault.Invalid, Says: []string{"at most 876000h0m0s"}, Helps: "leave the option out for a key that stays", Safe: "the key holds what it held",
			Run: func(r *run) error {
				return r.db().Put(r.ctx(), canaries()[0], nil, client.TTL(290*365*24*time.Hour))
			}},
		{Name: "prefix not confirmed", CLI: "del --prefix canary/", Code: fault.Unconfirmed, Says: []string{"deletes every key with that prefix"}, Helps: "say --yes if it is meant", Safe: "nothing was deleted"},
		{Name: "bad escape in a key", CLI: `get 'user\x4'`, Code: fault.BadUsage, Says: []string{"bad escape at byte 4"}, Helps: `write \xNN for a byte`, Safe: nothingSent},
		{Name: "no hexadecimal", CLI: "get --hex user", Code: fault.BadUsage, Says: []string{"is not hexadecimal"}, Helps: "leave --hex out for text", Safe: nothingSent},
		{Name: "call after close", Does: "a call on a client that was closed", Code: fault.ClientClosed, Says: []string{"client is closed"}, Helps: "closed", Safe: nothingWritten,
			Run: func(r *run) error {
				db, err := client.Open(r.ctx(), r.of().c.Addrs()[0])
				if err != nil {
					r.Fatal(err)
				}
				_ = db.Close()
				return db.Put(r.ctx(), canaries()[0], nil)
			}},
		{Name: "context that is over", Does: "a call with a context that was cancelled", Code: fault.Interrupted, Says: []string{"context canceled"}, Helps: "context canceled", Safe: nothingWritten,
			Run: func(r *run) error {
				ctx, cancel := context.WithCancel(r.ctx())
				cancel()
				return r.db().Put(ctx, canaries()[0], nil)
			}},
	}},
	{Title: "Timestamps and transactions", World: "cluster", Cases: []Case{
		{Name: "read in the future", Does: "`db.At(MaxUint64 - 1).Get`", Code: fault.Invalid, Says: []string{"lies in the future"}, Helps: "fetch one with Timestamp", Safe: "nothing was read that could still change",
			Run: func(r *run) error { _, err := r.db().At(1<<64-2).Get(r.ctx(), canaries()[0]); return err }},
		{Name: "read at zero", Does: "`db.At(0).Get`", Code: fault.Invalid, Says: []string{"timestamp 0 was never issued"}, Helps: "fetch one with Timestamp", Safe: "nothing was read",
			Run: func(r *run) error { _, err := r.db().At(0).Get(r.ctx(), canaries()[0]); return err }},
		{Name: "stale read of the future", Does: "`db.Stale(-1s)`", Code: fault.Invalid, Says: []string{"-1s ago is no moment of the past"}, Helps: "give a time above zero", Safe: "nothing was read",
			Run: func(r *run) error { _, err := r.db().Stale(r.ctx(), -time.Second); return err }},
		{Name: "watch from the future", CLI: "watch --from 18446744073709551614", Code: fault.Invalid, Says: []string{"lies in the future"}, Helps: "fetch one with Timestamp", Safe: "nothing is missed in silence"},
		{Name: "watch of raw keys", Does: "`Watch` over keys of `Put`", Sees: "no changes, only progress: raw keys have no commits. `skerry watch --help` says so", Safe: "changes of transactional keys in the range are told",
			Run: (*run).watchRaw},
		{Name: "watch of an empty range", CLI: "watch b b", Code: fault.Invalid, Says: []string{"is empty"}, Helps: "give one that has keys", Safe: nothingSent},
		{Name: "read below the safe point", Does: "a read below the safe point (`skerry ctl gc set TIMESTAMP` moved it)", Code: fault.TooOld, Says: []string{"timestamp is below the safe point"}, Helps: "begin anew, or read at", Safe: "no value is returned that may lack what was collected",
			Run: (*run).tooOld},
		{Name: "no timestamp", CLI: "ctl gc set yesterday", Code: fault.BadUsage, Says: []string{`"yesterday" is no timestamp`}, Helps: "fetch one with `skerry ctl ts`", Safe: "the safe point stays"},
		{Name: "safe point in the future", CLI: "ctl gc set 18446744073709551614", Code: fault.Invalid, Says: []string{"lies in the future"}, Helps: "fetch one with Timestamp", Safe: "the safe point stays"},
		{Name: "versions kept for less than nothing", CLI: "ctl gc set --keep -5m", Code: fault.Invalid, Says: []string{"versions are to be kept for -5m0s"}, Helps: "give at least a second", Safe: "the setting stays"},
		{Name: "versions kept for ever", CLI: "ctl gc set --keep 100000h", Code: fault.Invalid, Says: []string{"versions are to be kept for"}, Helps: "and at most", Safe: "the setting stays"},
		{Name: "collection of the future", CLI: "ctl gc run --keep -1h", Code: fault.Invalid, Says: []string{"versions are to be kept for -1h0m0s"}, Helps: "give zero or more", Safe: "nothing was collected"},
		{Name: "transaction too large", Does: "a transaction that writes 64 MiB and a byte", Code: fault.TxnTooLarge, Says: []string{"transaction too large", "at most 100000 and 67108864"}, Helps: "write less in one transaction", Safe: nothingWritten,
			Run: func(r *run) error {
				return r.db().Update(r.ctx(), func(tx *client.Txn) error {
					for i := range 9 {
						if err := tx.Put(fmt.Appendf(nil, "large/%d", i), make([]byte, shard.MaxValueBytes)); err != nil {
							return err
						}
					}
					return nil
				})
			}},
		{Name: "add to what is no counter", Does: "`tx.Add` to a key with another value", Code: fault.NotCounter, Says: []string{"value is not a counter"}, Helps: "put 8 bytes, big-endian, first, or delete the key", Safe: nothingWritten,
			Run: func(r *run) error {
				if err := r.db().Update(r.ctx(), func(tx *client.Txn) error { return tx.Put([]byte("word"), []byte("hello")) }); err != nil {
					r.Fatal(err)
				}
				return r.db().Update(r.ctx(), func(tx *client.Txn) error { return tx.Add([]byte("word"), 1) })
			}},
		{Name: "write in a view", Does: "`tx.Put` in `db.View`", Code: fault.ReadOnly, Says: []string{"transaction is read-only"}, Helps: "use Update", Safe: nothingWritten,
			Run: func(r *run) error {
				return r.db().View(r.ctx(), func(tx *client.Txn) error { return tx.Put(canaries()[0], nil) })
			}},
		{Name: "write after the commit", Does: "`tx.Put` after `tx.Commit`", Code: fault.TxnDone, Says: []string{"transaction is over"}, Helps: "begin another one", Safe: nothingWritten,
			Run: func(r *run) error {
				tx, err := r.db().Begin(r.ctx())
				if err == nil {
					err = tx.Commit()
				}
				if err != nil {
					r.Fatal(err)
				}
				return tx.Put(canaries()[0], nil)
			}},
		{Name: "two transactions, one key", Does: "`tx.Commit` after another transaction wrote the same key", Code: fault.TxnConflict, Says: []string{"lost key", "it was written since this transaction began"}, Helps: "run the transaction again; Update does", Safe: "the other transaction's value stays, nothing of this one was written",
			Run: (*run).conflict},
		{Name: "line that is none", CLI: "txn", In: "put canary/0 x\nfrobnicate\ncommit\n", Code: fault.BadUsage, Says: []string{`"frobnicate" is no line of a transaction`}, Helps: "see `skerry txn --help`", Safe: "the transaction was given up: nothing was written"},
		{Name: "number that is none", CLI: "txn", In: "add canary/0 many\ncommit\n", Code: fault.BadUsage, Says: []string{`"many" is no number`}, Helps: "write a whole one, such as 1 or -1", Safe: "the transaction was given up: nothing was written"},
		{Name: "lock that is none", Does: "`ResolveLock` of a lock that `Locks` did not give", Code: fault.Invalid, Says: []string{"it is none that Locks gave"}, Helps: "take it from Locks", Safe: nothingSent,
			Run: func(r *run) error { return r.admin().ResolveLock(r.ctx(), client.Lock{}) }},
		{Name: "lock that is gone", Does: "`ResolveLock` of a lock whose transaction has ended meanwhile", Sees: "no error: that is what was wanted", Safe: "the transaction's values stay",
			Run: (*run).resolveGone},
	}},
	{Title: "Administration", World: "cluster", Cases: []Case{
		{Name: "unknown shard", CLI: "ctl shard move s987654 --from st1000 --to st1001", Code: fault.Invalid, Says: []string{"there is no shard s987654"}, Helps: "'skerry ctl shard list' shows them", Safe: nothingDone},
		{Name: "unknown shard in the SDK", Does: "`ShardByID` of a shard that does not exist", Code: fault.UnknownShard, Says: []string{"no such shard"}, Helps: "list them with `skerry ctl shard list`", Safe: nothingDone,
			Run: func(r *run) error { _, err := r.admin().ShardByID(r.ctx(), shard.ID(unknown)); return err }},
		{Name: "shard that is no number", CLI: "ctl shard split users --half", Code: fault.BadUsage, Says: []string{`"users" is not a shard`}, Helps: "write its number, such as s1001", Safe: nothingDone},
		{Name: "split outside the shard", Does: "`skerry ctl shard split` of the shard of a at z", Code: fault.Invalid, Says: []string{"a key lies outside"}, Helps: "`skerry ctl shard get KEY` shows the shard of a key", Safe: "the shard is whole",
			Run: func(r *run) error { return r.command("ctl shard split " + r.shard("a").ID.String() + " --key z") }},
		{Name: "split at no key", Does: "`Split` at an empty key", Code: fault.Invalid, Says: []string{"the key is empty"}, Helps: "give it at least one byte", Safe: "the shard is whole",
			Run: func(r *run) error { _, err := r.admin().Split(r.ctx(), r.shard("a").ID, nil); return err }},
		{Name: "split into less than nothing", Does: "`SplitInto(-3)`", Code: fault.Invalid, Says: []string{"-3 parts are no split"}, Helps: "give at least 2", Safe: "the shard is whole",
			Run: func(r *run) error { _, err := r.admin().SplitInto(r.ctx(), r.shard("a").ID, -3); return err }},
		{Name: "move to an unknown store", Does: "`skerry ctl shard move` to st987654", Code: fault.Invalid, Says: []string{"there is no store st987654"}, Helps: "'skerry ctl store list' shows them", Safe: "the shard stays where it is",
			Run: func(r *run) error {
				s := r.shard("a")
				return r.command(fmt.Sprintf("ctl shard move %s --from %s --to %s", s.ID, s.Replicas[0].Store, unknown))
			}},
		{Name: "move onto a replica", Does: "`skerry ctl shard move` to a store that has a replica of the shard", Code: fault.Invalid, Says: []string{"has a replica of"}, Helps: "name one without", Safe: "the shard stays where it is",
			Run: func(r *run) error {
				s := r.shard("a")
				return r.command(fmt.Sprintf("ctl shard move %s --from %s --to %s", s.ID, s.Replicas[0].Store, s.Replicas[1].Store))
			}},
		{Name: "leader on an unknown store", Does: "`skerry ctl shard transfer-leader` to st987654", Code: fault.Invalid, Says: []string{"has no replica of"}, Helps: "it has some on", Safe: "the shard is led where it was",
			Run: func(r *run) error {
				return r.command(fmt.Sprintf("ctl shard transfer-leader %s %s", r.shard("a").ID, unknown))
			}},
		{Name: "drain that cannot be", Does: "`skerry ctl store drain` of one of three stores that all shards need", Code: fault.Invalid, Says: []string{"cannot be drained"}, Helps: "add a store, or say --force", Safe: "the store goes on taking part",
			Run: func(r *run) error { return r.command("ctl store drain " + r.shard("a").Replicas[0].Store.String()) }},
		{Name: "removal of a store that is up", Does: "`skerry ctl store remove --yes` of a store that is up", Code: fault.Invalid, Says: []string{"is up and holds replicas"}, Helps: "empty it first with 'skerry ctl store drain", Safe: "the store goes on taking part",
			Run: func(r *run) error {
				return r.command("ctl store remove --yes " + r.shard("a").Replicas[0].Store.String())
			}},
		{Name: "removal of an unknown store", CLI: "ctl store remove st987654 --yes", Code: fault.Invalid, Says: []string{"there is no store st987654"}, Helps: "'skerry ctl store list' shows them", Safe: nothingDone},
		{Name: "label that is none", CLI: "ctl store label st1000 zone", Code: fault.BadUsage, Says: []string{`"zone" is not a label`}, Helps: "write zone=a, or zone= to take it away", Safe: "the labels stay"},
		{Name: "label of foreign letters", Does: "`skerry ctl store label STORE zone='a b'`", Code: fault.Invalid, Says: []string{"label zone=a b"}, Helps: "letters, digits and . _ - / only", Safe: "the labels stay",
			Run: func(r *run) error {
				return r.command("ctl store label " + r.shard("a").Replicas[0].Store.String() + " zone='a b'")
			}},
		{Name: "rules that are no JSON", CLI: "ctl rules set rules.json", Files: map[string]string{"rules.json": `{"replicas": 3,`}, Code: fault.BadUsage, Says: []string{"rules in rules.json"}, Helps: "ctl rules --help` shows their form", Safe: "the rules stay"},
		{Name: "rules with an unknown word", CLI: "ctl rules set rules.json", Files: map[string]string{"rules.json": `{"replica": 3}`}, Code: fault.BadUsage, Says: []string{`unknown field "replica"`}, Helps: "ctl rules --help` shows their form", Safe: "the rules stay"},
		{Name: "rules that cannot be met", CLI: "ctl rules set rules.json", Files: map[string]string{"rules.json": `{"replicas": 9}`}, Code: fault.Invalid, Says: []string{"9 replicas", "there are 3"}, Helps: "add stores, or ask for fewer", Safe: "the rules stay"},
		{Name: "rules file that is not there", CLI: "ctl rules set missing.json", Code: fault.BadUsage, Says: []string{"no such file or directory"}, Helps: "name a file that can be read", Safe: "the rules stay"},
		{Name: "pause of a year", CLI: "ctl pause-scheduling --for 8760h", Code: fault.Invalid, Says: []string{"a pause of 8760h0m0s"}, Helps: "it can be up to 24h0m0s, and be prolonged", Safe: "nothing was paused"},
		{Name: "scatter of a reversed range", CLI: "ctl shard scatter --start z --end a", Code: fault.Invalid, Says: []string{"ends before it begins"}, Helps: "swap its bounds", Safe: "nothing was moved"},
		{Name: "plan without an unknown store", CLI: "ctl plan --without-store st987654", Code: fault.Invalid, Says: []string{"plan without st987654"}, Helps: "'skerry ctl store list' shows them", Safe: nothingDone},
		{Name: "unknown operator", CLI: "ctl op show o987654", Code: fault.Invalid, Says: []string{"there is no operator o987654"}, Helps: "'skerry ctl op list --history' shows them", Safe: nothingDone},
		{Name: "removal of an unknown member", CLI: "ctl member remove 9 --yes", Code: fault.Invalid, Says: []string{"member 9"}, Helps: "skerry ctl member list", Safe: "the members stay"},
		{Name: "removal of the last member", CLI: "ctl member remove 1 --yes", Code: fault.Invalid, Says: []string{"member 1"}, Helps: "first", Safe: "the member goes on"},
	}},
	{Title: "Requests on the wire", World: "cluster", Cases: []Case{
		{Name: "frame of garbage", Does: "a client's stream with garbage", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "malformed frame", Safe: "the stream ends, others go on",
			Run: func(r *run) error {
				return r.kvStream(headers("skerry-store", r.firstStore()), bytes.Repeat([]byte{0xff}, 100))
			}},
		{Name: "stream without a header", Does: "a client's stream that names no store", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "the stream lacks the header skerry-store", Safe: "the stream ends, others go on",
			Run: func(r *run) error { return r.kvStream(headers()) }},
		{Name: "stream with a bad header", Does: "a client's stream to the store \"first\"", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "the header skerry-store is not a number", Safe: "the stream ends, others go on",
			Run: func(r *run) error { return r.kvStream(headers("skerry-store", "first")) }},
		{Name: "stream to another cluster", Does: "a client's stream whose client belongs to another cluster", Code: fault.WrongCluster, Says: []string{"wrong cluster"}, Helps: "the other side is", Safe: "nothing of it is looked at",
			Run: func(r *run) error {
				return r.kvStream(headers("skerry-store", r.firstStore(), "skerry-cluster", 12345))
			}},
		{Name: "message beyond all bounds", Does: "a frame of 65 MiB", Says: []string{"received message larger than max"}, Helps: "larger than max", Safe: "the stream ends before it is read; others go on",
			Run: func(r *run) error {
				return r.kvStream(headers("skerry-store", r.firstStore()), make([]byte, 65<<20))
			}},
		{Name: "endless streams", Does: "200 streams of a client that say nothing and never end", Sees: "nothing: others are served", Safe: "they cost a goroutine each, and end with their connection", Run: (*run).silentStreams},
		{Name: "slow reader", Does: "a client that asks for 32 MiB and does not read the answers", Sees: "nothing: others are served, and it gets its answers when it reads", Safe: "no answer is lost", Run: (*run).slowReader},
		{Name: "unknown kind of request", Does: "a request of a kind that does not exist", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "kind", Safe: "nothing reached the log",
			Run: func(r *run) error { return r.ask("a", func(q *call.Request) { q.Kind = 99 }) }},
		{Name: "write without a name", Does: "a raw write without the id of its attempt", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "id", Safe: "nothing reached the log",
			Run: func(r *run) error {
				return r.ask("a", func(q *call.Request) {
					c := raw.Command{Ops: []raw.Op{{Kind: raw.Delete, Key: shard.RawKey(canaries()[0])}}}
					q.Kind, q.Body = call.Write, c.Append(nil)
				})
			}},
		{Name: "query of garbage", Does: "a read that cannot be decoded", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "quer", Safe: "nothing was read",
			Run: func(r *run) error { return r.ask("a", func(q *call.Request) { q.Body = []byte{7, 7, 7} }) }},
		{Name: "stale route", Does: "a read with an older epoch of its shard", Code: fault.StaleEpoch, Says: []string{"stale epoch"}, Helps: "current descriptor(s)", Safe: "nothing happened; the answer carries what is current, and the SDK goes on by it",
			Run: func(r *run) error {
				return r.ask("a", func(q *call.Request) { q.Epoch.Version--; q.Body = getBody("a") })
			}},
		{Name: "too new a route", Does: "a read with a newer epoch than its shard's", Code: fault.NotReady, Says: []string{"not ready at epoch"}, Helps: "the request knows a newer epoch", Safe: "nothing happened; the SDK keeps its route and asks again",
			Run: func(r *run) error {
				return r.ask("a", func(q *call.Request) { q.Epoch.Version += 7; q.Body = getBody("a") })
			}},
		{Name: "key of another shard", Does: "a read of z sent to the shard of a", Code: fault.KeyOutside, Says: []string{"is outside"}, Helps: "key", Safe: "nothing was read; the SDK cuts its request again",
			Run: func(r *run) error { return r.ask("a", func(q *call.Request) { q.Body = getBody("z") }) }},
		{Name: "request to a shard that is not there", Does: "a read of shard s987654", Code: fault.NoSuchShard, Says: []string{"s987654: not on"}, Helps: "not on", Safe: "nothing happened; the SDK asks placement",
			Run: func(r *run) error {
				return r.ask("a", func(q *call.Request) { q.Shard, q.Body = shard.ID(unknown), getBody("a") })
			}},
		{Name: "store of another cluster", Does: "raft frames of a store of another cluster", Code: fault.WrongCluster, Says: []string{"wrong cluster"}, Helps: "the other side is", Safe: "not one frame is looked at",
			Run: func(r *run) error {
				return r.raftStream(r.of().c.Addrs()[0], headers("skerry-store", r.firstStore(), "skerry-from", 1, "skerry-cluster", 12345), []byte{1})
			}},
		{Name: "raft frames of garbage", Does: "raft frames of garbage", Sees: "nothing: they are dropped and counted", Safe: "the store goes on",
			Run: func(r *run) error {
				return r.raftFrames(nil, []byte{1}, bytes.Repeat([]byte{0xff}, 64), []byte{1, 1, 1}, []byte{1, 4, 0, 0, 0, 0, 0, 0, 3})
			}},
		{Name: "raft heartbeat response with a short context", Does: "raft heartbeat responses with contexts of 0 to 16 bytes, on which raft itself panics", Sees: "nothing: those of another length than 8 are dropped", Safe: "the store goes on",
			Run: func(r *run) error { return r.raftFrames(r.shortContexts()...) }},
		{Name: "order that nobody knows", Does: "an order to placement with an unknown word", Code: fault.Refused, Says: []string{"the order is not understood here"}, Helps: "unknown field", Safe: nothingDone,
			Run: func(r *run) error { return r.order(`{"frobnicate":{}}`) }},
		{Name: "order for nothing", Does: "an empty order to placement", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "the order asks for nothing", Safe: nothingDone,
			Run: func(r *run) error { return r.order(`{}`) }},
		{Name: "a billion ids", Does: "a request for 2^30 ids", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "ask for 1 to", Safe: "no id was used up",
			Run: func(r *run) error { _, err := r.placement().AllocIDs(r.ctx(), 1<<30); return err }},
		{Name: "no timestamps", Does: "a request for 0 timestamps", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "ask for 1 to", Safe: "no timestamp was used up",
			Run: func(r *run) error { _, err := r.placement().Timestamps(r.ctx(), 0); return err }},
		{Name: "heartbeat of an unknown store", Does: "a store heartbeat of a store that never registered", Code: fault.Refused, Says: []string{"was never registered with this cluster"}, Helps: "start it on an empty directory", Safe: "nothing was recorded",
			Run: func(r *run) error {
				_, err := r.placement().Heartbeat(r.ctx(), &beat.Report{Store: unknown, Addr: "127.0.0.1:1"})
				return err
			}},
		{Name: "registration without an address", Does: "a store that registers without an address", Code: fault.Refused, Says: []string{"invalid request"}, Helps: "a store must say where it listens", Safe: "nothing was recorded",
			Run: func(r *run) error { _, err := r.placement().Register(r.ctx(), beat.Newcomer{}); return err }},
	}},
	{Title: "Addresses", World: "cluster", Cases: []Case{
		{Name: "no address", Does: "`client.Open` with no address", Code: fault.Invalid, Says: []string{"no address"}, Helps: "give the address of any node", Safe: nothingSent,
			Run: func(r *run) error { _, err := client.Open(r.ctx(), " , "); return err }},
		{Name: "no budget", Does: "`client.Open` with a retry budget of zero", Code: fault.Invalid, Says: []string{"the retry budget is not above zero"}, Helps: "leave the option out", Safe: nothingSent,
			Run: func(r *run) error {
				_, err := client.Open(r.ctx(), "127.0.0.1:4400", client.WithRetryBudget(0))
				return err
			}},
		{Name: "address that is none", CLI: "get user/42 --addr nowhere", Code: fault.BadUsage, Says: []string{`"nowhere" is not an address`}, Helps: "write it like host:4400", Safe: nothingSent},
		{Name: "no time", CLI: "get user/42 --timeout 0s", Code: fault.BadUsage, Says: []string{"--timeout must be above zero"}, Helps: "such as 10s", Safe: nothingSent},
		{Name: "nobody there", CLI: "get user/42 --addr 127.0.0.1:1", Code: fault.NobodyThere, Says: []string{"nobody listens at", "connection refused"}, Helps: "start a node there", Safe: nothingSent},
		{Name: "server that says nothing", Does: "`skerry get user/42 --timeout 1s` at an address where somebody takes connections and says nothing", Code: fault.Unavailable, Says: []string{"unavailable"}, Helps: "check the addresses, and that the nodes run", Safe: "nothing was read",
			Run: func(r *run) error { return r.command("get user/42 --timeout 1s --addr " + r.mute()) }},
		{Name: "server of something else", Does: "`skerry get user/42 --timeout 1s` at the address of a web server", Code: fault.Unavailable, Says: []string{"unavailable"}, Helps: "check the addresses, and that the nodes run", Safe: "nothing was read",
			Run: func(r *run) error { return r.command("get user/42 --timeout 1s --addr " + r.web()) }},
		{Name: "address that became another cluster's", Does: "`Put` by a client whose node's address is another cluster's by now, with a store and a shard of the same numbers", Code: fault.WrongCluster, Says: []string{"wrong cluster"}, Helps: "give the client the addresses of this one", Safe: "nothing was written there",
			Run: (*run).takenOver},
		{Name: "order to another cluster", Does: "`PauseScheduling` by such a client", Code: fault.WrongCluster, Says: []string{"wrong cluster"}, Helps: "name nodes of one cluster", Safe: "nothing was done there",
			Run: (*run).orderTakenOver},
	}},
	{Title: "Settings and commands", World: "nothing", Cases: []Case{
		{Name: "unknown command", CLI: "ctl shard lst", Code: fault.BadUsage, Says: []string{`there is no command "lst"`}, Helps: "did you mean `skerry ctl shard list`?", Safe: nothingDone},
		{Name: "unknown flag", CLI: "get user/42 --adr 127.0.0.1:4400", Code: fault.BadUsage, Says: []string{"unknown flag: --adr"}, Helps: "see `skerry get --help`", Safe: nothingDone},
		{Name: "missing argument", CLI: "get", Code: fault.BadUsage, Says: []string{"accepts 1 arg(s), received 0"}, Helps: "usage: skerry get KEY", Safe: nothingDone},
		{Name: "unknown code", CLI: "explain-error SK9999", Code: fault.UnknownFault, Says: []string{`there is no code "SK9999"`}, Helps: "explain-error` lists all", Safe: nothingDone},
		{Name: "unknown key in a file", CLI: "server --config c.toml", Files: map[string]string{"c.toml": "lisen = \"127.0.0.1:4400\"\n"}, Code: fault.UnknownKey, Says: []string{`unknown key "lisen"`}, Helps: `did you mean "listen"?`, Safe: nothingStarted},
		{Name: "unknown variable", CLI: "server", Env: []string{"SKERRY_LISEN=127.0.0.1:4400"}, Does: "`SKERRY_LISEN=127.0.0.1:4400 skerry server`", Code: fault.UnknownEnv, Says: []string{"SKERRY_LISEN is no setting"}, Helps: "did you mean SKERRY_LISTEN?", Safe: nothingStarted},
		{Name: "duration without a unit", CLI: "server --config c.yaml", Files: map[string]string{"c.yaml": "stop-timeout: 30\n"}, Code: fault.BadValue, Says: []string{`"30" is not a duration`}, Helps: "write it like 3s or 500ms", Safe: nothingStarted},
		{Name: "negative duration", CLI: "server --config c.toml", Files: map[string]string{"c.toml": "down-after = \"-30m\"\n"}, Code: fault.BadValue, Says: []string{`"-30m" is not a duration`}, Helps: "write it like 3s or 500ms", Safe: nothingStarted},
		{Name: "size that is none", CLI: "server", Env: []string{"SKERRY_CACHE=plenty"}, Does: "`SKERRY_CACHE=plenty skerry server`", Code: fault.BadValue, Says: []string{`"plenty" is not a size`}, Helps: "write it like 64MiB", Safe: nothingStarted},
		{Name: "negative size", CLI: "server --mem-table -1MiB", Code: fault.BadUsage, Says: []string{`"-1MiB" is not a size`}, Helps: "write it like 64MiB", Safe: nothingStarted},
		{Name: "size beyond all bounds", CLI: "server --cache 99999999TiB", Code: fault.BadUsage, Says: []string{"is not a size"}, Helps: "write it like 64MiB", Safe: nothingStarted},
		{Name: "negative number", CLI: "server --config c.toml", Files: map[string]string{"c.toml": "replicas = -1\n"}, Code: fault.BadValue, Says: []string{`"-1" is not a number`}, Helps: "write a whole one", Safe: nothingStarted},
		{Name: "list for a text", CLI: "server --config c.toml", Files: map[string]string{"c.toml": "listen = [\"a:1\", \"b:2\"]\n"}, Code: fault.BadValue, Says: []string{"is a list"}, Helps: "write one text", Safe: nothingStarted},
		{Name: "broken file of settings", CLI: "server --config c.toml", Files: map[string]string{"c.toml": "listen = \n"}, Code: fault.BadFile, Says: []string{"config file c.toml"}, Helps: "c.toml", Safe: nothingStarted},
		{Name: "file of settings that is not there", CLI: "server --config missing.toml", Code: fault.BadFile, Says: []string{"no such file or directory"}, Helps: "missing.toml", Safe: nothingStarted},
		{Name: "file of settings of another kind", CLI: "server --config c.ini", Files: map[string]string{"c.ini": "x"}, Code: fault.BadFile, Says: []string{`unknown format ".ini"`}, Helps: "name it .toml or .yaml", Safe: nothingStarted},
		{Name: "log level that is none", CLI: "server --log-level loud", Code: fault.BadUsage, Says: []string{`"loud" is not a level`}, Helps: "write debug, info, warn or error", Safe: nothingStarted},
		{Name: "memory and a directory", CLI: "server --memory --data d", Code: fault.BadConfig, Says: []string{"--memory and --data exclude each other"}, Helps: "give one of them", Safe: nothingStarted},
		{Name: "store without a cluster", CLI: "store", Code: fault.BadConfig, Says: []string{"a store needs a cluster"}, Helps: "--join host:4400", Safe: nothingStarted},
		{Name: "member number twice", CLI: "server --member-id 1 --members 1=a:4400,1=b:4400,3=c:4400", Code: fault.BadConfig, Says: []string{"names member 1 twice"}, Helps: "give each a number of its own", Safe: nothingStarted},
		{Name: "member address twice", CLI: "server --memory --member-id 1 --members 1=a:4400,2=a:4400,3=c:4400", Code: fault.BadConfig, Says: []string{"members 1 and 2 are both at a:4400"}, Helps: "each needs an address of its own", Safe: nothingStarted},
		{Name: "member that is not among the members", CLI: "server --member-id 4 --members 1=a:4400,2=b:4400,3=c:4400", Code: fault.BadConfig, Says: []string{"--member-id 4 is not among --members"}, Helps: "which has [1 2 3]", Safe: nothingStarted},
		{Name: "two members", CLI: "server --memory --member-id 1 --members 1=a:4400,2=b:4400", Code: fault.BadConfig, Says: []string{"2 placement members"}, Helps: "use 1, 3 or 5", Safe: nothingStarted},
		{Name: "address that nobody can dial", CLI: "server --memory --listen 0.0.0.0:4400 --join 10.0.0.1:4400", Code: fault.BadConfig, Says: []string{"--listen 0.0.0.0:4400"}, Helps: "--advertise host:port", Safe: nothingStarted},
		{Name: "advertised address that nobody can dial", CLI: "server --memory --advertise 0.0.0.0:4400", Code: fault.BadConfig, Says: []string{"--advertise 0.0.0.0:4400: others cannot dial that"}, Helps: "name this machine and the port", Safe: nothingStarted},
		{Name: "stores given up at once", CLI: "server --down-after 1s", Code: fault.BadConfig, Says: []string{"--down-after 1s"}, Helps: "at least 10s", Safe: nothingStarted},
		{Name: "more replicas than stores", CLI: "playground --stores 2 --replicas 3", Code: fault.BadConfig, Says: []string{"3 replicas need as many stores, there are 2"}, Helps: "start more (--stores), or ask for fewer", Safe: nothingStarted},
		{Name: "key without a certificate", CLI: "server --memory --tls-key n.key", Code: fault.BadConfig, Says: []string{"needs a certificate and its key"}, Helps: "give --tls-cert and --tls-key", Safe: nothingStarted},
		{Name: "flags that exclude each other", CLI: "put k v --if-absent --if-value x", Code: fault.BadUsage, Says: []string{"--if-absent, --if-value exclude each other"}, Helps: "give one of them", Safe: nothingSent},
		{Name: "one of three flags", CLI: "ctl shard split s1001", Code: fault.BadUsage, Says: []string{"give one of --key, --half, --into"}, Helps: "see `skerry ctl shard split --help`", Safe: nothingDone},
		{Name: "flag that is needed", CLI: "ctl shard move s1001 --from st1000", Code: fault.BadUsage, Says: []string{`required flag(s) "to" not set`}, Helps: "see `skerry ctl shard move --help`", Safe: nothingDone},
		{Name: "memtable of a byte", CLI: "server --mem-table 1", Code: fault.BadUsage, Says: []string{"1 is not within 1MiB and 2GiB"}, Helps: "leave it out for the default", Safe: nothingStarted},
		{Name: "memtable beyond memory", CLI: "server --config c.toml", Files: map[string]string{"c.toml": "mem-table = \"100TiB\"\n"}, Code: fault.BadValue, Says: []string{"100TiB is not within 1MiB and 2GiB"}, Helps: "leave it out for the default", Safe: nothingStarted},
		{Name: "shards that are split at nothing", CLI: "server --split-size 100", Code: fault.BadUsage, Says: []string{"100 is not within 1MiB and 1TiB"}, Helps: "leave it out for the default", Safe: nothingStarted},
		{Name: "no copies at a time", CLI: "server --max-receiving 0", Code: fault.BadUsage, Says: []string{"give at least 1"}, Helps: "`skerry ctl pause-scheduling` stops copying for a while", Safe: nothingStarted},
		{Name: "address of another machine", CLI: "server --memory --listen 192.0.2.1:4400", Code: fault.PortInUse, Says: []string{"cannot assign requested address"}, Helps: "name an address of this machine", Safe: nothingStarted},
		{Name: "no workload", CLI: "bench fly", Code: fault.BadUsage, Says: []string{`unknown workload "fly"`}, Helps: "put", Safe: nothingDone},
	}},
	{Title: "Import and export", World: "cluster", Cases: []Case{
		{Name: "bench with values beyond the limit", CLI: "bench put --value-size 99MiB --duration 1s", Code: fault.BadUsage, Says: []string{"values of 103809024 bytes"}, Helps: "at most 8388608 can be stored (--value-size)", Safe: nothingWritten},
		{Name: "import of what is not there", CLI: "import missing.jsonl", Code: fault.BadSource, Says: []string{"no such file or directory"}, Helps: "name a file or directory that can be read", Safe: nothingWritten},
		{Name: "import of a broken line", CLI: "import bad.jsonl", Files: map[string]string{"bad.jsonl": "{\"key\":\"import/1\",\"value\":\"1\"}\n{\"key\":\"import/2\",\n"}, Code: fault.BadSource, Says: []string{"record 2", "keys are written"}, Helps: "correct it, and start it again", Safe: "the text says how many keys were written before it; started again the import writes the same values"},
		{Name: "import of a line without a value", CLI: "import bad.jsonl", Files: map[string]string{"bad.jsonl": "{\"key\":\"canary/0\"}\n"}, Code: fault.BadSource, Says: []string{"neither value nor value_base64 is given"}, Helps: "correct it, and start it again", Safe: "the key holds what it held"},
		{Name: "import of an empty key", CLI: "import bad.jsonl", Files: map[string]string{"bad.jsonl": "{\"key\":\"\",\"value\":\"1\"}\n"}, Code: fault.BadSource, Says: []string{"record 1: the key is empty"}, Helps: "correct it, and start it again", Safe: nothingWritten},
		{Name: "import of a table without names", CLI: "import bad.csv", Files: map[string]string{"bad.csv": "canary/0,x\n"}, Code: fault.BadSource, Says: []string{"the first line must name the columns"}, Helps: "such as key,value", Safe: "the key holds what it held"},
		{Name: "import of bad base64", CLI: "import bad.csv", Files: map[string]string{"bad.csv": "key,value,encoding\n%%%,x,base64\n"}, Code: fault.BadSource, Says: []string{"the key is not base64"}, Helps: "correct it, and start it again", Safe: nothingWritten},
		{Name: "import of an unknown format", CLI: "import things.xml", Files: map[string]string{"things.xml": "<a/>"}, Code: fault.BadUsage, Says: []string{"unknown format"}, Helps: "say --format tree, jsonl or csv", Safe: nothingWritten},
		{Name: "checkpoint of another import", CLI: "import good.jsonl --checkpoint pos", Files: map[string]string{"good.jsonl": "{\"key\":\"import/1\",\"value\":\"1\"}\n", "pos": "{\"schema_version\":1,\"source\":\"jsonl:/other\"}"}, Code: fault.BadSource, Says: []string{"is of another import"}, Helps: "remove it or name another file", Safe: nothingWritten},
		{Name: "checkpoint that is none", CLI: "import good.jsonl --checkpoint pos", Files: map[string]string{"good.jsonl": "{\"key\":\"import/1\",\"value\":\"1\"}\n", "pos": "garbage"}, Code: fault.BadSource, Says: []string{"checkpoint pos"}, Helps: "remove it to import from the beginning", Safe: nothingWritten},
		{Name: "export over a file", CLI: "export all.jsonl", Files: map[string]string{"all.jsonl": "precious"}, Code: fault.BadTarget, Says: []string{"all.jsonl exists"}, Helps: "name another file, or use --overwrite", Safe: "the file is as it was"},
		{Name: "export into a full directory", CLI: "export out", Files: map[string]string{"out/letter.txt": "precious"}, Code: fault.BadTarget, Says: []string{"out is not empty"}, Helps: "name another directory, or use --overwrite", Safe: "the directory is as it was"},
		{Name: "export into what cannot be written", CLI: "export /dev/null/out.jsonl", Code: fault.BadTarget, Says: []string{"not a directory"}, Helps: "name a file that can be written", Safe: "nothing was exported in silence"},
		{Name: "export of a directory that cannot be made", CLI: "export file/out --format tree", Files: map[string]string{"file": "x"}, Code: fault.BadTarget, Says: []string{"not a directory"}, Helps: "name a directory that can be written", Safe: "nothing was exported in silence"},
		{Name: "export to a full disk", CLI: "export /dev/full --format jsonl --overwrite", Code: fault.BadTarget, Says: []string{"no space left on device", "is not complete"}, Helps: "remove it and start again", Safe: "the text says that it is not complete, and the exit code is 1"},
	}},
	{Title: "Directories", World: "directory", Cases: []Case{
		{Name: "directory in use", Does: "`skerry server --data d` where a node runs on d", Code: fault.DirInUse, Says: []string{"in use by another process"}, Helps: "stop it, or name another directory", Safe: "the node that runs goes on; " + noOpened,
			Run: func(r *run) error { return r.occupied("server --data d --log-level error") }},
		{Name: "look into a directory in use", Does: "`skerry debug check d` where a node runs on d", Code: fault.DirInUse, Says: []string{"in use by another process"}, Helps: "stop it, or name another directory", Safe: "the node that runs goes on; " + noOpened,
			Run: func(r *run) error { return r.occupied("debug check d") }},
		{Name: "port in use", Does: "`skerry server --data d` where somebody listens already", Code: fault.PortInUse, Says: []string{"address already in use"}, Helps: "is another node running there?", Safe: noOpened,
			Run: func(r *run) error { return r.busyPort("server --data d --log-level error") }},
		{Name: "foreign directory", Does: "`skerry server --data d` where d/store holds something else", Code: fault.DirForeign, Says: []string{"holds no store", "letters.txt"}, Helps: "name an empty directory", Safe: leftAsItIs,
			Run: func(r *run) error {
				r.spoil(func() { r.replaceDirectory("store"); r.write("d/store/letters.txt", "dear") })
				return r.command("server --data d --log-level error")
			}},
		{Name: "newer format", Does: "`skerry server --data d` where d was written by a newer version", Code: fault.DirFormat, Says: []string{"the store has another format"}, Helps: "use the version that wrote it", Safe: leftAsItIs,
			Run: func(r *run) error {
				r.spoil(func() { r.replace("store/STORE", "format 1", "format 2") })
				return r.command("server --data d --log-level error")
			}},
		{Name: "directory of another cluster", Does: "`skerry server --data d` where d/store is of another cluster than d/placement", Code: fault.DirCluster, Says: []string{"the store directory belongs to cluster abcdef0123456789"}, Helps: "move it away, or name the right directory (--data)", Safe: "neither was changed: each goes on with its own",
			Run: func(r *run) error {
				r.spoil(r.otherIdent)
				return r.refusedAgain("server --data d --log-level error")
			}},
		{Name: "join of another cluster", Does: "`skerry store --data d --join` with an address of another cluster", Code: fault.DirCluster, Says: []string{"the store directory belongs to cluster", "but placement is of cluster"}, Helps: "check the addresses (--join) and the directory (--data)", Safe: noOpened,
			Run: (*run).wrongJoin},
		{Name: "wrong member number", Does: "`skerry placement --data d --member-id 2` where d is of member 1", Code: fault.MemberOther, Says: []string{"belongs to member 1, not to member 2"}, Helps: "--member-id", Safe: noOpened,
			Run: func(r *run) error { return r.opening("placement --data d --member-id 2 --bootstrap --log-level error") }},
		{Name: "member with an empty directory", CLI: "placement --data empty --member-id 1 --log-level error", Code: fault.DirEmpty, Says: []string{"the placement directory is empty"}, Helps: "start with --bootstrap to begin a new cluster, or with --join to bring a new member to one", Safe: "no second cluster is begun"},
		{Name: "lost placement beside a store", Does: "`skerry server --data d --bootstrap` where d/placement was lost", Code: fault.DirEmpty, Says: []string{"the placement directory is empty, but the store directory beside it belongs to cluster"}, Helps: "this node must not begin another cluster", Safe: "no second cluster is begun; the store keeps its data",
			Run: func(r *run) error {
				r.spoil(func() { r.replaceDirectory("placement") })
				return r.refusedAgain("server --data d --bootstrap --log-level error")
			}},
		{Name: "damaged write-ahead log", Does: "`skerry server --data d` after one bit of the write-ahead log changed", Code: fault.Corrupt, Says: []string{"corruption", ".log is not what it was"}, Helps: "remove it from the cluster and add an empty one", Safe: leftAsItIs + "; nothing wrong is served",
			Run: func(r *run) error {
				r.spoil(func() { r.flip("store/db/*.log") })
				return r.command("server --data d --log-level error")
			}},
		{Name: "damaged manifest", Does: "`skerry server --data d` after one bit of the manifest changed", Code: fault.Corrupt, Says: []string{"corruption", "MANIFEST"}, Helps: "remove it from the cluster and add an empty one", Safe: leftAsItIs + "; nothing wrong is served",
			Run: func(r *run) error {
				r.spoil(func() { r.flip("store/db/MANIFEST-*") })
				return r.command("server --data d --log-level error")
			}},
		{Name: "check of a damaged directory", Does: "`skerry debug check d` after one bit of the write-ahead log changed", Code: fault.Corrupt, Says: []string{"d is damaged"}, Helps: "start an empty one in its place", Safe: leftAsItIs,
			Run: func(r *run) error {
				r.spoil(func() { r.flip("store/db/*.log") })
				return r.command("debug check d")
			}},
		{Name: "look into nothing", CLI: "debug check nowhere", Code: fault.DirForeign, Says: []string{"holds neither a store nor a placement member"}, Helps: "name the directory of a node", Safe: nothingDone},
		{Name: "look at an unknown shard", CLI: "debug log d/store s987654", Code: fault.UnknownShard, Says: []string{"there is no replica of s987654 in d/store"}, Helps: "`skerry debug shard d/store` lists those that are", Safe: noOpened},
		{Name: "file for a directory", CLI: "server --data file --log-level error", Files: map[string]string{"file": "x"}, Code: fault.BadDir, Says: []string{"not a directory"}, Helps: "name a directory that can be written", Safe: "the file is as it was"},
		{Name: "file of split keys that is not there", CLI: "server --data e --split-keys-file missing", Code: fault.BadFile, Says: []string{"no such file or directory"}, Helps: "name a file that can be read", Safe: nothingStarted},
		{Name: "clocks that jump", Does: "the wall clock of a whole cluster jumps an hour back, then two hours ahead, then to where it should be", Sees: "nothing: timestamps only grow, and leases do not rest on it", Safe: "everything; a key whose time to live is shorter than a jump ahead may go early", Run: (*run).clockJumps},
	}},
	{Title: "Certificates", World: "secure", Cases: []Case{
		{Name: "plain text to TLS", CLI: "put stranger x", Code: fault.PlainText, Says: []string{"the server speaks TLS, and we do not"}, Helps: "--tls-ca", Safe: nothingSent},
		{Name: "no certificate", CLI: "put stranger x --tls-ca tls/ca.crt", Code: fault.NoCert, Says: []string{"the server asks for a client certificate"}, Helps: "name one with --tls-cert and --tls-key", Safe: nothingSent},
		{Name: "certificate of another authority", CLI: "put stranger x --tls-ca tls/ca.crt --tls-cert tls/other.crt --tls-key tls/other.key", Code: fault.BadAuthority, Says: []string{"our certificate is signed by an unknown authority"}, Helps: "use one that the server's --tls-ca signed", Safe: nothingSent},
		{Name: "expired certificate", CLI: "put stranger x --tls-ca tls/ca.crt --tls-cert tls/late.crt --tls-key tls/late.key", Code: fault.CertExpired, Says: []string{"our certificate is not valid now"}, Helps: "renew it, or set the clocks right", Safe: nothingSent},
		{Name: "server of another authority", CLI: "put stranger x --tls-ca tls/other-ca.crt --tls-cert tls/me.crt --tls-key tls/me.key", Code: fault.BadAuthority, Says: []string{"the server's certificate is signed by an unknown authority"}, Helps: "name the authority's certificate with --tls-ca", Safe: nothingSent},
		{Name: "server of another name", CLI: "put stranger x --tls-ca tls/ca.crt --tls-cert tls/me.crt --tls-key tls/me.key --tls-server-name elsewhere.example", Code: fault.CertName, Says: []string{"not valid for elsewhere.example"}, Helps: "dial it by such a name", Safe: nothingSent},
		{Name: "TLS to plain text", Does: "`skerry put stranger x --tls` to a server that speaks plain text", Code: fault.PlainText, Says: []string{"the server does not speak TLS"}, Helps: "leave TLS out", Safe: nothingSent,
			Run: func(r *run) error {
				return r.command("put stranger x --tls-ca tls/ca.crt --addr " + r.w.(*secure).plain)
			}},
		{Name: "key of another certificate", CLI: "server --memory --tls-cert tls/me.crt --tls-key tls/other.key", Code: fault.CertFiles, Says: []string{"read the certificates", "--tls-cert, --tls-key"}, Helps: "the key that belongs to the certificate", Safe: nothingStarted},
		{Name: "certificate that is not there", CLI: "put stranger x --tls-ca tls/ca.crt --tls-cert missing.crt --tls-key tls/me.key", Code: fault.CertFiles, Says: []string{"no such file or directory", "--tls-cert, --tls-key"}, Helps: "give files that can be read", Safe: nothingSent},
	}},
	{Title: "Disks, networks and clocks that fail", Cases: []Case{
		{Name: "dead majority", Does: "reads and writes while most stores of a shard are away", Code: fault.Unavailable, Sees: "`unavailable`, or `outcome unknown` for a write that was under way, when the time is over", Says: []string{"nothing happened; try again later", "outcome unknown: the write may or may not have happened"}, Safe: "everything that was acknowledged; it goes on when a majority is back", Test: "client.TestNoQuorum"},
		{Name: "unreachable placement", Does: "no placement member answers", Sees: "clients that are open go on; after a minute writes with a TTL and transactions end with SK1016", Says: []string{"placement's time was not heard lately"}, Safe: "everything; stores serve by what they know", Test: "cmd/node.TestStoresWithoutPlacement"},
		{Name: "disk full", Does: "writes and syncs fail: no space, input/output errors", Code: fault.DiskFailed, Sees: "the node ends with exit code 1 and the reason; the other stores go on", Says: []string{"the node stopped because going on could damage data"}, Safe: "everything that was acknowledged", Test: "engine.TestFailedWrites"},
		{Name: "start on a full disk", Does: "a start on a disk that is nearly full", Code: fault.NoRoom, Sees: "`the disk of ... has 100 KiB free, and opening the store may take ... make room and start it again`", Says: []string{"make room and start it again"}, Safe: "everything: nothing was written", Test: "engine.TestOpenOnFullDisk"},
		{Name: "disk that hangs", Does: "a sync that does not end", Code: fault.DiskHangs, Sees: "the store gives up what it leads after an election timeout, and ends after 20 s", Says: []string{"the disk has not finished a sync for "}, Safe: "everything that was acknowledged; others lead", Test: "tests/cluster.TestHungDiskGivesUpLeadership"},
		{Name: "damaged table", Does: "one byte of a table, of the manifest or of the write-ahead log changes, at any place", Code: fault.Corrupt, Sees: "refused by the start, or by the read that meets it", Says: []string{"remove it from the cluster and add an empty one"}, Safe: "nothing wrong is served", Test: "engine.TestFlippedByte"},
		{Name: "table that rots", Does: "one byte of a table changes under a store that runs, where nobody reads", Code: fault.Corrupt, Sees: "the node ends with exit code 1 within `--check-every` or so, and names the file; the other stores go on", Says: []string{"check table ", "the other replicas have what it held", "remove it from the cluster and add an empty one"}, Safe: "everything; nothing wrong is served, also not when the node is started again: it ends again", Test: "tests/e2e.TestScrubEndsRottenStore"},
		{Name: "clocks at another speed", Does: "machines whose clocks run too fast, too slow, or are an hour off", Sees: "nothing; beyond 5 % of speed leases could be wrong, which is written in docs/reads.md", Says: []string{"max drift"}, Safe: "no lost and no stale read, checked as linearizable", Test: "tests/e2e.TestNemesis"},
		{Name: "member that lost its directory", Does: "a placement member that took part starts with an empty directory", Code: fault.MemberLost, Sees: "`member 3 has taken part in this cluster before: with an empty directory it cannot come back under its id; start it as a new member with --join and --replace 3`", Says: []string{"has taken part in this cluster before"}, Safe: "no vote is given twice; the others go on", Test: "cmd/node.TestLostMemberDirectory"},
		{Name: "copy of a directory", Does: "two processes run on copies of one store's directory", Code: fault.StoreRefused, Sees: "the second one ends: `another process runs as st1000, ...: this one's directory is a copy of its; start it on an empty directory`", Says: []string{"this one's directory is a copy of its; start it on an empty directory"}, Safe: "the first one goes on", Test: "placement.TestIdentities"},
		{Name: "store that was removed", Does: "a store that was removed from the cluster starts again", Code: fault.StoreRemoved, Sees: "`st1001 was removed from the cluster: its shards live elsewhere. Wipe its directory to bring the machine back as a new store`", Says: []string{"Wipe its directory to bring the machine back as a new store"}, Safe: "its shards, which live elsewhere", Test: "cmd/node.TestRemovedStore"},
		{Name: "snapshot of nonsense", Does: "a snapshot stream that breaks off, or whose chunks are damaged", Sees: "nothing: it is thrown away and sent again", Says: []string{"a part of the snapshot is not a chunk"}, Safe: "the replica keeps what it had", Test: "tests/cluster.TestBrokenOffSnapshots"},
		{Name: "more work than a store can do", Does: "clients that ask for more than a store or a shard can take", Code: fault.ServerBusy, Sees: "the SDK waits as long as the answer says, and goes on; `st1000: busy: ...; try again in 20ms`", Says: []string{"try again in"}, Safe: "nothing was done by what was refused", Test: "tests/cluster.TestRule18Admission"},
		{Name: "moves whose stores fail", Does: "a store dies while a shard is moved to it", Sees: "the operator ends and says why; the shard is repaired", Says: []string{"was not brought to its goal"}, Safe: "the shard is served all the time", Test: "tests/e2e.TestMovesThatFail"},
	}},
}
