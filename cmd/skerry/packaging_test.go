package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/viper"
)

// TestNotify: the service manager hears what systemd's protocol wants, and nobody is asked where there is none.
func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	notify("READY=1")
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	notify("READY=1", "STATUS=x")
	_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 100)
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1\nSTATUS=x" {
		t.Fatalf("%q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", name+"-gone")
	notify("READY=1")
}

// TestPackaging: every flag and every variable in the files for systemd and for containers is a setting, and what they start
// is a node that the settings allow.
func TestPackaging(t *testing.T) {
	cleanEnv(t)
	reg := settings()
	known := make(map[string]bool)
	for _, k := range reg.Keys() {
		known["--"+k], known["SKERRY_"+strings.ToUpper(strings.ReplaceAll(k, "-", "_"))] = true, true
	}
	known["--config"] = true
	for _, file := range []string{"skerry.service", "Containerfile", "compose.yaml"} {
		text, err := os.ReadFile(filepath.Join("packaging", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)"--[a-z-]+"| --[a-z-]+ /|SKERRY_[A-Z_]+`).FindAllString(string(text), -1) {
			if name = strings.Trim(name, ` "/`); !known[name] {
				t.Errorf("%s names %s, which is no setting", file, name)
			}
		}
	}
	v := viper.New()
	v.SetConfigFile(filepath.Join("packaging", "compose.yaml"))
	if err := v.ReadInConfig(); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"node1", "node2", "node3"} {
		for k, value := range v.GetStringMapString("services." + node + ".environment") {
			t.Setenv(strings.ToUpper(k), value)
		}
		args := v.GetStringSlice("services." + node + ".command")
		out, errs, code := command(t, "", append([]string{"config", "check"}, args[1:]...)...)
		if code != 0 || !strings.Contains(out, "a store and a placement member on 0.0.0.0:4400") {
			t.Errorf("%s %v: exit %d, %s%s", node, args, code, out, errs)
		}
	}
}
