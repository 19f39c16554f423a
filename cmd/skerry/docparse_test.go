package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// document is a file of Markdown, as far as it shows commands.
type document struct {
	name     string
	lines    []string
	sections []*section
}

// section is what stands under a heading of the second order, or above the first of them.
type section struct {
	title  string
	blocks []*block
}

// block is lines of commands and what they print: d.lines[from:to].
type block struct {
	from, to int
	lines    []string
	hidden   bool   // a comment: readers do not see it
	notRun   string // why
}

// otherLanguages are those of blocks that are no commands.
var otherLanguages = []string{"text", "go", "mermaid", "json", "toml"}

var (
	notRunMark   = regexp.MustCompile(`^<!-- not run: (.+) -->$`)
	looksLike    = regexp.MustCompile(`^\s*(\$ |(bin/)?skerry(-sim)? )`)
	indentedLike = regexp.MustCompile(`^(    |\t)(\$ |(bin/)?skerry(-sim)? )`)
)

// parseDocument finds the blocks of commands. A command outside of them is an error: it would not be run.
func parseDocument(name, text string) (*document, error) {
	d := &document{name: name, lines: strings.Split(text, "\n")}
	s := &section{title: "above"}
	d.sections = []*section{s}
	mark := ""
	for i := 0; i < len(d.lines); i++ {
		l := d.lines[i]
		fail := func(why string) error { return fmt.Errorf("%s:%d: %s: %s", name, i+1, why, l) }
		end := func(with string) bool {
			for i++; i < len(d.lines); i++ {
				if d.lines[i] == with {
					return true
				}
			}
			return false
		}
		switch {
		case strings.HasPrefix(l, "## "):
			s = &section{title: strings.TrimPrefix(l, "## ")}
			d.sections = append(d.sections, s)
		case strings.HasPrefix(l, "```"):
			from := i + 1
			if !end("```") {
				return nil, fail("the block does not end")
			}
			b := &block{from: from, to: i, lines: d.lines[from:i], notRun: mark}
			mark = ""
			if !slices.Contains(otherLanguages, strings.TrimPrefix(l, "```")) {
				s.blocks = append(s.blocks, b)
			} else if b.notRun != "" || slices.ContainsFunc(b.lines, looksLike.MatchString) {
				return nil, fail("a block of another language with commands, or with a mark that it is not run")
			}
		case l == "<!-- run first":
			from := i + 1
			if !end("-->") {
				return nil, fail("the comment does not end")
			}
			s.blocks = append(s.blocks, &block{from: from, to: i, lines: d.lines[from:i], hidden: true})
		case notRunMark.MatchString(l):
			mark = notRunMark.FindStringSubmatch(l)[1]
			if i+1 == len(d.lines) || !strings.HasPrefix(d.lines[i+1], "```") {
				return nil, fail("no block follows")
			}
		case indentedLike.MatchString(l):
			return nil, fail("a command that stands in no block between fences")
		}
	}
	return d, nil
}

// with returns the document with other lines in its blocks.
func (d *document) with(blocks map[*block][]string) string {
	var out []string
	at := 0
	for _, s := range d.sections {
		for _, b := range s.blocks {
			if lines, ok := blocks[b]; ok {
				out = append(append(out, d.lines[at:b.from]...), lines...)
				at = b.to
			}
		}
	}
	return strings.Join(append(out, d.lines[at:]...), "\n")
}

// step is a command of a block, in the words of the document, and the lines that it shall print.
type step struct {
	shown []string // one line, or several that end with a backslash
	want  []string
}

func (b *block) steps() []step {
	dollars := slices.ContainsFunc(b.lines, func(l string) bool { return strings.HasPrefix(l, "$ ") })
	var out []step
	open := false
	for _, l := range b.lines {
		switch {
		case open:
			out[len(out)-1].shown = append(out[len(out)-1].shown, l)
			open = strings.HasSuffix(l, `\`)
		case !dollars || strings.HasPrefix(l, "$ "):
			out = append(out, step{shown: []string{l}})
			open = strings.HasSuffix(l, `\`)
		case len(out) > 0:
			out[len(out)-1].want = append(out[len(out)-1].want, l)
		}
	}
	return out
}

// command is the line for the shell.
func (s step) command() string {
	var b strings.Builder
	for _, l := range s.shown {
		b.WriteString(strings.TrimSuffix(strings.TrimPrefix(l, "$ "), `\`))
	}
	return strings.TrimSpace(b.String())
}

var (
	inline    = regexp.MustCompile("`(?:bin/)?(?:skerry (?:[a-z])|ctl )[^`\n]*`")
	lineOf    = regexp.MustCompile(`(?m)^(?:\$ )?(?:[A-Z_]+=\S+ )?(?:bin/)?skerry [a-z].*$`)
	shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// commandsShown returns the words of the commands of skerry that a document shows anywhere.
func commandsShown(text string) [][]string {
	text = strings.ReplaceAll(text, "\\\n", " ")
	var out [][]string
	for _, c := range slices.Concat(inline.FindAllString(text, -1), lineOf.FindAllString(text, -1)) {
		c = strings.Trim(c, "`$ ")
		if strings.Contains(c, `\n`) { // bytes of a file
			continue
		}
		if i := strings.Index(c, "skerry "); i >= 0 {
			c = c[i+len("skerry "):]
		}
		words := shellWord.FindAllString(c, -1)
		for i, w := range words {
			if w == "|" || w == ">" || w == "&" || w == "&&" || w == "#" || strings.HasSuffix(w, ";") || strings.HasPrefix(w, "2>") {
				words = words[:i]
				break
			}
		}
		out = append(out, words)
	}
	return out
}

// knows finds a command and its flags in the program.
func knows(words []string) error {
	a := &app{name: "skerry", registry: settings()}
	cmd, rest, err := a.root().Find(slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "..." || w == "…" }))
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("there is no command %q of %q", rest[0], cmd.CommandPath())
	}
	for _, w := range rest {
		name, ok := strings.CutPrefix(w, "--")
		name, _, _ = strings.Cut(name, "=")
		name = strings.TrimRight(name, ".,;)")
		if !ok || name == "" || name == "help" {
			continue
		}
		if find := func(f *pflag.FlagSet) bool { return f.Lookup(name) != nil }; !find(cmd.Flags()) && !find(cmd.InheritedFlags()) {
			return fmt.Errorf("%q has no flag --%s", cmd.CommandPath(), name)
		}
	}
	return nil
}
