package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

func (a *app) debugCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "look into the directory of a node that is stopped",
		Long: `Debug reads the directory of a stopped node (--data) and changes nothing. A directory that a
process uses is refused. DIR is the node's directory, which may hold a store and a placement
member, or the directory of one of the two.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.debugCheckCmd(), a.debugShardCmd(), a.debugLogCmd(), a.debugKeysCmd())
	return cmd
}

// engineDirs are the directories of engines in a node's directory, or the directory itself if it is one.
func engineDirs(dir string) ([]string, error) {
	is := func(d string) bool {
		_, err := os.Stat(filepath.Join(d, "STORE"))
		return err == nil
	}
	if is(dir) {
		return []string{dir}, nil
	}
	var out []string
	for _, part := range []string{"placement", "store"} {
		if d := filepath.Join(dir, part); is(d) {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		return nil, fault.Errorf(fault.DirForeign, "%s holds neither a store nor a placement member; name the directory of a node (--data)", dir)
	}
	return out, nil
}

func (a *app) debugCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check DIR",
		Short: "read everything and say what is damaged",
		Long: `Check reads every block of every file: tables, write-ahead log, manifest, the states of
replicas, their logs, all keys. It ends with exit code 1 and one line per finding if anything
is damaged; then replace the store, and do not repair it.

A node that was stopped in order has sealed its files, and any change of them is found. After
a crash the end of the write-ahead log and of the manifest may be torn, which is no damage;
damage just there cannot be told from it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dirs, err := engineDirs(args[0])
			if err != nil {
				return err
			}
			damaged := 0
			for _, dir := range dirs {
				c, bad := engine.CheckStore(dir, nil)
				for _, err := range bad {
					if code := fault.Of(err); code == fault.DirInUse || code == fault.ProgramOld || code == fault.ProgramNew {
						return err
					}
					fmt.Fprintf(a.out, "%s: damaged: %v\n", dir, err)
				}
				end := "it was stopped in order, and its files are what they were then"
				if !c.Sealed {
					end = "it was not stopped in order"
				}
				fmt.Fprintf(a.out, "%s: %s tables, %s replicas, %s log entries, %s keys; %s\n", dir, output.Count(c.Tables),
					output.Count(c.Replicas), output.Count(c.Entries), output.Count(c.Keys), end)
				damaged += len(bad)
			}
			if damaged > 0 {
				return fault.Errorf(fault.Corrupt, "%s is damaged; remove the store from the cluster and start an empty one in its place", args[0])
			}
			_, err = fmt.Fprintln(a.out, "ok")
			return err
		},
	}
}

// inspect calls f with each engine in a node's directory.
func inspect(dir string, f func(dir string, i *engine.Inspector) error) error {
	dirs, err := engineDirs(dir)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		i, err := engine.Inspect(d, nil)
		if err != nil {
			return err
		}
		if err := errors.Join(f(d, i), i.Close()); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}

func (a *app) debugShardCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "shard DIR [SHARD]",
		Short: "the replicas as a start would find them",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := shardArg(args)
			if err != nil {
				return err
			}
			var rows [][]string
			found := id == 0
			err = inspect(args[0], func(dir string, i *engine.Inspector) error {
				who := "-"
				if ident, ok, err := i.Ident(); err != nil {
					return err
				} else if ok {
					who = ident.Store.String()
				}
				replicas, err := i.Replicas()
				found = found || slices.ContainsFunc(replicas, func(r engine.ReplicaState) bool { return r.Shard == id })
				for _, r := range replicas {
					if id != 0 && r.Shard != id {
						continue
					}
					span, epoch := "waits for its data", "-"
					if r.Desc != nil {
						span, epoch = r.Desc.Range.String(), r.Desc.Epoch.String()
					}
					rows = append(rows, []string{who, r.Shard.String(), r.Replica.String(), span, epoch, number(r.Hard.Term), number(r.Hard.Commit),
						number(r.Applied.Index), number(r.Applied.TruncIndex + 1), number(r.LastIndex)})
				}
				return err
			})
			if err == nil && !found {
				return noReplica(id, args[0])
			}
			return errors.Join(err, output.WriteTable(a.out, []string{"STORE", "SHARD", "REPLICA", "RANGE", "EPOCH", "TERM", "COMMIT", "APPLIED", "FIRST", "LAST"}, rows))
		},
	}
}

