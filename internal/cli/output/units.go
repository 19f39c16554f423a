package output

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units of sizes, largest first. Binary units are powers of 1024, decimal ones powers of 1000.
var units = [...]struct {
	name  string
	bytes float64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads a number of bytes such as "64MiB", "1.5GB" or "4096". It is never negative.
func ParseSize(s string) (int64, error) {
	number, factor := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if n := len(number) - len(u.name); n > 0 && strings.EqualFold(number[n:], u.name) {
			number, factor = strings.TrimSpace(number[:n]), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && factor == 1 && n >= 0 {
		return n, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	// The negated form also refuses NaN.
	if err != nil || !(f >= 0 && f*factor < math.MaxInt64) {
		return 0, fmt.Errorf("%q is not a size; write it like 64MiB", s)
	}
	return int64(f * factor), nil
}

// FormatSize writes a size so that ParseSize reads the same number back: "64MiB", or plain bytes where no binary unit
// divides it.
func FormatSize(n int64) string {
	for _, u := range units[:4] {
		if b := int64(u.bytes); n >= b && n%b == 0 {
			return strconv.FormatInt(n/b, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// Bytes writes a size for people, with about three digits: "1.50 MiB".
func Bytes(n float64) string {
	for _, u := range units[:4] {
		if n >= u.bytes {
			return digits(n/u.bytes) + " " + u.name
		}
	}
	return fmt.Sprintf("%.0f B", n)
}

// digits writes a number from 1 to 1024 with three digits, or four where it has as many before the point.
func digits(n float64) string {
	switch {
	case n < 9.995:
		return strconv.FormatFloat(n, 'f', 2, 64)
	case n < 99.95:
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// Count writes a number for people, with commas between thousands.
func Count[T ~int | ~int64 | ~uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Duration writes a duration for people, with about three digits.
func Duration(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(10 * time.Nanosecond).String()
}
