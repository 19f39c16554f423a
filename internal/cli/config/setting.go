// Package config reads settings: defaults < a TOML or YAML file < SKERRY_* environment < flags.
//
// A setting has one name everywhere: split-keys is the key in the file, SKERRY_SPLIT_KEYS the variable and --split-keys
// the flag. A key or variable that nobody knows is an error that names the nearest one that exists, because a setting
// that is silently ignored is found out on the worst day. Every value knows where it came from.
//
// The package keeps no state: a Registry is a table, and each Load makes a viper instance of its own.
package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/skerrydb/skerry/internal/cli/output"
)

// EnvPrefix begins the names of all environment variables that are settings.
const EnvPrefix = "SKERRY_"

// Kind says how the text of a setting is read.
type Kind string

// The kinds. Their names stand in help texts.
const (
	Text     Kind = "text"
	List     Kind = "list" // comma-separated in a flag or variable, an array in a file
	Size     Kind = "size" // "64MiB"
	Duration Kind = "duration"
	Number   Kind = "number" // an integer, not negative
	Bool     Kind = "bool"
)

// Setting is one row of the table.
type Setting struct {
	Key     string // lower case, words joined by '-'
	Kind    Kind
	Default string // as text; empty is the zero of the kind
	Usage   string // one line for help texts
	// Check refuses values beyond what Kind says; may be nil. For a List it sees each element.
	Check func(text string) error
}

// Env is the name of the setting's environment variable.
func (s *Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Key, "-", "_"))
}

// check reports whether text can be a value of the setting.
func (s *Setting) check(text string) error {
	var err error
	switch s.Kind {
	case Size:
		_, err = output.ParseSize(text)
	case Duration:
		_, err = parseDuration(text)
	case Number:
		if _, err = strconv.ParseUint(text, 10, 63); err != nil {
			err = fmt.Errorf("%q is not a number; write a whole one, such as 3", text)
		}
	case Bool:
		if _, err = strconv.ParseBool(text); err != nil {
			err = fmt.Errorf("%q is neither true nor false; write one of them", text)
		}
	}
	if err == nil && s.Check != nil {
		err = s.Check(text)
	}
	return err
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration; write it like 3s or 500ms", text)
	}
	return d, nil
}

// Registry is the table of all settings that exist.
type Registry struct {
	settings []Setting
	byKey    map[string]*Setting
}

// New makes a Registry. It panics if two settings have one key or a default is no value of its setting.
func New(settings ...Setting) *Registry {
	r := &Registry{settings: settings, byKey: make(map[string]*Setting, len(settings))}
	for i := range settings {
		s := &settings[i]
		if r.byKey[s.Key] != nil {
			panic("config: two settings named " + s.Key)
		}
		if s.Default != "" {
			if err := s.check(s.Default); err != nil {
				panic(fmt.Sprintf("config: default of %s: %v", s.Key, err))
			}
		}
		r.byKey[s.Key] = s
	}
	return r
}

// Keys lists all settings in the order of the table.
func (r *Registry) Keys() []string {
	out := make([]string, len(r.settings))
	for i := range r.settings {
		out[i] = r.settings[i].Key
	}
	return out
}

// AddFlags adds a flag for each of the keys. It panics on a key that is not in the table.
func (r *Registry) AddFlags(fs *pflag.FlagSet, keys ...string) {
	for _, key := range keys {
		s := r.byKey[key]
		if s == nil {
			panic("config: no setting named " + key)
		}
		f := fs.VarPF(&flagValue{setting: s, text: s.Default}, key, "", s.Usage)
		if s.Kind == Bool {
			f.NoOptDefVal = "true"
		}
	}
}

// flagValue is the flag of a setting. It checks what it is given at once, so that the error names the flag.
type flagValue struct {
	setting *Setting
	text    string
}

func (f *flagValue) String() string { return f.text }
func (f *flagValue) Type() string   { return string(f.setting.Kind) }

func (f *flagValue) Set(text string) error {
	v := value{elements: []string{text}}
	if f.setting.Kind == List {
		v.elements = splitList(text)
	}
	if err := v.check(f.setting); err != nil {
		return err
	}
	f.text = text
	return nil
}
