package output

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// Escape writes any bytes as printable text: printable UTF-8 stays as it is, a backslash becomes \\ and every other byte
// \xNN. Unescape reads it back.
func Escape(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\\':
			s.WriteString(`\\`)
		case r == utf8.RuneError && n == 1, !unicode.IsPrint(r):
			for _, c := range b[:n] {
				s.WriteString(`\x`)
				s.WriteByte(hexDigits[c>>4])
				s.WriteByte(hexDigits[c&15])
			}
		default:
			s.Write(b[:n])
		}
		b = b[n:]
	}
	return s.String()
}

// Unescape reads what Escape wrote, or what a person typed in the same form.
func Unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		rest := s[i+1:]
		if strings.HasPrefix(rest, `\`) {
			out = append(out, '\\')
			i++
			continue
		}
		if len(rest) < 3 || rest[0] != 'x' || unhex(rest[1]) < 0 || unhex(rest[2]) < 0 {
			return nil, fmt.Errorf(`%q: bad escape at byte %d; write \xNN for a byte and \\ for a backslash`, s, i)
		}
		out = append(out, byte(unhex(rest[1])<<4|unhex(rest[2])))
		i += 3
	}
	return out, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
