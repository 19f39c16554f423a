package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/output"
)

// build says what this binary was made from.
type build struct {
	SchemaVersion int    `json:"schema_version"`
	Version       string `json:"version"`
	Commit        string `json:"commit,omitempty"`
	Time          string `json:"time,omitempty"`
	Modified      bool   `json:"modified,omitempty"`
	Go            string `json:"go"`
	Platform      string `json:"platform"`
}

// release is the version of a release, put here by the linker (-X main.release=v1.2.3). It is never written otherwise.
var release string

// version reads what the Go tool put into the binary.
func version() build {
	b := build{SchemaVersion: output.SchemaVersion, Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if release != "" {
		b.Version = release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; release == "" && v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "print the version", Args: cobra.NoArgs}
	format := outputFlag(cmd, false)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := version()
		if *format == output.JSON {
			return output.WriteJSON(a.out, b)
		}
		_, err := fmt.Fprintf(a.out, "skerry %s (%s, %s)\n", b.Version, b.Go, b.Platform)
		return err
	}
	return cmd
}
