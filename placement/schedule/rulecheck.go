package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds on what rules may say.
const (
	// MaxReplicas is the largest number of voters. More cost every write and hardly make anything safer.
	MaxReplicas = 15
	// MaxIsolation is the largest number of isolation labels.
	MaxIsolation = 8
)

// Check says what is wrong with the rules, nil if they can be followed. Whether stores exist that meet them is another
// question.
func (r *Rules) Check() error {
	if r.Replicas < 1 || r.Replicas > MaxReplicas {
		return fmt.Errorf("placement rules: replicas is %d, it must be from 1 to %d", r.Replicas, MaxReplicas)
	}
	if len(r.Isolation) > MaxIsolation {
		return fmt.Errorf("placement rules: %d isolation labels, at most %d are allowed", len(r.Isolation), MaxIsolation)
	}
	for i, key := range r.Isolation {
		if key == "" || slices.Contains(r.Isolation[:i], key) {
			return fmt.Errorf("placement rules: isolation label %q is empty or named twice", key)
		}
	}
	for i := range r.Ranges {
		if err := r.checkRange(i); err != nil {
			return fmt.Errorf("placement rules: range %d (%q): %w", i+1, r.Ranges[i].Name, err)
		}
	}
	return nil
}

func (r *Rules) checkRange(i int) error {
	rule := &r.Ranges[i]
	switch {
	case rule.Name == "":
		return fmt.Errorf("it has no name")
	case slices.ContainsFunc(r.Ranges[:i], func(o RangeRule) bool { return o.Name == rule.Name }):
		return fmt.Errorf("an earlier one has the same name")
	case rule.rng().Empty():
		return fmt.Errorf("%s holds no key", rule.rng())
	case i > 0 && (len(r.Ranges[i-1].End) == 0 || bytes.Compare(rule.Start, r.Ranges[i-1].End) < 0):
		return fmt.Errorf("%s begins before %q ends; ranges ascend and do not overlap", rule.rng(), r.Ranges[i-1].Name)
	case rule.Replicas < 0 || rule.Replicas > MaxReplicas:
		return fmt.Errorf("replicas is %d, it must be from 1 to %d, or 0 for the cluster's own", rule.Replicas, MaxReplicas)
	}
	for _, cs := range [][]Constraint{rule.Require, rule.Leaders} {
		for i := range cs {
			if err := cs[i].check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Constraint) check() error {
	switch {
	case c.Key == "":
		return fmt.Errorf("a constraint has no key")
	case len(c.Values) == 0 && c.Not:
		return fmt.Errorf("constraint on %q excludes no value", c.Key)
	case len(c.Values) == 0:
		return fmt.Errorf("constraint on %q names no value, so no store could meet it", c.Key)
	}
	return nil
}

// String is the constraint as people write it: zone=a|b, disk!=hdd.
func (c Constraint) String() string {
	op := "="
	if c.Not {
		op = "!="
	}
	return c.Key + op + strings.Join(c.Values, "|")
}

// EncodeRules is the form in which rules are kept. Check them before.
func EncodeRules(r Rules) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("placement rules: %v", err)) // no field of theirs can be beyond JSON
	}
	return b
}

// DecodeRules reads and checks rules. A field that is not known is refused rather than ignored: whoever wrote it counts
// on it.
func DecodeRules(b []byte) (Rules, error) {
	var r Rules
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Rules{}, fmt.Errorf("placement rules: read JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Rules{}, fmt.Errorf("placement rules: read JSON: something follows the rules")
	}
	if err := r.Check(); err != nil {
		return Rules{}, err
	}
	return r, nil
}
