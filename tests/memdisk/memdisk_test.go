package memdisk

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCloneBesideAll: clones may be taken while files are linked, used again and locked. On MemFS alone this hangs.
func TestCloneBesideAll(t *testing.T) {
	fs := New()
	file := func(name string) {
		f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Error(err)
			return
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	file("linked")
	file("used0")
	const rounds = 20_000
	var all sync.WaitGroup
	each := func(do func(i int) error) {
		all.Go(func() {
			for i := range rounds {
				if err := do(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	each(func(i int) error {
		name := fmt.Sprint("link", i)
		if err := fs.Link("linked", name); err != nil {
			return err
		}
		return fs.Remove(name)
	})
	each(func(i int) error {
		f, err := fs.ReuseForWrite(fmt.Sprint("used", i), fmt.Sprint("used", i+1), vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		return f.Close()
	})
	each(func(i int) error {
		name := fmt.Sprint("lock", i)
		l, err := fs.Lock(name)
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
		return fs.Remove(name)
	})
	for range 2 {
		each(func(int) error {
			if _, err := fs.CrashClone(vfs.CrashCloneCfg{}).List("/"); err != nil {
				return err
			}
			return nil
		})
	}
	all.Wait()
}