// noReplica is the error of a shard that is not in a directory.
func noReplica(id shard.ID, dir string) error {
	return fault.Errorf(fault.UnknownShard, "there is no replica of %s in %s; `skerry debug shard %s` lists those that are", id, dir, dir)
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// shardArg is the second argument, 0 without one.
func shardArg(args []string) (shard.ID, error) {
	if len(args) < 2 {
		return 0, nil
	}
	return parseID[shard.ID]("shard", "s", args[1])
}

func (a *app) debugLogCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log DIR SHARD",
		Short: "the entries of a shard's raft log",
		Args:  cobra.ExactArgs(2),
	}
	from := cmd.Flags().Uint64("from", 0, "first `index`")
	to := cmd.Flags().Uint64("to", math.MaxUint64, "last `index`")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		id, err := shardArg(args)
		if err != nil {
			return err
		}
		var rows [][]string
		found := false
		err = inspect(args[0], func(_ string, i *engine.Inspector) error {
			replicas, err := i.Replicas()
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(replicas, func(r engine.ReplicaState) bool { return r.Shard == id }) {
				return nil
			}
			found = true
			return i.Log(id, *from, *to, func(n *engine.Entry) bool {
				what, commands := entryKind(n)
				rows = append(rows, []string{number(n.Index), number(n.Term), number(n.Commit), what, strconv.Itoa(commands), strconv.Itoa(len(n.Data))})
				return true
			})
		})
		if err == nil && !found {
			return noReplica(id, args[0])
		}
		return errors.Join(err, output.WriteTable(a.out, []string{"INDEX", "TERM", "COMMIT", "KIND", "COMMANDS", "BYTES"}, rows))
	}
	return cmd
}

// entryKind is what an entry is, and how many clients' commands it carries.
func entryKind(n *engine.Entry) (what string, commands int) {
	switch {
	case n.Type.String() != "EntryNormal":
		return "change", 0
	case len(n.Data) == 0:
		return "empty", 0 // of a new leader, or a change that was refused
	}
	kind := apply.KindOf(n.Data)
	if kind == apply.KindData {
		apply.Ops(n.Data, func(call.OpID) bool { commands++; return true })
	}
	return kind.String(), commands
}

func (a *app) debugKeysCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys DIR [SHARD]",
		Short: "the keys as they lie on the disk",
		Long: `Keys prints the keys that lie in the store, each with its first byte (r: written outside of
transactions, x: a version of a transactional key, m: placement's own) and the size of its
value. What is not committed yet, or expired and not removed yet, is there as well.`,
		Args: cobra.RangeArgs(1, 2),
	}
	limit := cmd.Flags().Int("limit", 1000, "at most that many keys; 0 is all")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		id, err := shardArg(args)
		if err != nil {
			return err
		}
		n, found := 0, id == 0
		err = inspect(args[0], func(_ string, i *engine.Inspector) error {
			var span shard.Range
			if id != 0 {
				replicas, err := i.Replicas()
				if err != nil {
					return err
				}
				at := slices.IndexFunc(replicas, func(r engine.ReplicaState) bool { return r.Shard == id && r.Desc != nil })
				if at < 0 {
					return nil
				}
				found = true
				span = replicas[at].Desc.Range
			}
			return i.Keys(span, func(k shard.Key, v []byte) bool {
				fmt.Fprintf(a.out, "%s\t%d\n", output.Escape(k), len(v))
				n++
				return *limit == 0 || n < *limit
			})
		})
		if err == nil && !found {
			return noReplica(id, args[0])
		}
		return err
	}
	return cmd
}
