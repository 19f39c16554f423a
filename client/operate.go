package client

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// What administrators ask of placement goes to its leader, wherever that is. Asking again for the same thing after an
// answer was lost is harmless, so it is done until there is an answer or the time is over. A refusal wraps ErrInvalid and
// says what to do instead.

// OperatorInfo is one plan of placement for one shard.
type OperatorInfo = beat.Operator

// PlanInfo is how full stores would be after a change.
type PlanInfo = beat.Plan

// Explanation is why something is as it is.
type Explanation struct {
	// Lines are sentences for a person.
	Lines []string
	// Operators are those of the shard, what is under way first.
	Operators []OperatorInfo
	// Paused is how long nothing is scheduled yet.
	Paused time.Duration
}

// DryRun returns an Admin whose changes are checked and described, and not made.
func (a *Admin) DryRun() *Admin { return &Admin{db: a.db, dry: true} }

// planTimeout bounds a question for which placement runs its schedulers over all shards, or asks all of its members.
const planTimeout = 30 * time.Second

// order asks placement's leader until there is an answer.
func (a *Admin) order(ctx context.Context, what string, o *beat.Order) (*beat.Outcome, error) {
	o.DryRun = a.dry
	each := locateTimeout
	if o.Plan != nil || o.Drain != nil || o.Version != nil {
		each = planTimeout
	}
	e := a.db.begin(ctx, what, nil)
	for {
		if stop := e.over(); stop != nil {
			return nil, e.stopped(stop)
		}
		var out *beat.Outcome
		err := a.db.place.askFor(ctx, each, func(ctx context.Context, addr string) (err error) {
			out, err = a.db.conn.Administer(ctx, addr, o)
			return err
		})
		if err == nil {
			return out, nil
		}
		if isRejected(err) || isForeign(err) {
			return nil, e.rejected(err)
		}
		if stop := e.pause(noRoute, err, 0); stop != nil {
			return nil, e.stopped(stop)
		}
	}
}

// MoveShard has the replica of a shard on one store moved to another, which must hold none of it. It returns when that is
// planned; Operator shows how far it is.
func (a *Admin) MoveShard(ctx context.Context, id shard.ID, from, to shard.StoreID) (OperatorInfo, error) {
	return a.one(ctx, fmt.Sprintf("move %s from %s to %s", id, from, to), &beat.Order{Move: &beat.MoveOrder{Shard: id, From: from, To: to}})
}

// PlaceLeader has a shard led by its voter on a store, as an operator of placement: it is tried until it is so, and is
// refused while something more urgent is under way. TransferLeader asks the store that leads, at once and once. If the
// store leads already, the operator has no id.
func (a *Admin) PlaceLeader(ctx context.Context, id shard.ID, to shard.StoreID) (OperatorInfo, error) {
	return a.one(ctx, fmt.Sprintf("let %s lead %s", to, id), &beat.Order{Transfer: &beat.TransferOrder{Shard: id, To: to}})
}

func (a *Admin) one(ctx context.Context, what string, o *beat.Order) (OperatorInfo, error) {
	out, err := a.order(ctx, what, o)
	if err != nil || len(out.Operators) == 0 {
		return OperatorInfo{}, err
	}
	return out.Operators[0], nil
}

// ScatterShards has shards spread over the stores as if there were no others, and returns what that takes.
func (a *Admin) ScatterShards(ctx context.Context, ids ...shard.ID) ([]OperatorInfo, error) {
	out, err := a.order(ctx, "scatter shards", &beat.Order{Scatter: &beat.ScatterOrder{Shards: ids}})
	if err != nil {
		return nil, err
	}
	return out.Operators, nil
}

// ScatterRange has the shards that hold keys of a range spread over the stores as if there were no others.
func (a *Admin) ScatterRange(ctx context.Context, r Range) ([]OperatorInfo, error) {
	if err := checkRange("scatter shards", r); err != nil {
		return nil, err
	}
	full := r.whole()
	out, err := a.order(ctx, "scatter shards", &beat.Order{Scatter: &beat.ScatterOrder{Range: true, Start: full.Start, End: full.End}})
	if err != nil {
		return nil, err
	}
	return out.Operators, nil
}

