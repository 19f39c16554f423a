package cluster

import (
	"fmt"
	"testing"
)

// TestPutGet is the way of a put through three stores and back.
func TestPutGet(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	for i := range 50 {
		if err := c.Put(d, fmt.Sprintf("key-%d", i), fmt.Sprintf("value-%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		v, ok, err := c.Get(d, fmt.Sprintf("key-%d", i))
		if err != nil || !ok || v != fmt.Sprintf("value-%d", i) {
			t.Fatalf("get key-%d: %q %v %v", i, v, ok, err)
		}
	}
}
