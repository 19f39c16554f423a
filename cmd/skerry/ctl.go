package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/status"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// maxLeadersAsked bounds how many shards `ctl status` asks the stores about; beyond that many something is wrong with the
// cluster anyway.
const maxLeadersAsked = 16

// maxSuspectsAsked bounds how many suspected stores `ctl status` asks whether they are there.
const maxSuspectsAsked = 64

// nodeTimeout bounds how long a node may take to say that it is there.
const nodeTimeout = 2 * time.Second

func (a *app) ctlCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ctl",
		Short: "look at a cluster and change it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	a.registry.AddFlags(cmd.PersistentFlags(), clientKeys...)
	format := outputFlag(cmd, true)
	cmd.AddCommand(a.ctlStatusCmd(format), a.ctlMemberCmd(format), a.ctlStoreCmd(format), a.ctlShardCmd(format), a.ctlOpCmd(format), a.ctlRulesCmd(format),
		a.ctlExplainCmd(format), a.ctlPlanCmd(format), a.ctlPauseCmd(format), a.ctlResumeCmd(format),
		a.ctlTSCmd(format), a.ctlLockCmd(format), a.ctlGCCmd(format), a.ctlVersionCmd(format), a.ctlSettingsCmd(format))
	return cmd
}

func (a *app) ctlStatusCmd(format *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "say how the cluster is and what to do",
		Long: `Status prints a verdict, one line of advice per problem, and a summary. The exit code is
0 if the cluster is healthy, 1 if it is degraded (all keys are served, but less can fail
than should), 2 if it is unavailable (some keys are not, or nobody answers).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := a.picture(cmd)
			if err != nil {
				return err
			}
			r := status.Judge(p)
			if *format == output.JSON {
				err = output.WriteJSON(a.out, status.MakeDocument(p, &r))
			} else {
				err = status.Print(a.out, p, &r)
			}
			if err == nil && r.Verdict != status.Healthy {
				return &exitWith{code: int(r.Verdict)}
			}
			return err
		},
	}
}

// picture learns what can be learnt. That nobody answers is a finding and no error.
func (a *app) picture(cmd *cobra.Command) (*status.Picture, error) {
	v, err := a.load(cmd)
	if err != nil {
		return nil, err
	}
	p := &status.Picture{Addr: strings.Join(v.List(keyAddr), ",")}
	s, err := a.open(cmd)
	if err == nil {
		defer func() { _ = s.Close() }()
		ctx, cancel := s.limit(cmd.Context())
		defer cancel()
		err = fillPicture(ctx, s, p)
	}
	if cmd.Context().Err() != nil {
		return nil, err
	}
	if err != nil {
		p.Err = errors.New(explain(err))
	}
	return p, nil
}

func fillPicture(ctx context.Context, s *session, p *status.Picture) error {
	admin := s.Admin()
	var err error
	if p.Stores, err = admin.Stores(ctx); err != nil {
		return err
	}
	for sh, err := range admin.Shards(ctx) {
		if err != nil {
			return err
		}
		p.Shards = append(p.Shards, sh)
	}
	sched, err := admin.Scheduling(ctx)
	if err != nil {
		return err
	}
	p.Paused, p.Operators = sched.Paused, sched.Operators
	if p.Version, err = admin.Version(ctx); err != nil && !errors.Is(err, client.ErrInvalid) { // an older placement does not know the question
		return err
	}
	askSuspects(ctx, s.tls, p)
	findLeaders(ctx, admin, p)
	members, err := admin.Members(ctx)
	if err != nil {
		return err
	}
	infos := askNodes(ctx, s.tls, memberAddrs(members))
	for i, m := range members {
		if infos[i].err == nil && infos[i].Member != m.Store {
			infos[i].err = fmt.Errorf("the node at %s answers, but member %d is not there", m.Addr, uint64(m.Store))
		}
		p.Members = append(p.Members, status.Member{MemberInfo: m, Err: infos[i].err})
		if infos[i].err == nil && infos[i].Cluster != 0 {
			p.Cluster = infos[i].Cluster.String()
		}
	}
	return nil
}

// findLeaders asks the stores about shards of which placement does not know the leader, or believes it on a store that is
// not up. Placement hears of leaders with heartbeats, about a second late; a shard that is served is not to be reported
// as one without a leader.
func findLeaders(ctx context.Context, admin *client.Admin, p *status.Picture) {
	up := make(map[shard.StoreID]bool)
	for _, st := range p.Stores {
		up[st.ID] = st.State == "up" || p.Answers[st.ID]
	}
	asked := 0
	for i := range p.Shards {
		s := &p.Shards[i]
		if s.Leader.ID != 0 && up[s.Leader.Store] || asked == maxLeadersAsked {
			continue
		}
		asked++
		replicas, err := admin.Replicas(ctx, s.ID)
		if err != nil {
			return // what placement said stands
		}
		for _, r := range replicas {
			if r.Leading {
				s.Leader = shard.Replica{ID: r.Replica, Store: r.Store, Role: shard.Voter}
			}
		}
	}
}

// askSuspects finds out whether stores that placement suspects are there all the same.
func askSuspects(ctx context.Context, cfg *tls.Config, p *status.Picture) {
	p.Answers = make(map[shard.StoreID]bool)
	var ids []shard.StoreID
	var addrs []string
	for _, st := range p.Stores {
		if st.State == "suspect" && len(ids) < maxSuspectsAsked {
			ids, addrs = append(ids, st.ID), append(addrs, st.Addr)
		}
	}
	for i, answer := range askNodes(ctx, cfg, addrs) {
		p.Answers[ids[i]] = answer.err == nil && slices.Contains(answer.Stores, ids[i])
	}
}

// nodeAnswer is what a node said of itself.
type nodeAnswer struct {
	rpc.NodeInfo
	err error
}

// askNodes asks nodes, all at once, who they are.
func askNodes(ctx context.Context, cfg *tls.Config, addrs []string) []nodeAnswer {
	conns := rpc.NewConns(cfg)
	defer func() { _ = conns.Close() }()
	out := make([]nodeAnswer, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() {
			one, cancel := context.WithTimeout(ctx, nodeTimeout)
			defer cancel()
			out[i].NodeInfo, out[i].err = conns.Node(addr).Info(one)
		})
	}
	wg.Wait()
	return out
}

func memberAddrs(members []client.MemberInfo) []string {
	addrs := make([]string, len(members))
	for i, m := range members {
		addrs[i] = m.Addr
	}
	return addrs
}

// clusterID asks placement for the cluster's id.
func clusterID(ctx context.Context, s *session) (string, error) {
	members, err := s.Admin().Members(ctx)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, m := range askNodes(ctx, s.tls, memberAddrs(members)) {
		if m.err == nil && m.Cluster != 0 {
			return m.Cluster.String(), nil
		}
		errs = append(errs, m.err)
	}
	return "", fault.With(fault.Unavailable, fmt.Errorf("no placement member says which cluster this is: %w; `skerry ctl status` says what is wrong", errors.Join(errs...)))
}