// DrainStore has everything moved away from a store, which serves until then. It is refused if the other stores cannot
// hold it, unless force is set. Store shows how far it is.
func (a *Admin) DrainStore(ctx context.Context, id shard.StoreID, force bool) error {
	_, err := a.order(ctx, fmt.Sprintf("drain %s", id), &beat.Order{Drain: &beat.StoreOrder{Store: id, Force: force}})
	return err
}

// UndrainStore ends that. What has moved comes back only as balance wants it.
func (a *Admin) UndrainStore(ctx context.Context, id shard.StoreID) error {
	_, err := a.order(ctx, fmt.Sprintf("undrain %s", id), &beat.Order{Undrain: &beat.StoreOrder{Store: id}})
	return err
}

// EvictLeaders has a store lead nothing: its leaderships move to other replicas, and none comes back until AllowLeaders. It
// keeps its replicas, and serves what followers serve. That is on record: it outlives restarts.
func (a *Admin) EvictLeaders(ctx context.Context, id shard.StoreID) error {
	_, err := a.order(ctx, fmt.Sprintf("evict leaders from %s", id), &beat.Order{Evict: &beat.StoreOrder{Store: id}})
	return err
}

// AllowLeaders ends that. Leaderships come back as balance wants them.
func (a *Admin) AllowLeaders(ctx context.Context, id shard.StoreID) error {
	_, err := a.order(ctx, fmt.Sprintf("allow leaders on %s", id), &beat.Order{Admit: &beat.StoreOrder{Store: id}})
	return err
}

// RetireStore declares a store gone for good that is empty or not heard; it is refused for one that is up and holds
// replicas. RemoveStore does not ask for that.
func (a *Admin) RetireStore(ctx context.Context, id shard.StoreID) error {
	_, err := a.order(ctx, fmt.Sprintf("remove %s", id), &beat.Order{Remove: &beat.StoreOrder{Store: id}})
	return err
}

// LabelStore gives a store labels, such as zone=a, which placement rules are about; an empty value takes one away.
func (a *Admin) LabelStore(ctx context.Context, id shard.StoreID, labels map[string]string) error {
	o := &beat.LabelOrder{Store: id}
	// in any order: sorted below
	for k, v := range labels {
		o.Labels = append(o.Labels, beat.Label{Key: k, Value: v})
	}
	slices.SortFunc(o.Labels, func(a, b beat.Label) int { return strings.Compare(a.Key, b.Key) })
	_, err := a.order(ctx, fmt.Sprintf("label %s", id), &beat.Order{Label: o})
	return err
}

// Operators lists what placement has under way, by id; with history also what ended lately, the latest first. A zero id
// means all shards.
func (a *Admin) Operators(ctx context.Context, of shard.ID, history bool) ([]OperatorInfo, error) {
	out, err := a.order(ctx, "list operators", &beat.Order{Operators: &beat.OperatorsOrder{Shard: of, History: history}})
	if err != nil {
		return nil, err
	}
	return out.Operators, nil
}

// Operator shows one operator, under way or ended lately. Operators are soft state: when the leader of placement changes
// they are forgotten, and what was half done is ended by new ones.
func (a *Admin) Operator(ctx context.Context, id uint64) (OperatorInfo, error) {
	return a.one(ctx, fmt.Sprintf("show operator o%d", id), &beat.Order{Operators: &beat.OperatorsOrder{ID: id}})
}

// CancelOperator ends an operator. What is half done of it is undone by another one, which is returned behind it.
func (a *Admin) CancelOperator(ctx context.Context, id uint64) ([]OperatorInfo, error) {
	out, err := a.order(ctx, fmt.Sprintf("cancel operator o%d", id), &beat.Order{Cancel: &beat.CancelOrder{ID: id}})
	if err != nil {
		return nil, err
	}
	return out.Operators, nil
}

// Rules are the placement rules as JSON; see docs/placement.md.
func (a *Admin) Rules(ctx context.Context) ([]byte, error) {
	out, err := a.order(ctx, "read the placement rules", &beat.Order{Rules: &beat.RulesOrder{}})
	if err != nil {
		return nil, err
	}
	return out.Rules, nil
}

// SetRules gives other rules, which are checked first; with DryRun they are only checked. It returns them as they are kept.
func (a *Admin) SetRules(ctx context.Context, rules []byte) ([]byte, error) {
	if !json.Valid(rules) {
		return nil, refuse("set the placement rules", nil, ErrInvalid, "they are not JSON", "write them as docs/placement.md says")
	}
	out, err := a.order(ctx, "set the placement rules", &beat.Order{Rules: &beat.RulesOrder{Set: rules}})
	if err != nil {
		return nil, err
	}
	return out.Rules, nil
}

