package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

func (a *app) ctlStoreCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "stores: list them, remove one that is gone",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.storeListCmd(format), a.storeRemoveCmd())
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
			out = append(out, storeRow{ID: uint64(s.ID), Addr: s.Addr, State: s.State, SeenSeconds: s.SeenAgo.Seconds(), Shards: s.Shards,
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
		rows = append(rows, []string{s.ID.String(), s.Addr, s.State, output.Duration(s.SeenAgo), strconv.Itoa(s.Shards), strconv.Itoa(s.Leaders),
			size(s.Used), size(s.Free), size(s.Capacity), s.Version})
	}
	return output.WriteTable(a.out, []string{"STORE", "ADDRESS", "STATE", "SEEN", "SHARDS", "LEADERS", "USED", "FREE", "CAPACITY", "VERSION"}, rows)
}

func (a *app) storeRemoveCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove STORE",
		Short: "declare a store gone for good",
		Long: `Remove tells placement that a store will never come back: its replicas are made anew on
other stores, and the store stops if it appears again. A store that is up is not removed;
stop it first.`,
		Args: cobra.ExactArgs(1),
	}
	yes := cmd.Flags().Bool("yes", false, "the store and its data are really gone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseID[shard.StoreID]("store", "st", args[0])
		if err != nil {
			return err
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			if err := checkRemovable(ctx, s, id, *yes); err != nil {
				return err
			}
			if err := removeStore(ctx, s, id); err != nil {
				return fmt.Errorf("remove store %s: %w", id, err)
			}
			_, err := fmt.Fprintf(a.err, "%s is removed; `%s ctl status` shows when its replicas are replaced\n", id, a.name)
			return err
		})
	}
	return cmd
}

// checkRemovable refuses to remove a store that is not there, or that is still alive.
func checkRemovable(ctx context.Context, s *session, id shard.StoreID, yes bool) error {
	stores, err := s.Admin().Stores(ctx)
	if err != nil {
		return err
	}
	for _, st := range stores {
		if st.ID != id {
			continue
		}
		if st.State == "up" {
			return fmt.Errorf("store %s at %s is up; stop it before it is removed", id, st.Addr)
		}
		if !yes {
			return fmt.Errorf("store %s at %s (%s) would never be let in again and its %d replicas be made anew; say --yes if it is gone for good",
				id, st.Addr, st.State, st.Shards)
		}
		return nil
	}
	return fmt.Errorf("there is no store %s; see `ctl store list`", id)
}

// removeStore asks the placement members until the one that leads has done it.
func removeStore(ctx context.Context, s *session, id shard.StoreID) error {
	members, err := s.Admin().Members(ctx)
	if err != nil {
		return err
	}
	conns := rpc.NewConns(nil)
	defer func() { _ = conns.Close() }()
	var errs []error
	for _, m := range members {
		one, cancel := context.WithTimeout(ctx, nodeTimeout)
		err := conns.Placement(m.Addr).RemoveStore(one, id)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("member at %s: %w", m.Addr, err))
	}
	return errors.Join(errs...)
}

// parseID reads an id with or without the letters that are printed before it.
func parseID[T ~uint64](noun, letters, text string) (T, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, letters), 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a %s; write its number, such as %s1001", text, noun, letters)
	}
	return T(n), nil
}
