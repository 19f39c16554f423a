package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Completion of ids asks the cluster: what is typed is most often copied from a list that was printed a moment ago.
const (
	completeTimeout = 2 * time.Second
	maxCompletions  = 200
)

// ids lists ids with a word about each, separated by a tab.
type ids func(ctx context.Context, s *session) ([]string, error)

type completion = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// complete completes arguments: the first one with the first list, and so on.
func (a *app) complete(lists ...ids) completion {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(lists) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.completeWord(cmd, lists[len(args)], word), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag.
func (a *app) completeFlag(cmd *cobra.Command, flag string, list ids) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeWord(cmd, list, word), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeWord returns what begins with a word. A cluster that does not answer completes nothing.
func (a *app) completeWord(cmd *cobra.Command, list ids, word string) []string {
	var out []string
	_ = a.withDB(cmd, func(ctx context.Context, s *session) error {
		ctx, cancel := context.WithTimeout(ctx, completeTimeout)
		defer cancel()
		all, err := list(ctx, s)
		for _, text := range all {
			if strings.HasPrefix(text, word) && len(out) < maxCompletions {
				out = append(out, text)
			}
		}
		return err
	})
	return out
}

func (a *app) shardIDs(ctx context.Context, s *session) ([]string, error) {
	var out []string
	for sh, err := range s.Admin().Shards(ctx) {
		if err != nil {
			return out, err
		}
		c := shardColumns(&sh)
		out = append(out, fmt.Sprintf("%s\tfrom %s to %s", sh.ID, c[1], c[2]))
	}
	return out, nil
}

func (a *app) storeIDs(ctx context.Context, s *session) ([]string, error) {
	stores, err := s.Admin().Stores(ctx)
	var out []string
	for _, st := range stores {
		if st.State != "removed" {
			out = append(out, fmt.Sprintf("%s\t%s, %s", st.ID, st.Addr, st.State))
		}
	}
	return out, err
}

func (a *app) memberIDs(ctx context.Context, s *session) ([]string, error) {
	members, _, err := s.Admin().MemberStatus(ctx)
	var out []string
	for _, m := range members {
		if m.State != memberRemoved {
			out = append(out, fmt.Sprintf("%d\t%s, %s", uint64(m.Member), m.Addr, m.State))
		}
	}
	return out, err
}

func (a *app) operatorIDs(ctx context.Context, s *session) ([]string, error) {
	ops, err := s.Admin().Operators(ctx, 0, true)
	var out []string
	for i := range ops {
		out = append(out, fmt.Sprintf("o%d\t%s of %s, %s", ops[i].ID, ops[i].Kind, ops[i].Shard, ops[i].State))
	}
	return out, err
}