// SchedulingInfo is what placement's schedulers are about.
type SchedulingInfo struct {
	// Paused is how long nothing is scheduled yet.
	Paused time.Duration
	// Operators are how many are under way.
	Operators int
}

// Scheduling says whether scheduling is paused, and how much is under way.
func (a *Admin) Scheduling(ctx context.Context) (SchedulingInfo, error) {
	out, err := a.order(ctx, "ask about scheduling", &beat.Order{Operators: &beat.OperatorsOrder{}})
	if err != nil {
		return SchedulingInfo{}, err
	}
	return SchedulingInfo{Paused: out.Paused, Operators: len(out.Operators)}, nil
}

// PauseScheduling keeps placement from beginning anything by itself for a time, repair included; what is under way goes
// on, and what is half done is ended. 0 ends a pause.
func (a *Admin) PauseScheduling(ctx context.Context, length time.Duration) error {
	_, err := a.order(ctx, "pause scheduling", &beat.Order{Pause: &beat.PauseOrder{For: length}})
	return err
}

// ExplainShard says why a shard is where it is, and what placement thinks of that.
func (a *Admin) ExplainShard(ctx context.Context, id shard.ID) (Explanation, error) {
	return a.explain(ctx, fmt.Sprintf("explain %s", id), beat.ExplainOrder{Shard: id})
}

// ExplainStore says what placement thinks of a store.
func (a *Admin) ExplainStore(ctx context.Context, id shard.StoreID) (Explanation, error) {
	return a.explain(ctx, fmt.Sprintf("explain %s", id), beat.ExplainOrder{Store: id})
}

func (a *Admin) explain(ctx context.Context, what string, o beat.ExplainOrder) (Explanation, error) {
	out, err := a.order(ctx, what, &beat.Order{Explain: &o})
	if err != nil {
		return Explanation{}, err
	}
	return Explanation{Lines: out.Lines, Operators: out.Operators, Paused: out.Paused}, nil
}

// PlanWithout says what would happen if a store left.
func (a *Admin) PlanWithout(ctx context.Context, id shard.StoreID) (*PlanInfo, error) {
	return a.plan(ctx, beat.PlanOrder{Without: id})
}

// PlanWith says what would happen if so many empty stores of a capacity came; 0: as large as the largest.
func (a *Admin) PlanWith(ctx context.Context, stores int, capacity uint64) (*PlanInfo, error) {
	return a.plan(ctx, beat.PlanOrder{Add: stores, AddBytes: capacity})
}

func (a *Admin) plan(ctx context.Context, o beat.PlanOrder) (*PlanInfo, error) {
	out, err := a.order(ctx, "plan", &beat.Order{Plan: &o})
	if err != nil {
		return nil, err
	}
	return out.Plan, nil
}

// MemberStatus is a placement member as placement's leader sees it.
type MemberStatus = beat.MemberStatus

// MemberStatus lists the placement members that there are and were, by number, with warnings for a person.
func (a *Admin) MemberStatus(ctx context.Context) (members []MemberStatus, warnings []string, err error) {
	out, err := a.order(ctx, "list members", &beat.Order{Members: &beat.MembersOrder{}})
	if err != nil {
		return nil, nil, err
	}
	return out.Members, out.Lines, nil
}

// RemoveMember has a placement member leave for good; it destroys what it holds, and its number never comes back. It is
// refused if those that remain could not decide anything. It returns when that is on record, with warnings for a person;
// MemberStatus shows how far it is.
func (a *Admin) RemoveMember(ctx context.Context, member shard.StoreID) (warnings []string, err error) {
	out, err := a.order(ctx, fmt.Sprintf("remove member %d", uint64(member)), &beat.Order{RemoveMember: &beat.MemberOrder{Member: member}})
	if err != nil {
		return nil, err
	}
	return out.Lines, nil
}

// TransferMember has a placement member lead. It returns when the leader has begun to hand over.
func (a *Admin) TransferMember(ctx context.Context, member shard.StoreID) error {
	_, err := a.order(ctx, fmt.Sprintf("let member %d lead", uint64(member)), &beat.Order{TransferMember: &beat.MemberOrder{Member: member}})
	return err
}
