package fsm

import (
	"fmt"
	"slices"
	"strings"
)

// Chart is a table in words, for those who draw it or count its rows without knowing its types.
type Chart struct {
	Name, About string
	States      []string
	Start       string
	Ends        []string
	Rows        []ChartRow
	Ignored     []ChartPair
}

// ChartRow is a row in words.
type ChartRow struct{ From, On, To, Why string }

// ChartPair is an ignored pair in words.
type ChartPair struct{ In, On, Why string }

// Chart puts the table into words.
func (t *Table[S, E]) Chart() Chart {
	c := Chart{Name: t.spec.Name, About: t.spec.About, States: slices.Clone(t.spec.States), Start: t.State(t.spec.Start)}
	for _, s := range t.spec.Ends {
		c.Ends = append(c.Ends, t.State(s))
	}
	for _, r := range t.spec.Rows {
		c.Rows = append(c.Rows, ChartRow{From: t.State(r.From), On: t.Event(r.On), To: t.State(r.To), Why: r.Why})
	}
	for _, p := range t.spec.Ignored {
		c.Ignored = append(c.Ignored, ChartPair{In: t.State(p.In), On: t.Event(p.On), Why: p.Why})
	}
	return c
}

// Mermaid draws the table as a state diagram. Rows that join the same two states share an arrow.
func (c *Chart) Mermaid() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n")
	for i, s := range c.States {
		fmt.Fprintf(&b, "    state %q as s%d\n", s, i)
	}
	id := func(name string) string { return fmt.Sprintf("s%d", slices.Index(c.States, name)) }
	fmt.Fprintf(&b, "    [*] --> %s\n", id(c.Start))
	var arrows [][2]string
	labels := make(map[[2]string][]string)
	for _, r := range c.Rows {
		a := [2]string{r.From, r.To}
		if labels[a] == nil {
			arrows = append(arrows, a)
		}
		labels[a] = append(labels[a], r.On)
	}
	for _, a := range arrows {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", id(a[0]), id(a[1]), strings.Join(labels[a], ", "))
	}
	for _, e := range c.Ends {
		fmt.Fprintf(&b, "    %s --> [*]\n", id(e))
	}
	return b.String()
}

// Markdown is the section of a document about the table: diagram, rows, and what is ignored.
func (c *Chart) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n```mermaid\n%s```\n\n", strings.ToUpper(c.Name[:1])+c.Name[1:], c.About, c.Mermaid())
	b.WriteString("| from | on | to | why |\n|---|---|---|---|\n")
	for _, r := range c.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.From, r.On, r.To, r.Why)
	}
	if len(c.Ignored) > 0 {
		b.WriteString("\nIgnored:\n\n| in | on | why |\n|---|---|---|\n")
		for _, p := range c.Ignored {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", p.In, p.On, p.Why)
		}
	}
	return b.String()
}

// String is how a row is called in reports.
func (r ChartRow) String() string { return fmt.Sprintf("%s, on %s -> %s", r.From, r.On, r.To) }
