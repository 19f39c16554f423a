package main

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) ctlShardCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shard",
		Short: "shards: list them, look at one, move it, split it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.shardListCmd(format), a.shardGetCmd(format), a.shardMoveCmd(format), a.shardTransferCmd(format),
		a.shardScatterCmd(format), a.shardSplitCmd(format))
	return cmd
}

// shardRow is a shard in JSON. Start is the first user key; End, the first one behind the shard, is absent for the last
// shard.
type shardRow struct {
	ID          uint64  `json:"id"`
	Start       *string `json:"start,omitempty"`
	StartBase64 []byte  `json:"start_base64,omitempty"`
	End         *string `json:"end,omitempty"`
	EndBase64   []byte  `json:"end_base64,omitempty"`
	ConfVer     uint64  `json:"conf_ver"`
	Version     uint64  `json:"version"`
	Leader      uint64  `json:"leader_store,omitempty"`
	Term        uint64  `json:"term"`
	Applied     uint64  `json:"applied"`
	Bytes       uint64  `json:"bytes,omitempty"` // about; absent: not measured yet
	// Reads and Writes are requests a second, about.
	Reads    float64      `json:"reads_per_second"`
	Writes   float64      `json:"writes_per_second"`
	Replicas []replicaRow `json:"replicas"`
}

// replicaRow is a replica in JSON; what its store says of it is there in `shard get` only.
type replicaRow struct {
	ID    uint64      `json:"id"`
	Store uint64      `json:"store"`
	Role  string      `json:"role"`
	State *replicaLog `json:"state,omitempty"`
	Error string      `json:"error,omitempty"`
}

type replicaLog struct {
	Leading   bool   `json:"leading"`
	Asleep    bool   `json:"asleep"`
	Term      uint64 `json:"term"`
	Applied   uint64 `json:"applied"`
	Committed uint64 `json:"committed"`
	Last      uint64 `json:"last"`
	Truncated uint64 `json:"truncated"`
	LogBytes  int64  `json:"log_bytes"`
}

func makeShardRow(s *client.ShardInfo) shardRow {
	start := output.MakeBinary(s.Users.Start)
	row := shardRow{ID: uint64(s.ID), Start: start.Text, StartBase64: start.Base64, ConfVer: s.Epoch.ConfVer, Version: s.Epoch.Version,
		Leader: uint64(s.Leader.Store), Term: s.Term, Applied: s.Applied, Bytes: s.Bytes, Reads: tenths(s.Reads), Writes: tenths(s.Writes)}
	if len(s.Users.End) > 0 {
		end := output.MakeBinary(s.Users.End)
		row.End, row.EndBase64 = end.Text, end.Base64
	}
	for _, r := range s.Replicas {
		row.Replicas = append(row.Replicas, replicaRow{ID: uint64(r.ID), Store: uint64(r.Store), Role: r.Role.String()})
	}
	return row
}

func (a *app) shardListCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the shards in the order of their keys",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, s *session) error {
				return a.printShards(s.Admin().Shards(ctx), *format)
			})
		},
	}
}

func (a *app) printShards(shards iter.Seq2[client.ShardInfo, error], format output.Format) error {
	docs, rows := []shardRow{}, [][]string{}
	for s, err := range shards {
		if err != nil {
			return err
		}
		if format == output.JSON {
			docs = append(docs, makeShardRow(&s))
		} else {
			rows = append(rows, shardColumns(&s))
		}
	}
	if format == output.JSON {
		return output.WriteJSON(a.out, struct {
			SchemaVersion int        `json:"schema_version"`
			Shards        []shardRow `json:"shards"`
		}{output.SchemaVersion, docs})
	}
	return output.WriteTable(a.out, []string{"SHARD", "START", "END", "EPOCH", "SIZE", "READS/S", "WRITES/S", "LEADER", "REPLICAS"}, rows)
}

func shardColumns(s *client.ShardInfo) []string {
	start, end := "-inf", "+inf"
	if len(s.Users.Start) > 0 {
		start = output.Escape(s.Users.Start)
	}
	if len(s.Users.End) > 0 {
		end = output.Escape(s.Users.End)
	}
	leader := "unknown"
	if s.Leader.ID != 0 {
		leader = s.Leader.Store.String()
	}
	var replicas []string
	for _, r := range s.Replicas {
		text := r.Store.String()
		if r.Role != shard.Voter {
			text += ":" + r.Role.String()
		}
		replicas = append(replicas, text)
	}
	size := "-"
	if s.Bytes > 0 {
		size = output.Bytes(float64(s.Bytes))
	}
	return []string{s.ID.String(), start, end, s.Epoch.String(), size, rate(s.Reads), rate(s.Writes), leader, strings.Join(replicas, ",")}
}

