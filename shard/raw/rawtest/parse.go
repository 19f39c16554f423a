package rawtest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// ParseCommand reads a command as transcripts write it, one condition or operation a line:
//
//	if absent KEY | if exists KEY | if equals KEY VALUE
//	put KEY VALUE [ttl=DURATION] | delete KEY | delete-range START,END
//	times N          what stands above, N times
//
// A key or value "" is empty, "xy*100" is x and 99 times y, a bound * is empty. Other operations get a kind that nobody
// knows, and "if absent-with-value KEY" makes the condition that Check refuses.
func ParseCommand(in string) (*raw.Command, error) {
	c := &raw.Command{}
	for l := range strings.Lines(in) {
		f := strings.Fields(l)
		if len(f) < 2 {
			return nil, fmt.Errorf("parse command line %q: too few words", l)
		}
		var err error
		switch f[0] {
		case "if":
			err = parseCondition(c, f[1:])
		case "times":
			err = repeat(c, f[1])
		default:
			err = parseOp(c, f)
		}
		if err != nil {
			return nil, fmt.Errorf("parse command line %q: %w", l, err)
		}
	}
	return c, nil
}

func parseCondition(c *raw.Command, f []string) error {
	if len(f) < 2 {
		return fmt.Errorf("no key")
	}
	cond := raw.Condition{Key: word(f[1])}
	switch f[0] {
	case "absent":
	case "exists":
		cond.Exists = true
	case "absent-with-value":
		cond.HasValue = true
	case "equals":
		if len(f) < 3 {
			return fmt.Errorf("no value")
		}
		cond.Exists, cond.HasValue, cond.Value = true, true, word(f[2])
	default:
		return fmt.Errorf("unknown condition")
	}
	c.Conditions = append(c.Conditions, cond)
	return nil
}

func parseOp(c *raw.Command, f []string) error {
	op := raw.Op{Kind: 9, Key: word(f[1])}
	switch f[0] {
	case "put":
		op.Kind = raw.Put
		for _, a := range f[2:] {
			ttl, ok := strings.CutPrefix(a, "ttl=")
			if !ok {
				op.Value = word(a)
				continue
			}
			var err error
			if op.TTL, err = time.ParseDuration(ttl); err != nil {
				return err
			}
		}
	case "delete":
		op.Kind = raw.Delete
	case "delete-range":
		r := ParseRange(f[1])
		op.Kind, op.Key, op.End = raw.DeleteRange, r.Start, r.End
	}
	c.Ops = append(c.Ops, op)
	return nil
}

func repeat(c *raw.Command, times string) error {
	n, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	for one := *c; n > 1; n-- {
		c.Ops = append(c.Ops, one.Ops...)
		c.Conditions = append(c.Conditions, one.Conditions...)
	}
	return nil
}

// ParseRange reads "START,END"; a bound * is empty.
func ParseRange(s string) shard.Range {
	a, b, _ := strings.Cut(s, ",")
	return shard.Range{Start: shard.Key(strings.Trim(a, "*")), End: shard.Key(strings.Trim(b, "*"))}
}

func word(s string) []byte {
	if s == `""` {
		return nil
	}
	if x, times, ok := strings.Cut(s, "*"); ok && len(x) > 0 {
		n, err := strconv.Atoi(times)
		if err == nil && n > 0 {
			return []byte(x[:1] + strings.Repeat(x[len(x)-1:], n-1))
		}
	}
	return []byte(s)
}
