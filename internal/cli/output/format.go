// Package output is how the skerry command line shows things: one text form for bytes, sizes and durations, aligned
// tables for people, and JSON for programs.
//
// Everything that a program may read goes to standard output in the form that -o asks for; everything else (progress,
// advice, errors) goes to standard error.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// SchemaVersion is the "schema_version" of every JSON document that the command line prints. It grows when a field
// changes its meaning or goes away, not when one is added.
const SchemaVersion = 1

// Format is the value of -o.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
)

// String, Set and Type make a Format a flag.
func (f *Format) String() string { return string(*f) }

// Type names the flag's values in help texts.
func (f *Format) Type() string { return "format" }

// Set accepts the formats.
func (f *Format) Set(s string) error {
	switch Format(s) {
	case Table, JSON:
		*f = Format(s)
		return nil
	}
	return fmt.Errorf("write table or json")
}

// WriteJSON writes v as one indented JSON document.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// WriteTable writes rows under a header, columns aligned.
func WriteTable(w io.Writer, header []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}

// Binary is a byte string in JSON: "key": "text" if it is valid UTF-8, else only "key_base64" is there. The two fields
// are spelt out in the structs that use it, because encoding/json knows no such pair.
type Binary struct {
	Text   *string
	Base64 []byte // encoding/json writes it in base64
}

// MakeBinary chooses the form. The result aliases b.
func MakeBinary(b []byte) Binary {
	if utf8.Valid(b) {
		s := string(b)
		return Binary{Text: &s}
	}
	return Binary{Base64: b}
}