// tenths is a rate as exactly as it is known.
func tenths(r float32) float64 { return math.Round(float64(r)*10) / 10 }

// rate is a rate for people: the first ten exactly, what is more as a whole number.
func rate(r float32) string {
	if r < 10 {
		return strconv.FormatFloat(tenths(r), 'f', -1, 64)
	}
	return strconv.Itoa(int(r + 0.5))
}

func (a *app) shardGetCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "show the shard that holds a key, as each of its stores sees it",
		Args:  cobra.ExactArgs(1),
	}
	var form byteForm
	form.flag(cmd)
	byID := cmd.Flags().Bool("id", false, "KEY is the number of a shard")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			info, err := findShard(ctx, s, args[0], *byID, &form)
			if err != nil {
				return err
			}
			replicas, err := s.Admin().Replicas(ctx, info.ID)
			if err != nil {
				return err
			}
			return a.printShard(&info, replicas, *format)
		})
	}
	return cmd
}

func findShard(ctx context.Context, s *session, text string, byID bool, form *byteForm) (client.ShardInfo, error) {
	if byID {
		id, err := parseID[shard.ID]("shard", "s", text)
		if err != nil {
			return client.ShardInfo{}, err
		}
		return s.Admin().ShardByID(ctx, id)
	}
	key, err := form.key(text)
	if err != nil {
		return client.ShardInfo{}, err
	}
	return s.Admin().Shard(ctx, key)
}

func (a *app) printShard(s *client.ShardInfo, replicas []client.ReplicaInfo, format output.Format) error {
	if format == output.JSON {
		row := makeShardRow(s)
		row.Replicas = row.Replicas[:0]
		for _, r := range replicas {
			row.Replicas = append(row.Replicas, makeReplicaRow(&r))
		}
		return output.WriteJSON(a.out, struct {
			SchemaVersion int      `json:"schema_version"`
			Shard         shardRow `json:"shard"`
		}{output.SchemaVersion, row})
	}
	c := shardColumns(s)
	fmt.Fprintf(a.out, "shard   %s\nkeys    from %s to %s\nepoch   %s\nsize    %s\nload    %s reads/s, %s writes/s\nleader  %s, term %d\n\n", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], s.Term)
	rows := make([][]string, 0, len(replicas))
	for _, r := range replicas {
		rows = append(rows, replicaColumns(&r))
	}
	err := output.WriteTable(a.out, []string{"STORE", "REPLICA", "ROLE", "STATE", "TERM", "APPLIED", "COMMITTED", "LAST", "TRUNCATED", "LOG"}, rows)
	for _, r := range replicas {
		if r.Err != nil {
			fmt.Fprintf(a.out, "\n%s could not be asked: %v\n", r.Store, r.Err)
		}
	}
	return err
}

func makeReplicaRow(r *client.ReplicaInfo) replicaRow {
	row := replicaRow{ID: uint64(r.Replica), Store: uint64(r.Store), Role: r.Role}
	if r.Err != nil {
		row.Error = r.Err.Error()
		return row
	}
	row.State = &replicaLog{Leading: r.Leading, Asleep: r.Asleep, Term: r.Term, Applied: r.Applied, Committed: r.Committed,
		Last: r.Last, Truncated: r.Truncated, LogBytes: r.LogBytes}
	return row
}

func replicaColumns(r *client.ReplicaInfo) []string {
	row := []string{r.Store.String(), r.Replica.String(), r.Role}
	switch {
	case r.Err != nil:
		return append(row, "unknown", "", "", "", "", "", "")
	case r.Leading && r.Asleep:
		row = append(row, "leads, asleep")
	case r.Leading:
		row = append(row, "leads")
	case r.Asleep:
		row = append(row, "follows, asleep")
	default:
		row = append(row, "follows")
	}
	for _, n := range [...]uint64{r.Term, r.Applied, r.Committed, r.Last, r.Truncated} {
		row = append(row, fmt.Sprint(n))
	}
	return append(row, output.Bytes(float64(r.LogBytes)))
}
