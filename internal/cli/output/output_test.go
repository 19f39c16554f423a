package output

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// TestEscapeLaws: escaped text is printable, reads back as the same bytes, and keeps apart what is different.
func TestEscapeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "in")
		s := Escape(in)
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("Escape(%q) = %q is not printable", in, s)
		}
		out, err := Unescape(s)
		if err != nil || !bytes.Equal(in, out) {
			t.Fatalf("Escape(%q) = %s reads back as %q, %v", in, s, out, err)
		}
	})
}

func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", `a\x00b`, `\\`, `\`, `\x`, `\x4`, `\xZZ`, `\X41`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Unescape(s)
		if err != nil {
			return
		}
		if again, err := Unescape(Escape(b)); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q -> %q -> %q, %v", s, b, again, err)
		}
	})
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "4096": 4096, "64MiB": 64 << 20, "64 mib": 64 << 20, "1.5KiB": 1536, "1MB": 1e6, "3B": 3,
		"9223372036854775807": 1<<63 - 1} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "-1KiB", "1XiB", "NaN", "Inf", "1e400", "9223372036854775808", "8388608TiB", "0x10"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Fatalf("FormatSize(%d) = %s reads back as %d, %v", n, FormatSize(n), got, err)
		}
	})
}

func TestForPeople(t *testing.T) {
	for in, want := range map[float64]string{0: "0 B", 1023: "1023 B", 1536: "1.50 KiB", 10 << 20: "10.0 MiB", 1020 << 30: "1020 GiB"} {
		if got := Bytes(in); got != want {
			t.Errorf("Bytes(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -999: "-999"} {
		if got := Count(in); got != want {
			t.Errorf("Count(%d) = %q, want %q", in, got, want)
		}
	}
}
