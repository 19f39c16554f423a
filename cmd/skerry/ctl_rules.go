package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// maxRulesBytes bounds what is read of a file of rules.
const maxRulesBytes = 1 << 20

// rulesDoc is placement rules as people write them: keys are users' keys in the form of the command line, constraints are
// zone=a|b and disk!=hdd.
type rulesDoc struct {
	SchemaVersion int        `json:"schema_version,omitempty"`
	Replicas      int        `json:"replicas"`
	Isolation     []string   `json:"isolation,omitempty"`
	Ranges        []rangeDoc `json:"ranges,omitempty"`
}

type rangeDoc struct {
	Name     string   `json:"name"`
	Start    string   `json:"start,omitempty"`
	End      string   `json:"end,omitempty"`
	Replicas int      `json:"replicas,omitempty"`
	Require  []string `json:"require,omitempty"`
	Leaders  []string `json:"leaders,omitempty"`
}

func (a *app) ctlRulesCmd(format *output.Format) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "placement rules: how many replicas, and where",
		Long: `Rules say how many replicas shards have, which labels keep them apart, and, for parts of the keyspace, which stores they
are on and which lead. They are JSON:

  {"replicas": 3, "isolation": ["zone", "host"],
   "ranges": [{"name": "users", "start": "user/", "end": "user0", "replicas": 5,
               "require": ["disk=ssd"], "leaders": ["zone=a|b"]}]}

Each constraint is met by a store whose label has one of the values, or, with != in place of =, none of them. Shards are
split where a range begins and ends.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.rulesGetCmd(format), a.rulesSetCmd("set", "give the cluster other rules", false), a.rulesSetCmd("check", "check rules, and do nothing", true))
	return cmd
}

func (a *app) rulesGetCmd(_ *output.Format) *cobra.Command {
	return &cobra.Command{
		Use:   "get",
		Short: "print the rules, as `set` reads them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, s *session) error {
				ctx, cancel := s.limit(ctx)
				defer cancel()
				raw, err := s.Admin().Rules(ctx)
				if err != nil {
					return err
				}
				return a.printRules(raw)
			})
		},
	}
}

func (a *app) rulesSetCmd(verb, short string, check bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " FILE",
		Short: short,
		Long:  strings.ToUpper(verb[:1]) + verb[1:] + " reads rules from a file, or from standard input for -; see `ctl rules --help` for their form.",
		Args:  cobra.ExactArgs(1),
	}
	dry := &check
	if !check {
		dry = cmd.Flags().Bool("dry-run", false, "check them, and do nothing")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := a.readRules(args[0])
		if err != nil {
			return err
		}
		rules, err := parseRules(b)
		if err != nil {
			return usagef("rules in %s: %w; `%s ctl rules --help` shows their form", args[0], err, a.name)
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			ctx, cancel := s.limit(ctx)
			defer cancel()
			raw, err := (waitFlags{dry: dry}).admin(s).SetRules(ctx, schedule.EncodeRules(rules))
			if err != nil {
				return err
			}
			if *dry {
				fmt.Fprintln(a.err, "the rules can be met")
			}
			return a.printRules(raw)
		})
	}
	return cmd
}

func (a *app) readRules(name string) ([]byte, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("rules: %w; name a file that can be read, or - for standard input", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxRulesBytes+1))
	if err == nil && len(b) > maxRulesBytes {
		err = usagef("rules in %s: more than %d bytes; that is no file of rules", name, maxRulesBytes)
	}
	return b, err
}

func (a *app) printRules(raw []byte) error {
	rules, err := schedule.DecodeRules(raw)
	if err != nil {
		return err
	}
	return output.WriteJSON(a.out, rulesFor(&rules))
}

// parseRules reads what people write.
func parseRules(b []byte) (schedule.Rules, error) {
	var doc rulesDoc
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return schedule.Rules{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return schedule.Rules{}, fmt.Errorf("something follows the rules")
	}
	out := schedule.Rules{Replicas: doc.Replicas, Isolation: doc.Isolation}
	for i := range doc.Ranges {
		r, err := parseRangeRule(&doc.Ranges[i])
		if err != nil {
			return out, fmt.Errorf("range %q: %w", doc.Ranges[i].Name, err)
		}
		out.Ranges = append(out.Ranges, r)
	}
	return out, out.Check()
}

func parseRangeRule(d *rangeDoc) (schedule.RangeRule, error) {
	out := schedule.RangeRule{Name: d.Name, Replicas: d.Replicas}
	var form byteForm
	r, err := parseRange(&form, d.Start, d.End)
	if err != nil {
		return out, err
	}
	if len(r.Start) > 0 {
		out.Start = shard.RawKey(r.Start)
	}
	if len(r.End) > 0 {
		out.End = shard.RawKey(r.End)
	}
	if out.Require, err = parseConstraints(d.Require); err != nil {
		return out, err
	}
	out.Leaders, err = parseConstraints(d.Leaders)
	return out, err
}

func parseConstraints(texts []string) ([]schedule.Constraint, error) {
	var out []schedule.Constraint
	for _, text := range texts {
		key, values, ok := strings.Cut(text, "=")
		c := schedule.Constraint{Key: strings.TrimSuffix(key, "!"), Not: strings.HasSuffix(key, "!"), Values: strings.Split(values, "|")}
		if !ok || c.Key == "" || values == "" {
			return nil, fmt.Errorf("%q is not a constraint; write zone=a|b or disk!=hdd", text)
		}
		out = append(out, c)
	}
	return out, nil
}

// rulesFor is rules as people write them.
func rulesFor(r *schedule.Rules) rulesDoc {
	doc := rulesDoc{SchemaVersion: output.SchemaVersion, Replicas: r.Replicas, Isolation: r.Isolation}
	texts := func(cs []schedule.Constraint) (out []string) {
		for _, c := range cs {
			out = append(out, c.String())
		}
		return out
	}
	for _, rr := range r.Ranges {
		doc.Ranges = append(doc.Ranges, rangeDoc{Name: rr.Name, Start: userKeyText(rr.Start), End: userKeyText(rr.End), Replicas: rr.Replicas,
			Require: texts(rr.Require), Leaders: texts(rr.Leaders)})
	}
	return doc
}

func userKeyText(k []byte) string {
	if len(k) == 0 {
		return ""
	}
	return output.Escape(shard.Key(k).User())
}
