package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestExplainError: the program explains every code of docs/errors.md in the words of its row, and lists no other.
func TestExplainError(t *testing.T) {
	cleanEnv(t)
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (SK\d{4}) \| (.*) \| (.*) \| (.*) \|$`).FindAllStringSubmatch(string(text), -1)
	list, _, _ := command(t, "", "explain-error")
	if listed := regexp.MustCompile(`(?m)^  SK\d{4} `).FindAllString(list, -1); len(rows) < 50 || len(listed) != len(rows) {
		t.Fatalf("%d codes in the document, %d are listed", len(rows), len(listed))
	}
	for _, r := range rows {
		code, means, cause, remedy := r[1], r[2], strings.TrimSpace(r[3]), r[4]
		want := code + ": " + means + ".\n"
		if cause != "" {
			want += "Cause:  " + cause + ".\n"
		}
		want += "Remedy: " + remedy + ".\n"
		if out, errs, exit := command(t, "", "explain-error", code); out != want || exit != 0 || errs != "" {
			t.Errorf("%s: exit %d, %s%s, and the document has %s", code, exit, errs, out, want)
		}
		if !strings.Contains(list, "  "+code+"  "+means+"\n") {
			t.Errorf("%s is not in the list", code)
		}
	}
}

// TestMonitoring: the dashboard is JSON with panels, and there are rules to alert by. What is in them is a test of cmd/node.
func TestMonitoring(t *testing.T) {
	cleanEnv(t)
	out, errs, code := command(t, "", "grafana")
	var d struct{ Panels []json.RawMessage }
	if err := json.Unmarshal([]byte(out), &d); err != nil || len(d.Panels) == 0 || code != 0 {
		t.Errorf("grafana: exit %d, %d panels, %v, %s", code, len(d.Panels), err, errs)
	}
	if out, errs, code := command(t, "", "alerts"); code != 0 || !strings.Contains(out, "alert: ") || !strings.Contains(out, "expr: ") {
		t.Errorf("alerts: exit %d, %s%s", code, errs, out)
	}
}
