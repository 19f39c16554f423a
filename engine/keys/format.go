package keys

import (
	"fmt"
	"strconv"
)

// Format writes a physical key for people.
func Format(k []byte) string {
	if id, kind, ok := DecodeState(k); ok {
		return fmt.Sprintf("state/%s/%c", id, kind)
	}
	if id, index, ok := DecodeLog(k); ok {
		return fmt.Sprintf("log/%s/%d", id, index)
	}
	if len(k) == 0 {
		return `""`
	}
	switch Kind(k[0]) {
	case KindRecord:
		return "record/" + strconv.Quote(string(k[1:]))
	case KindLock:
		return "lock/" + strconv.Quote(string(k[1:]))
	case KindData:
		n := Split(k)
		if n == len(k) {
			return "data/" + strconv.Quote(string(k[1:]))
		}
		return fmt.Sprintf("data/%s@%x", strconv.Quote(string(k[1:n])), k[n:len(k)-1])
	}
	return strconv.Quote(string(k))
}
