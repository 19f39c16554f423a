package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/skerrydb/skerry/internal/cli/output"
)

// Source is one of the five places that values come from.
type Source string

// The sources, weakest first.
const (
	FromDefault Source = "default"
	FromFile    Source = "file"
	FromEnv     Source = "environment"
	FromFlag    Source = "flag"
	FromCluster Source = "cluster" // set while it runs, see Overlay
)

// Origin is where a value came from.
type Origin struct {
	Source Source
	Name   string // of the file, the variable or the flag
}

func (o Origin) String() string { return strings.TrimSpace(string(o.Source) + " " + o.Name) }

// value is the text of a setting; a List has any number of elements, every other kind exactly one.
type value struct {
	elements []string
	origin   Origin
}

// makeValue takes what viper gives: a string from a flag, a variable or a default, or any scalar or array of a file.
func makeValue(s *Setting, in any) (value, error) {
	switch x := in.(type) {
	case string:
		if s.Kind == List {
			return value{elements: splitList(x)}, nil
		}
		return value{elements: []string{x}}, nil
	case []any:
		if s.Kind != List {
			return value{}, fmt.Errorf("is a list; write one %s", s.Kind)
		}
		var v value
		for _, e := range x {
			text, err := scalar(e)
			if err != nil {
				return value{}, err
			}
			v.elements = append(v.elements, text)
		}
		return v, nil
	case map[string]any:
		return value{}, fmt.Errorf("is a table; write one %s", s.Kind)
	default:
		text, err := scalar(in)
		return value{elements: []string{text}}, err
	}
}

func scalar(in any) (string, error) {
	switch x := in.(type) {
	case string:
		return x, nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(x), nil
	}
	return "", fmt.Errorf("has a value of a kind that no setting takes (%T)", in)
}

// splitList cuts at commas; spaces around elements and empty elements are dropped.
func splitList(text string) []string {
	var out []string
	for e := range strings.SplitSeq(text, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

func (v value) check(s *Setting) error {
	for _, e := range v.elements {
		if err := s.check(e); err != nil {
			return err
		}
	}
	return nil
}

// Values are all settings of one Load. The typed getters panic on a key that is not in the table or not of that kind;
// the text was checked by Load.
type Values struct {
	registry *Registry
	values   map[string]value
}

func (v *Values) get(key string, kind Kind) value {
	s := v.registry.byKey[key]
	if s == nil || s.Kind != kind {
		panic(fmt.Sprintf("config: %s is not a %s", key, kind))
	}
	return v.values[key]
}

// Text returns a setting of kind Text.
func (v *Values) Text(key string) string { return v.get(key, Text).elements[0] }

// List returns a setting of kind List; nil if it has no elements.
func (v *Values) List(key string) []string { return v.get(key, List).elements }

// Size returns a setting of kind Size in bytes; empty text is zero.
func (v *Values) Size(key string) int64 {
	n, _ := output.ParseSize(v.get(key, Size).elements[0])
	return n
}

// Duration returns a setting of kind Duration; empty text is zero.
func (v *Values) Duration(key string) time.Duration {
	d, _ := parseDuration(v.get(key, Duration).elements[0])
	return d
}

// Number returns a setting of kind Number; empty text is zero.
func (v *Values) Number(key string) int {
	n, _ := strconv.Atoi(v.get(key, Number).elements[0])
	return n
}

// Bool returns a setting of kind Bool; empty text is false.
func (v *Values) Bool(key string) bool {
	b, _ := strconv.ParseBool(v.get(key, Bool).elements[0])
	return b
}

// Given reports whether anybody set key, be it to its default.
func (v *Values) Given(key string) bool { return v.Origin(key).Source != FromDefault }

// Origin is where the value of key came from.
func (v *Values) Origin(key string) Origin {
	val, ok := v.values[key]
	if !ok {
		panic("config: no setting named " + key)
	}
	return val.origin
}

// Row is a setting as `skerry config print` shows it.
type Row struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // string, []string, int64 or bool
	Source Source `json:"source"`
	Name   string `json:"name,omitempty"` // of the file, the variable or the flag
}

// Overlay has a value of the cluster in place of the node's own, and reports whether key is a setting that takes it.
func (v *Values) Overlay(key, text string) bool {
	s := v.registry.byKey[key]
	if s == nil || s.check(text) != nil {
		return false
	}
	v.values[key] = value{elements: []string{text}, origin: Origin{FromCluster, ""}}
	return true
}

// Rows lists all settings in the order of the table.
func (v *Values) Rows() []Row {
	out := make([]Row, 0, len(v.values))
	for i := range v.registry.settings {
		s := &v.registry.settings[i]
		o := v.Origin(s.Key)
		out = append(out, Row{Key: s.Key, Value: v.plain(s), Source: o.Source, Name: o.Name})
	}
	return out
}

func (v *Values) plain(s *Setting) any {
	switch s.Kind {
	case List:
		return append([]string{}, v.List(s.Key)...)
	case Number:
		return v.Number(s.Key)
	case Bool:
		return v.Bool(s.Key)
	}
	return v.values[s.Key].elements[0]
}

// TOML writes the row as one line of a TOML file, which a config file may hold as it is.
func (r Row) TOML() string {
	switch x := r.Value.(type) {
	case []string:
		quoted := make([]string, len(x))
		for i, e := range x {
			quoted[i] = tomlString(e)
		}
		return r.Key + " = [" + strings.Join(quoted, ", ") + "]"
	case string:
		return r.Key + " = " + tomlString(x)
	}
	return fmt.Sprintf("%s = %v", r.Key, r.Value)
}

// tomlString quotes s as a literal string if it can be one, which shows backslashes as they are.
func tomlString(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == '\'' || r < ' ' || r == 0x7f }) && strings.Contains(s, `\`) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
