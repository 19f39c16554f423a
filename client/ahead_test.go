package client

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestFetchAhead: pages come in order, each fetched once, and as many wait as may; an error comes after what was fetched before it, and
// nothing is fetched after it or the last page; the end of the context ends the fetch that is under way.
func TestFetchAhead(t *testing.T) {
	const pages = 6
	bad := errors.New("bad")
	for _, c := range []struct {
		name string
		deep int
		fail int // the page that cannot be fetched; 0: none
		want []int
	}{
		{"one waits", 1, 0, []int{1, 2, 3, 4, 5, 6}},
		{"two wait", 2, 0, []int{1, 2, 3, 4, 5, 6}},
		{"an error", 2, 4, []int{1, 2, 3}},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			a := fetchAhead(context.Background(), env.Real{}, c.deep, func(context.Context) (int, bool, error) {
				if n++; n == c.fail {
					return 0, false, bad
				}
				return n, n < pages, nil
			})
			last := pages
			if c.fail > 0 {
				last = c.fail
			}
			var got []int
			var err error
			for more := true; more; {
				synctest.Wait()
				if want := min(len(got)+c.deep, last); n != want {
					t.Errorf("%s: %d pages were fetched after %d were taken, want %d", c.name, n, len(got), want)
				}
				var page int
				if page, more, err = a.next(c.deep); err == nil {
					got = append(got, page)
				}
			}
			synctest.Wait()
			if !slices.Equal(got, c.want) || (err != nil) != (c.fail > 0) || n != last {
				t.Errorf("%s: pages %v, error %v, %d fetched", c.name, got, err, n)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		a := fetchAhead(ctx, env.Real{}, 1, func(ctx context.Context) (int, bool, error) {
			<-ctx.Done()
			return 0, false, ctx.Err()
		})
		cancel()
		if _, more, err := a.next(1); more || !errors.Is(err, context.Canceled) {
			t.Errorf("the fetch ended with %v, more %v", err, more)
		}
	})
}

// TestWide: only a scan that has come far, to an end that nobody has bounded, and in pages of the usual size, reads several shards at once.
func TestWide(t *testing.T) {
	for _, c := range []struct {
		o           scanOptions
		taken, want int
	}{
		{scanOptions{}, maxPageRows - 1, 1},
		{scanOptions{}, maxPageRows, longScan},
		{scanOptions{pageBytes: pageBytes}, maxPageRows, longScan},
		{scanOptions{pageBytes: pageBytes + 1}, maxPageRows, 1},
		{scanOptions{limit: 1 << 30}, maxPageRows, 1},
	} {
		w := walk[raw.Row]{cursor: cursor[raw.Row]{o: c.o}, taken: c.taken}
		if n := w.wide(); n != c.want {
			t.Errorf("%+v after %d rows: %d", c.o, c.taken, n)
		}
	}
}
