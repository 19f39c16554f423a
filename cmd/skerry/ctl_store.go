package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) ctlStoreCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "stores: list them, label, drain and remove them",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.storeListCmd(format), a.storeDrainCmd(format), a.storeUndrainCmd(format), a.storeEvictCmd(format), a.storeAllowCmd(format), a.storeLabelCmd(format), a.storeRemoveCmd(format))
	return cmd
}

// storeRow is a store in JSON.
type storeRow struct {
	ID          uint64  `json:"id"`
	Addr        string  `json:"addr"`
	State       string  `json:"state"`
	SeenSeconds float64 `json:"seen_seconds_ago"`
	Shards      int     `json:"shards"`
	Leaders     int     `json:"leaders"`
	Used        uint64  `json:"used_bytes"`
	Free        uint64  `json:"free_bytes"`
	Capacity    uint64  `json:"capacity_bytes"`
	Version     string  `json:"version"`
	// Draining: somebody wants it empty, whatever its state.
	Draining bool              `json:"draining,omitempty"`
	Evicting bool              `json:"evicting,omitempty"` // it shall lead nothing
	Labels   map[string]string `json:"labels,omitempty"`
	Bytes    uint64            `json:"bytes,omitempty"` // of its replicas, about
	SlowDisk bool              `json:"slow_disk,omitempty"`
	SlowNet  bool              `json:"slow_net,omitempty"`
	// Unheard: a new leader of placement has not heard it yet; leaders, disk and version are not known.
	Unheard bool `json:"unheard,omitempty"`
}

func (a *app) storeListCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the stores",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, s *session) error {
				ctx, cancel := s.limit(ctx)
				defer cancel()
				stores, err := s.Admin().Stores(ctx)
				if err != nil {
					return err
				}
				return a.printStores(stores, *format)
			})
		},
	}
}

func (a *app) printStores(stores []client.StoreInfo, format output.Format) error {
	if format == output.JSON {
		out := make([]storeRow, 0, len(stores))
		for _, s := range stores {
			labels := make(map[string]string)
			for _, l := range s.Labels {
				labels[l.Key] = l.Value
			}
			out = append(out, storeRow{Draining: s.Draining, Evicting: s.Evicting, Unheard: s.Unheard, Labels: labels, Bytes: s.Bytes, SlowDisk: s.SlowDisk, SlowNet: s.SlowNet, ID: uint64(s.ID), Addr: s.Addr, State: s.State, SeenSeconds: s.SeenAgo.Seconds(), Shards: s.Shards,
				Leaders: s.Leaders, Used: s.Used, Free: s.Free, Capacity: s.Capacity, Version: s.Version})
		}
		return output.WriteJSON(a.out, struct {
			SchemaVersion int        `json:"schema_version"`
			Stores        []storeRow `json:"stores"`
		}{output.SchemaVersion, out})
	}
	rows := make([][]string, 0, len(stores))
	for _, s := range stores {
		size := func(n uint64) string { return output.Bytes(float64(n)) }
		state := s.State
		if s.Draining && state != "draining" {
			state += ", draining"
		}
		if s.Evicting {
			state += ", leads nothing"
		}
		if s.SlowDisk {
			state += ", slow"
		}
		if s.SlowNet {
			state += ", far"
		}
		row := []string{s.ID.String(), s.Addr, state, output.Duration(s.SeenAgo), strconv.Itoa(s.Shards), strconv.Itoa(s.Leaders),
			size(s.Used), size(s.Free), size(s.Capacity), s.Version, labelText(s.Labels)}
		if s.Unheard {
			for i := 3; i < 10; i++ {
				if i != 4 { // its replicas are in the records
					row[i] = "-"
				}
			}
		}
		rows = append(rows, row)
	}
	return output.WriteTable(a.out, []string{"STORE", "ADDRESS", "STATE", "SEEN", "SHARDS", "LEADERS", "USED", "FREE", "CAPACITY", "VERSION", "LABELS"}, rows)
}

func (a *app) storeRemoveCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove STORE",
		Short: "declare a store gone for good",
		Long: `Remove tells placement that a store will never come back: what is still on it is made anew on
other stores, and the store stops if it appears again. A store that is up and holds replicas is
not removed: drain it, or stop it.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.complete(a.storeIDs)
	yes := cmd.Flags().Bool("yes", false, "it is really to go")
	dry := cmd.Flags().Bool("dry-run", false, "check whether it could be removed, and do nothing")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("store", "st", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			if err := s.Admin().DryRun().RetireStore(ctx, id); err != nil {
				return err
			}
			st, err := findStore(ctx, s, id)
			switch {
			case err != nil:
				return err
			case *dry:
				_, err = fmt.Fprintf(a.err, "%s at %s (%s), with %d replicas, would be removed\n", id, st.Addr, st.State, st.Shards)
				return err
			case !*yes:
				return unconfirmedf("store %s at %s (%s) would never be let in again and its %d replicas be made anew; say --yes if it is gone for good",
					id, st.Addr, st.State, st.Shards)
			}
			if err := s.Admin().RetireStore(ctx, id); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s is removed; `%s ctl status` shows when its replicas are replaced\n", id, a.name)
			return a.printStore(ctx, s, id, *format)
		})
	}
	return cmd
}

// parseID reads an id with or without the letters that are printed before it.
func parseID[T ~uint64](noun, letters, text string) (T, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, letters), 10, 64)
	if err != nil || n == 0 {
		article := "a"
		if noun[0] == 'o' {
			article = "an"
		}
		example := letters + "1001"
		if letters == "m" {
			example = "2" // members are numbers, and the first ones small
		}
		return 0, usagef("%q is not %s %s; write its number, such as %s", text, article, noun, example)
	}
	return T(n), nil
}
