package raw_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// lender counts the buffers that it has lent.
type lender struct{ out int }

func (l *lender) Get(n int) *[]byte {
	l.out++
	b := make([]byte, n, 2*n)
	return &b
}

func (l *lender) Put(*[]byte) { l.out-- }

// TestRoomOfAnswers: an answer is the same in a lent buffer and without, it is the end of that buffer, which is not much larger and the only
// one that is not given back; a short answer takes none.
func TestRoomOfAnswers(t *testing.T) {
	for _, rows := range []int{0, 1, 10, 100, 1000, 4000} {
		m := new(rawtest.Map)
		for i := range rows {
			m.Set(shard.RawKey(fmt.Appendf(nil, "k%06d", i)), raw.Value{User: bytes.Repeat([]byte{byte(i)}, 256)}.Append(nil))
		}
		q := raw.Query{Kind: raw.Scan, Range: shard.ModeRange(shard.ModeRaw), Limit: 4096, MaxBytes: 1 << 20}
		plain, _, err := q.RunEncoded(m.Reader(), q.Range, 1, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := new(lender)
		lent, _, err := q.RunEncoded(m.Reader(), q.Range, 1, 1, l)
		if err != nil || !bytes.Equal(lent.Body, plain.Body) {
			t.Fatalf("%d rows: %d bytes in a lent buffer, %d without: %v", rows, len(lent.Body), len(plain.Body), err)
		}
		if lent.Room == nil {
			if l.out != 0 || len(lent.Body) >= 4<<10 {
				t.Errorf("%d rows: %d bytes in no buffer, %d are out", rows, len(lent.Body), l.out)
			}
			continue
		}
		if n := len(lent.Room); l.out != 1 || n > 2*len(lent.Body) || &lent.Room[n-1] != &lent.Body[len(lent.Body)-1] {
			t.Errorf("%d rows: %d bytes in a buffer of %d, %d are out", rows, len(lent.Body), n, l.out)
		}
	}
}
