package mvcc

import "fmt"

// ShowRecord prints a stored record.
func ShowRecord(b []byte) string {
	r, err := decodeRecord(b)
	if err != nil {
		return "damaged"
	}
	show := func() string {
		if len(r.value) > 20 {
			return fmt.Sprintf("%d bytes", len(r.value))
		}
		return fmt.Sprintf("%q", r.value)
	}
	switch r.kind {
	case recPut:
		if r.long {
			return fmt.Sprintf("put by %d, long", r.start)
		}
		return fmt.Sprintf("put by %d %s", r.start, show())
	case recDelete:
		return fmt.Sprintf("delete by %d", r.start)
	case recLock:
		return fmt.Sprintf("touched by %d", r.start)
	case recRollback:
		return "rolled back"
	case recValue:
		return "value of " + show()
	default:
		return fmt.Sprintf("added into %d", r.start)
	}
}
