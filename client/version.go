package client

import (
	"context"
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/shard/beat"
)

// VersionInfo is the version of the cluster, and what each store and placement member can take part in. A version is raised
// when the last node was upgraded, and never lowered; see docs/upgrades.md.
type VersionInfo = beat.VersionStatus

// NodeVersion is one of them.
type NodeVersion = beat.NodeVersion

// Version asks placement, which asks its members.
func (a *Admin) Version(ctx context.Context) (*VersionInfo, error) {
	return a.version(ctx, "ask for the cluster's version", beat.VersionOrder{})
}

// FinalizeVersion raises the version of the cluster to the newest that any node knows, if all of them know it and are heard.
// It says which are in the way otherwise; nothing was changed then. From then on no node can go back to the program that it
// was upgraded from. With DryRun it is only checked. If there is nothing to raise it does nothing.
func (a *Admin) FinalizeVersion(ctx context.Context) (*VersionInfo, error) {
	const what = "finalize the cluster's version"
	v, err := a.version(ctx, what, beat.VersionOrder{Raise: true})
	if err != nil {
		return nil, err
	}
	in := v.InTheWay()
	if len(in) == 0 {
		return v, nil
	}
	var why []string
	for _, n := range in {
		why = append(why, fmt.Sprintf("%s %d at %s: %s", n.Role, uint64(n.ID), n.Addr, n.Why))
	}
	return v, &Error{Op: what, Kind: ErrInvalid, Hint: "nothing was changed",
		Cause: fault.Errorf(fault.NodesBehind, "version %s is not known to all: %s", v.Target, strings.Join(why, "; "))}
}

func (a *Admin) version(ctx context.Context, what string, o beat.VersionOrder) (*VersionInfo, error) {
	out, err := a.order(ctx, what, &beat.Order{Version: &o})
	if err != nil {
		return nil, err
	}
	return out.Version, nil
}

// Setting is one that was made for the whole cluster, as text.
type Setting = setting.Made

// Settings are those that were made for the whole cluster, by key. Where they say nothing, each node goes by what it was told
// at its start.
func (a *Admin) Settings(ctx context.Context) ([]Setting, error) {
	return a.settings(ctx, "read the settings of the cluster", beat.SettingsOrder{})
}

// SetSettings makes settings for the whole cluster, all or none. Every node goes by them within two seconds or so, without a
// restart, and so does one that joins. It returns all that are made.
func (a *Admin) SetSettings(ctx context.Context, set ...Setting) ([]Setting, error) {
	return a.settings(ctx, "set settings of the cluster", beat.SettingsOrder{Set: set})
}

// ResetSettings has every node go by what it was told at its start again.
func (a *Admin) ResetSettings(ctx context.Context, keys ...string) ([]Setting, error) {
	return a.settings(ctx, "reset settings of the cluster", beat.SettingsOrder{Reset: keys})
}

func (a *Admin) settings(ctx context.Context, what string, o beat.SettingsOrder) ([]Setting, error) {
	out, err := a.order(ctx, what, &beat.Order{Settings: &o})
	if err != nil {
		return nil, err
	}
	return out.Settings, nil
}
