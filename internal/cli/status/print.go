package status

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/skerrydb/skerry/internal/cli/output"
)

// Print writes the verdict, one line of advice per problem, and a summary.
func Print(w io.Writer, p *Picture, r *Report) error {
	fmt.Fprintln(w, r.Verdict)
	for _, pr := range r.Problems {
		fmt.Fprintln(w, "  "+pr.String())
	}
	if p.Err != nil {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range summary(p, r) {
		fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
	}
	return t.Flush()
}

func summary(p *Picture, r *Report) [][2]string {
	answer, leader := 0, "unknown"
	for _, m := range p.Members {
		if m.Err == nil {
			answer++
		}
		if m.Leader {
			leader = m.Addr
		}
	}
	up, total := 0, 0
	var used uint64
	var leaders []string
	for i := range p.Stores {
		s := &p.Stores[i]
		if s.State == "removed" {
			continue
		}
		total++
		used += s.Used
		if s.State == "up" {
			up++
			leaders = append(leaders, fmt.Sprintf("%s %d", s.ID, s.Leaders))
		}
	}
	rows := [][2]string{
		{"cluster", p.Cluster},
		{"placement", fmt.Sprintf("%d of %d members answer, leader %s", answer, len(p.Members), leader)},
		{"stores", fmt.Sprintf("%d of %d up", up, total)},
		{"shards", fmt.Sprintf("%s, %s each", output.Count(len(p.Shards)), plural(r.Replicas, "replica", "replicas"))},
		{"leaders", strings.Join(leaders, ", ")},
		{"used", output.Bytes(float64(used))},
	}
	if p.Operators > 0 {
		rows = append(rows, [2]string{"under way", plural(p.Operators, "operator", "operators") + ", see `skerry ctl op list`"})
	}
	return rows
}

// Document is the report in JSON.
type Document struct {
	SchemaVersion int       `json:"schema_version"`
	Verdict       Verdict   `json:"verdict"`
	Problems      []Problem `json:"problems"`
	Cluster       string    `json:"cluster,omitempty"`
	Members       int       `json:"members"`
	Stores        int       `json:"stores"`
	StoresUp      int       `json:"stores_up"`
	Shards        int       `json:"shards"`
	Replicas      int       `json:"replicas"`
	Operators     int       `json:"operators"`
	Paused        float64   `json:"paused_seconds,omitempty"`
}

// MakeDocument puts a report into the form of -o json.
func MakeDocument(p *Picture, r *Report) Document {
	d := Document{SchemaVersion: output.SchemaVersion, Verdict: r.Verdict, Problems: append([]Problem{}, r.Problems...),
		Cluster: p.Cluster, Members: len(p.Members), Shards: len(p.Shards), Replicas: r.Replicas, Operators: p.Operators, Paused: p.Paused.Seconds()}
	for i := range p.Stores {
		switch p.Stores[i].State {
		case "removed":
			continue
		case "up":
			d.StoresUp++
		}
		d.Stores++
	}
	return d
}
