package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// TestReadAhead: the first page is fetched alone, from the second on one more than was taken, in order and one at a time; an
// error comes after what was fetched before it; whoever stops ends the fetch that is under way.
func TestReadAhead(t *testing.T) {
	const pages = 5
	bad := errors.New("bad")
	for _, c := range []struct {
		name string
		fail int // the page that cannot be fetched; 0: none
		stop int // after so many pages; 0: never
		want []int
	}{
		{"all", 0, 0, []int{1, 2, 3, 4, 5}},
		{"an error", 4, 0, []int{1, 2, 3}},
		{"one page", 0, 1, []int{1}},
		{"stopped", 0, 3, []int{1, 2, 3}},
	} {
		begun, ended := make(chan int, pages+1), make(chan error, 1)
		n := 0
		fetch := func(ctx context.Context) (int, bool, error) {
			n++
			begun <- n
			if c.stop > 1 && n == c.stop+1 {
				<-ctx.Done()
				ended <- ctx.Err()
				return 0, false, ctx.Err()
			}
			if n == c.fail {
				return 0, false, bad
			}
			return n, n < pages, nil
		}
		var got []int
		var failed error
		for page, err := range readAhead(context.Background(), env.Real{}, fetch) {
			if err != nil {
				failed = err
				break
			}
			got = append(got, page)
			<-begun // this one
			if page == 1 && len(begun) > 0 {
				t.Errorf("%s: a second page was fetched for a scan that may need one", c.name)
			}
			if page > 1 && page < pages {
				next := <-begun // while this one is looked at
				begun <- next
			}
			if page == c.stop {
				break
			}
		}
		if !slices.Equal(got, c.want) || (failed != nil) != (c.fail > 0) {
			t.Errorf("%s: pages %v, error %v", c.name, got, failed)
		}
		if c.stop > 1 {
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s: the fetch ended with %v", c.name, err)
				}
			case <-time.After(10 * time.Second):
				t.Errorf("%s: what nobody waits for is still being fetched", c.name)
			}
		}
	}
}
