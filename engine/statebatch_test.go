package engine

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/shard"
	"pgregory.net/rapid"
)

// TestStateBatch runs random batches against a map: reads see the batch's own writes, the last write of a key wins, and
// range deletions keep their place, whether the batch was sorted, indexed, or turned from the one into the other.
func TestStateBatch(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		mode := rapid.SampledFrom([]shard.Mode{shard.ModeRaw, shard.ModeTxn}).Draw(t, "mode")
		scope := fmt.Sprintf("%06d", n) // every run has its own keys
		key := func(label string) shard.Key {
			k := shard.MakeKey(mode, fmt.Appendf(nil, "%s%c", scope, 'a'+rapid.IntRange(0, 8).Draw(t, label)))
			if mode == shard.ModeTxn {
				k = append(k, 0)
				if ts := rapid.IntRange(0, 3).Draw(t, label+" version"); ts > 0 {
					k = append(k, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, byte(ts), 9)
				}
			}
			return k
		}
		all := shard.Range{Start: shard.MakeKey(mode, []byte(scope)), End: shard.MakeKey(mode, []byte(scope+"z"))}
		model := map[string]string{}
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			b := e.NewStateBatch()
			for range rapid.IntRange(0, 12).Draw(t, "ops") {
				stateBatchOp(t, b, model, key)
			}
			if rapid.Bool().Draw(t, "scan") {
				compareScan(t, "own writes", model, func(f func(shard.Key, []byte) bool) error { return b.Scan(all, f) })
			}
			if (b.Bytes() == 0) && !b.Empty() {
				t.Fatal("empty?")
			}
			if err := b.Commit(rapid.Bool().Draw(t, "sync")); err != nil {
				t.Fatal(err)
			}
			b.Close()
			b.Close()
			r := e.NewReader()
			compareScan(t, "committed", model, func(f func(shard.Key, []byte) bool) error { return r.Scan(all, false, f) })
			for k, v := range model {
				if have, ok, err := r.Get(shard.Key(k)); err != nil || !ok || string(have) != v {
					t.Fatalf("reader: %q is %q %v %v, not %q", k, have, ok, err, v)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func stateBatchOp(t *rapid.T, b *StateBatch, model map[string]string, key func(string) shard.Key) {
	k := key("key")
	switch rapid.IntRange(0, 6).Draw(t, "op") {
	case 0:
		b.Delete(k)
		delete(model, string(k))
	case 1:
		end := prefixOf(key("end"))
		r := shard.Range{Start: prefixOf(k), End: end}
		b.DeleteRange(r)
		maps.DeleteFunc(model, func(s, _ string) bool { return r.Contains(prefixOf(shard.Key(s))) })
	case 2, 3:
		have, ok, err := b.Get(k)
		want, wantOK := model[string(k)]
		if err != nil || ok != wantOK || string(have) != want {
			t.Fatalf("get %s: %q %v %v, not %q", k, have, ok, err, want)
		}
	default:
		v := rapid.StringN(0, 4, 8).Draw(t, "value")
		b.Set(k, []byte(v))
		model[string(k)] = v
	}
}

// prefixOf cuts the version off a transactional key.
func prefixOf(k shard.Key) shard.Key {
	if k[0] == byte(shard.ModeTxn) && k[len(k)-1] == 9 {
		return k[:len(k)-9]
	}
	return k
}

func compareScan(t *rapid.T, what string, model map[string]string, scan func(func(shard.Key, []byte) bool) error) {
	have := map[string]string{}
	if err := scan(func(k shard.Key, v []byte) bool { have[string(k)] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(have, model) {
		t.Fatalf("%s: %v\nnot %v", what, have, model)
	}
}

// TestStateBatchSorts: without reads the keys reach Pebble in order.
func TestStateBatchSorts(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	b := e.NewStateBatch()
	defer b.Close()
	for _, k := range []string{"d", "b", "a", "b", "c"} {
		b.Set(rk(k), []byte(k))
	}
	b.SetApplied(5, shard.Applied{Index: 1})
	if _, ok, err := b.Get(rk("zzz")); ok || err != nil || b.indexed {
		t.Fatal("a read of something else turned the batch", ok, err)
	}
	b.flush()
	var got []string
	for r := b.b.Reader(); ; {
		_, k, _, ok, err := r.Next()
		must(t, err)
		if !ok {
			break
		}
		got = append(got, string(k))
	}
	if len(got) != 5 || !slices.IsSorted(got) {
		t.Fatalf("%q", got)
	}
}

// TestScanStopsAndReverses covers what the model does not.
func TestScanStopsAndReverses(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	set(t, e, false, func(b *StateBatch) {
		for _, k := range []string{"a", "b", "c", "d"} {
			b.Set(rk(k), nil)
		}
	})
	r := e.NewReader()
	defer r.Close()
	var got string
	must(t, r.Scan(rng("a", "d"), true, func(k shard.Key, _ []byte) bool { got += string(k.User()); return len(got) < 2 }))
	if got != "cb" {
		t.Fatal(got)
	}
	if v, ok, err := r.Get(rk("d")); err != nil || !ok || v == nil {
		t.Fatal("after a scan with bounds: ", v, ok, err)
	}
	if _, ok, err := r.Get(rk("aa")); ok || err != nil {
		t.Fatal(ok, err)
	}
	must(t, r.Scan(rng("d", "a"), false, func(shard.Key, []byte) bool { t.Fatal("a range that holds nothing"); return true }))
}
