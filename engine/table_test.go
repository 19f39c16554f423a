package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
)

// gatedFile keeps its writes waiting until the gate is open.
type gatedFile struct {
	vfs.File
	gate chan struct{}
}

func (f gatedFile) Write(p []byte) (int, error) {
	<-f.gate
	return f.File.Write(p)
}

// TestTableBehind: what waits for a table's writer is bounded, whoever brings more is kept waiting meanwhile; and when nobody wants the
// table any more, it is over at once.
func TestTableBehind(t *testing.T) {
	const most, rows = 3 * tableBlock, 4 << 10
	for name, dropped := range map[string]bool{"written": false, "dropped": true} {
		t.Run(name, func(t *testing.T) {
			e := openMem(t, vfs.NewMem())
			defer mustClose(t, e)
			e.waitingBytes = most
			f, err := e.fs.Create("table.sst", vfs.WriteCategoryUnspecified)
			must(t, err)
			gate := make(chan struct{})
			tab := e.newTable(gatedFile{f, gate})
			set := make(chan error)
			go func() {
				for i := range rows {
					if err := tab.set(keys.Data(rk(fmt.Sprintf("k%06d", i))), make([]byte, 1<<10)); err != nil {
						set <- err
						return
					}
					if n := tab.waiting(); n > most {
						set <- fmt.Errorf("%d bytes wait after row %d", n, i)
						return
					}
				}
				set <- nil
			}()
			for tab.waiting() <= most-tableBlock {
				time.Sleep(time.Millisecond) // until no block more has room
			}
			if dropped {
				tab.drop()
				if err := <-set; !errors.Is(err, errDropped) {
					t.Fatal(err)
				}
			}
			close(gate)
			if !dropped {
				must(t, <-set)
			}
			tab.end()
			if err := tab.finish(); dropped != errors.Is(err, errDropped) || !dropped && err != nil {
				t.Fatal(err)
			}
			if n := tab.waiting(); n != 0 {
				t.Fatalf("%d bytes wait for a table that is finished", n)
			}
		})
	}
}
