package node

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/viper"
)

var rewrite = flag.Bool("rewrite", false, "write docs/metrics.md anew")

// TestMetricsTable: a running node has exactly the metrics of the table, of the kind and with the labels and the text that
// it says, and none has a label that grows with the number of shards.
func TestMetricsTable(t *testing.T) {
	t.Parallel()
	certs, err := MakeCertificates(t.TempDir(), []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := serverConfig("")
	cfg.TLS = &certs.Node
	n := startReady(t, cfg)
	var missing []string
	for ctx := testContext(t); ; time.Sleep(100 * time.Millisecond) { // some come with the second heartbeat
		missing = missing[:0]
		families, err := n.Registry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[string]bool)
		for _, f := range families {
			name := strings.TrimPrefix(f.GetName(), metricPrefix)
			have[name] = true
			i := slices.IndexFunc(Metrics(), func(m Metric) bool { return m.Name == name })
			if i < 0 {
				t.Fatalf("%s is not in the table", f.GetName())
			}
			m := Metrics()[i]
			if m.Help != f.GetHelp() || string(m.Kind) != strings.ToLower(f.GetType().String()) {
				t.Errorf("%s is a %s, %q", f.GetName(), f.GetType(), f.GetHelp())
			}
			for _, x := range f.GetMetric() {
				var labels []string
				for _, l := range x.GetLabel() {
					labels = append(labels, l.GetName())
				}
				want := slices.Sorted(slices.Values(m.Labels))
				if !slices.Equal(labels, want) || slices.Contains(labels, "shard") {
					t.Errorf("%s has labels %v, want %v", f.GetName(), labels, want)
				}
			}
		}
		for _, m := range Metrics() {
			if !have[m.Name] {
				missing = append(missing, m.Name)
			}
		}
		if len(missing) == 0 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("a running node does not have %v", missing)
		}
	}
}

// TestMetricsDocument: docs/metrics.md is what the tables say.
func TestMetricsDocument(t *testing.T) {
	const file = "../../docs/metrics.md"
	want := MetricsDocument()
	if *rewrite {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != want {
		t.Errorf("docs/metrics.md is not what the tables say (%v): go test ./cmd/node -run TestMetricsDocument -rewrite", err)
	}
}

// TestDashboard: the dashboard is JSON, the rules are YAML, and both speak only of metrics that there are.
func TestDashboard(t *testing.T) {
	known := make(map[string]bool)
	for _, m := range Metrics() {
		known[metricPrefix+m.Name] = true
		if m.Kind == Histogram {
			known[metricPrefix+m.Name+"_bucket"] = true
		}
	}
	names := regexp.MustCompile(`skerry_[a-z0-9_]+`)
	check := func(where, expr string) {
		t.Helper()
		found := names.FindAllString(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s: %q is about nothing of ours", where, expr)
		}
		for _, name := range found {
			if !known[name] {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
	}
	for _, p := range panels() {
		for _, l := range p.lines {
			check(p.title, l.expr)
		}
	}
	text, err := Dashboard()
	if err != nil || !json.Valid(text) {
		t.Errorf("the dashboard is no JSON: %v", err)
	}
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader([]byte(AlertRules()))); err != nil {
		t.Fatalf("%v in\n%s", err, AlertRules())
	}
	groups := v.Get("groups").([]any)
	rules := groups[0].(map[string]any)["rules"].([]any)
	if len(rules) != len(Alerts()) {
		t.Errorf("%d rules of %d", len(rules), len(Alerts()))
	}
	for i, a := range Alerts() {
		check(a.Name, a.Expr)
		if r := rules[i].(map[string]any); r["alert"] != a.Name || r["expr"] != a.Expr {
			t.Errorf("rule %d is %v", i, r)
		}
		if _, err := time.ParseDuration(a.For); err != nil || a.Means == "" || a.Do == "" || strings.Contains(a.Means+a.Do, "|") {
			t.Errorf("%+v", a)
		}
	}
}
