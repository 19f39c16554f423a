package journal

import "testing"

// TestShrinkBesideRead: a file that somebody reads is not taken away from under him, however many there are that nobody needs.
func TestShrinkBesideRead(t *testing.T) {
	h := newHarness(t)
	for i := uint64(6); i < 46; i++ {
		h.mustPut(i)
	}
	if err := h.j.Sync(h.at); err != nil {
		t.Fatal(err)
	}
	read := 0
	err := h.j.Read(1, 6, 45, func(index uint64, v []byte) (bool, error) {
		if read++; index > 6 {
			return true, nil
		}
		h.j.Truncate(1, 44)
		h.j.Free(h.j.Dead())
		if err := h.put(46); err != nil {
			return false, err
		}
		if err := h.j.Sync(h.at); err != nil {
			return false, err
		}
		h.j.Shrink()
		return true, nil
	})
	if err != nil || read != 40 {
		t.Fatalf("%d entries, %v", read, err)
	}
	h.j.Shrink()
	if len(h.j.free) != minFree || len(h.j.freed) != 0 {
		t.Fatalf("%d free, %d freed", len(h.j.free), len(h.j.freed))
	}
}
