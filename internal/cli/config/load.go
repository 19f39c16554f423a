package config

import (
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/skerrydb/skerry/internal/fault"
)

// FileKey names the file of settings: the flag --config or the variable SKERRY_CONFIG. It cannot stand in the file.
const FileKey = "config"

// Load reads all settings. Flags may be registered for some of them only (AddFlags); environ is in the form of
// os.Environ and is checked for unknown names; values of variables are read by viper from the process. A missing file
// is an error only if file is not empty.
func (r *Registry) Load(fs *pflag.FlagSet, file string, environ []string) (*Values, error) {
	if err := r.checkEnviron(environ); err != nil {
		return nil, err
	}
	v := viper.New()
	for i := range r.settings {
		s := &r.settings[i]
		v.SetDefault(s.Key, s.Default)
		if err := v.BindEnv(s.Key, s.Env()); err != nil {
			return nil, err
		}
		if f := fs.Lookup(s.Key); f != nil {
			if err := v.BindPFlag(s.Key, f); err != nil {
				return nil, err
			}
		}
	}
	if file != "" {
		if err := r.readFile(v, file); err != nil {
			return nil, err
		}
	}
	return r.collect(v, fs, file, environ)
}

func (r *Registry) readFile(v *viper.Viper, file string) error {
	switch ext := filepath.Ext(file); ext {
	case ".toml", ".yaml", ".yml":
	default:
		return fault.Errorf(fault.BadFile, "config file %s: unknown format %q; name it .toml or .yaml", file, ext)
	}
	v.SetConfigFile(file)
	if err := v.ReadInConfig(); err != nil {
		var parse viper.ConfigParseError
		if errors.As(err, &parse) {
			err = parse.Unwrap()
		}
		return fault.Errorf(fault.BadFile, "config file %s: %w", file, err)
	}
	known, all := r.Keys(), v.AllKeys()
	slices.Sort(all)
	for _, key := range all {
		if r.byKey[key] == nil {
			return fault.Errorf(fault.UnknownKey, "config file %s: unknown key %q; did you mean %q?", file, key, Nearest(key, known))
		}
	}
	return nil
}

// serviceLink matches the variables that Kubernetes puts into every container for a service named skerry. They are not
// meant for us.
var serviceLink = regexp.MustCompile(`^SKERRY_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

func (r *Registry) checkEnviron(environ []string) error {
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || serviceLink.MatchString(name) {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		// A variable is our setting only if it is spelt exactly as Env spells it.
		if s := r.byKey[key]; key == FileKey || s != nil && s.Env() == name {
			continue
		}
		near := Setting{Key: Nearest(key, append(r.Keys(), FileKey))}
		return fault.Errorf(fault.UnknownEnv, "environment variable %s is no setting; did you mean %s?", name, near.Env())
	}
	return nil
}

// collect takes the values out of viper, checks them, and notes where each came from.
func (r *Registry) collect(v *viper.Viper, fs *pflag.FlagSet, file string, environ []string) (*Values, error) {
	out := &Values{registry: r, values: make(map[string]value, len(r.settings))}
	for i := range r.settings {
		s := &r.settings[i]
		val, err := makeValue(s, v.Get(s.Key))
		val.origin = originOf(s, v, fs, file, environ)
		if err == nil && val.origin.Source != FromDefault {
			err = val.check(s)
		}
		if err != nil {
			return nil, fault.Errorf(fault.BadValue, "%s: %s: %w", val.origin, s.Key, err)
		}
		out.values[s.Key] = val
	}
	return out, nil
}

func originOf(s *Setting, v *viper.Viper, fs *pflag.FlagSet, file string, environ []string) Origin {
	if f := fs.Lookup(s.Key); f != nil && f.Changed {
		return Origin{FromFlag, "--" + s.Key}
	}
	// Like viper, take a variable that is set to nothing for one that is not set.
	if slices.ContainsFunc(environ, func(e string) bool {
		return strings.HasPrefix(e, s.Env()+"=") && len(e) > len(s.Env())+1
	}) {
		return Origin{FromEnv, s.Env()}
	}
	if v.InConfig(s.Key) {
		return Origin{FromFile, file}
	}
	return Origin{FromDefault, ""}
}
