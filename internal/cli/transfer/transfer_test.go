package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// TestLinesRoundTrip: whatever the bytes of keys and values are, a file of lines brings them back, and importing it under
// lost answers gives an equal cluster.
func TestLinesRoundTrip(t *testing.T) {
	formats := map[Format]struct {
		target func(io.Writer) Target
		source func(io.Reader, int64) Source
	}{JSONL: {NewJSONLTarget, NewJSONLSource}, CSV: {NewCSVTarget, NewCSVSource}}
	for name, f := range formats {
		t.Run(string(name), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				from := newFakeDB()
				from.data = rapid.MapOfN(byteString(1), byteString(0), 0, 20).Draw(t, "data")
				var file bytes.Buffer
				counted := int64(0)
				o := ExportOptions{Progress: func(_ int, n int64) { counted += n }}
				if err := Export(t.Context(), from, f.target(&file), o); err != nil {
					t.Fatal(err)
				}
				to := newFakeDB()
				src := f.source(bytes.NewReader(file.Bytes()), int64(file.Len()))
				read := int64(0)
				io := ImportOptions{Parallel: 1, Checkpoint: noCheckpoint(), Progress: func(_ int, n int64) { read += n }}
				if err := Import(t.Context(), to, src, io); err != nil {
					t.Fatalf("%v in\n%s", err, file.String())
				}
				if !maps.Equal(from.data, to.data) {
					t.Fatalf("%q became %q by\n%s", from.data, to.data, file.String())
				}
				if name == JSONL && (counted != int64(file.Len()) || read != counted) {
					t.Fatalf("a file of %d bytes: %d counted as written, %d as read", file.Len(), counted, read)
				}
			})
		})
	}
}

// byteString draws text, escapes, line ends and arbitrary bytes.
func byteString(minLen int) *rapid.Generator[string] {
	piece := rapid.OneOf(rapid.SampledFrom([]string{"a", ",", `"`, "\n", "\r\n", "\r", "\x00", "\xff", "\\", `\.`, "\u2028", "\ufffd", "é", " ", "<", "\ufeff"}),
		rapid.Map(rapid.Byte(), func(b byte) string { return string([]byte{b}) }))
	return rapid.Map(rapid.SliceOfN(piece, minLen, 8), func(p []string) string { return strings.Join(p, "") })
}

// TestTreeRoundTrip: a tree with nested and empty files, odd names and shared prefixes of names comes back byte for byte,
// while answers are lost and shards are read side by side.
func TestTreeRoundTrip(t *testing.T) {
	in := t.TempDir()
	want := makeTree(t, in, 400)
	if err := os.Symlink("/etc/passwd", filepath.Join(in, "link")); err != nil {
		t.Fatal(err)
	}
	db := newFakeDB("tree/a", "tree/d/2", "tree/m", "tree/z")
	db.ambiguous = 0.05
	src := NewTreeSource(in, false)
	keys, size, err := src.Total("")
	if err != nil || keys != int64(len(want)) || src.Skipped != 1 {
		t.Fatalf("Total: %d keys, %d skipped, %v; want %d and 1", keys, src.Skipped, err, len(want))
	}
	var gotKeys, gotBytes int64
	o := ImportOptions{Prefix: []byte("tree/"), Parallel: 1, RetryFor: time.Minute, Checkpoint: noCheckpoint(),
		Progress: func(n int, b int64) { gotKeys += int64(n); gotBytes += b }}
	if err := Import(t.Context(), db, src, o); err != nil {
		t.Fatal(err)
	}
	if gotKeys != keys || gotBytes != size {
		t.Fatalf("progress says %d keys, %d bytes; there are %d and %d", gotKeys, gotBytes, keys, size)
	}
	db.data["other"] = "x"
	out := filepath.Join(t.TempDir(), "new")
	target, err := NewTreeTarget(out, []byte("tree/"), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), db, target, ExportOptions{Range: client.Prefix("tree/"), Parallel: 4, Progress: quiet}); err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, out); !maps.Equal(got, want) {
		t.Fatalf("%d files became %d, or their contents differ", len(want), len(got))
	}
	if _, err := NewTreeTarget(out, nil, false); err == nil {
		t.Fatal("a directory with files in it was taken without --overwrite")
	}
}

// makeTree writes random files and returns path -> content.
func makeTree(t *testing.T, dir string, n int) map[string]string {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	want := map[string]string{"empty": "", "d/empty": "", "a b/ü\n": "odd", "d/x\xff": "no utf-8", "d-x": "", "d.x/y": "sorts before d/ by bytes"}
	for i := range n {
		b := bytes.Repeat(fmt.Appendf(nil, "%d\x00\xff", i), rng.IntN(6_000))
		// A walk and an order by bytes disagree on these: "e/1" comes before "e-1".
		dir := []string{"e", "e-1", "e.1", "e/1", "e0", "e/1/2"}[rng.IntN(6)]
		want[fmt.Sprintf("%s/f%d", dir, i)] = string(b)
	}
	for path, content := range want {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "no/files"), 0o777); err != nil {
		t.Fatal(err)
	}
	return want
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for rec, err := range NewTreeSource(dir, false).Records("") {
		if err != nil {
			t.Fatal(err)
		}
		got[string(rec.Key)] = string(rec.Value)
	}
	return got
}

// TestImportGoesOn: an import that dies again and again, with several batches under way each time, ends with everything
// written, and does not begin from the start each time.
func TestImportGoesOn(t *testing.T) {
	in := t.TempDir()
	want := makeTree(t, in, 1000)
	var lines bytes.Buffer
	target := NewJSONLTarget(&lines)
	for i := range 8_000 {
		kv := client.KV{Key: fmt.Appendf(nil, "k%05d", i), Value: bytes.Repeat([]byte{'a' + byte(i%26)}, 1200)}
		if _, err := target.Write(kv); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	sources := map[string]func() Source{
		"tree":  func() Source { return NewTreeSource(in, false) },
		"jsonl": func() Source { return NewJSONLSource(bytes.NewReader(lines.Bytes()), 0) },
	}
	for name, open := range sources {
		t.Run(name, func(t *testing.T) {
			cp := filepath.Join(t.TempDir(), "cp.json")
			id := Checkpoint{Cluster: "c1", Source: name, Prefix: []byte("p/")}
			db := &slowDB{fakeDB: newFakeDB()}
			runs := 0
			for ; ; runs++ {
				if runs > 20 {
					t.Fatal("it never ends")
				}
				file, err := OpenCheckpoint(cp, id)
				if err != nil {
					t.Fatal(err)
				}
				db.puts, db.failAt = 0, 4+db.rng.IntN(4)
				err = Import(t.Context(), db, open(), ImportOptions{Prefix: []byte("p/"), Parallel: 3, Checkpoint: file, Progress: quiet})
				if err == nil {
					break
				}
				if !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				for _, other := range []Checkpoint{{Cluster: "c2", Source: name, Prefix: id.Prefix}, {Cluster: "c1", Source: "x", Prefix: id.Prefix}, {Cluster: "c1", Source: name}} {
					if _, err := OpenCheckpoint(cp, other); err == nil {
						t.Fatalf("the checkpoint of %v was taken for %v", id, other)
					}
				}
			}
			if _, err := os.Stat(cp); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("the checkpoint is still there: %v", err)
			}
			total := 8_000
			if name == "tree" {
				total = len(want)
			}
			if runs < 1 || len(db.data) != total {
				t.Fatalf("%d runs wrote %d rows for %d of %d keys", runs+1, db.rows, len(db.data), total)
			}
			for k, v := range want {
				if name == "tree" && db.data["p/"+k] != v {
					t.Fatalf("%q is wrong", k)
				}
			}
		})
	}
}

// TestTreePositions: from every position a tree yields exactly the files behind it.
func TestTreePositions(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir, 60)
	src := NewTreeSource(dir, false)
	list := func(after string) (out []string) {
		for rec, err := range src.Records(after) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rec.Pos)
		}
		return out
	}
	all := list("")
	for i, pos := range all {
		// By way of the file, because a position need not be UTF-8.
		path := filepath.Join(t.TempDir(), "cp")
		cp, err := OpenCheckpoint(path, Checkpoint{})
		if err == nil {
			err = cp.save(pos, 1)
		}
		if err == nil {
			cp, err = OpenCheckpoint(path, Checkpoint{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := list(string(cp.State().Pos)); !slices.Equal(got, all[i+1:]) {
			t.Fatalf("after %q: %q, want %q", pos, got, all[i+1:])
		}
	}
}

// TestLastOfEqualKeysWins, although batches are written side by side and take effect in any order.
func TestLastOfEqualKeysWins(t *testing.T) {
	var lines strings.Builder
	pad := strings.Repeat("x", 200_000) // so that a batch holds five
	for i := range 60 {
		fmt.Fprintf(&lines, `{"key":"k%d","value":"%d%s"}`+"\n", i%7, i, pad)
	}
	db := &slowDB{fakeDB: newFakeDB()}
	err := Import(t.Context(), db, NewJSONLSource(strings.NewReader(lines.String()), 0), ImportOptions{Parallel: 8, Checkpoint: noCheckpoint(), Progress: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for i := 53; i < 60; i++ {
		if got := strings.TrimRight(db.data[fmt.Sprintf("k%d", i%7)], "x"); got != fmt.Sprint(i) {
			t.Errorf("k%d is from record %s, want %d", i%7, got, i)
		}
	}
}

// slowDB lets batches take effect out of order, and one fail when later ones are done.
type slowDB struct {
	*fakeDB
	failAt int // the number of the batch; 0: none
}

func (s *slowDB) PutMany(ctx context.Context, kvs []client.KV, o ...client.PutOption) error {
	s.mu.Lock()
	s.puts++
	d, fails := time.Duration(s.rng.IntN(3))*20*time.Millisecond, s.puts == s.failAt
	s.mu.Unlock()
	if fails {
		time.Sleep(150 * time.Millisecond)
		return errDisk
	}
	time.Sleep(d)
	return s.fakeDB.PutMany(ctx, kvs, o...)
}

// TestExportRefuses: keys that are no plain path below the target end the export, and nothing appears outside.
func TestExportRefuses(t *testing.T) {
	for _, key := range []string{"", "/etc/x", "..", "../x", "a/../../x", "a/..", ".", "./x", "a//b", "a/", "a/./b", "a\x00b"} {
		parent := t.TempDir()
		db := newFakeDB()
		db.data["p/"+key] = "evil"
		target, err := NewTreeTarget(filepath.Join(parent, "out"), []byte("p/"), false)
		if err != nil {
			t.Fatal(err)
		}
		err = Export(t.Context(), db, target, ExportOptions{Range: client.Prefix("p/"), Parallel: 2, Progress: quiet})
		if err == nil || !strings.Contains(err.Error(), "cannot be a file") {
			t.Errorf("key %q: %v", key, err)
		}
		if entries, _ := os.ReadDir(parent); len(entries) != 1 {
			t.Errorf("key %q: %v appeared outside", key, entries)
		}
	}
}

// TestExportClashes: a link in the target is not followed outside, and a key that is another key's directory is an error.
func TestExportClashes(t *testing.T) {
	outside := t.TempDir()
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	db := newFakeDB()
	db.data["a/b"] = "evil"
	target, err := NewTreeTarget(dir, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), db, target, ExportOptions{Progress: quiet}); err == nil {
		t.Error("a link was followed")
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("%v appeared outside", entries)
	}
	db.data = map[string]string{"x": "1", "x/y": "2"}
	target, err = NewTreeTarget(t.TempDir(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(t.Context(), db, target, ExportOptions{Progress: quiet}); err == nil || !strings.Contains(err.Error(), "export it as jsonl") {
		t.Errorf("a key that is a directory as well: %v", err)
	}
}

// TestBadInput: what is wrong is said, with the number of the record, and what to write instead.
func TestBadInput(t *testing.T) {
	big := t.TempDir()
	if f, err := os.Create(filepath.Join(big, "f")); err != nil || f.Truncate(shard.MaxValueBytes+1) != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if _, _, err := NewTreeSource(big, false).Total(""); err == nil || !strings.Contains(err.Error(), "--skip-large") {
		t.Errorf("large file: %v", err)
	}
	if n, _, err := NewTreeSource(big, true).Total(""); n != 0 || err != nil {
		t.Errorf("large file with skip: %d, %v", n, err)
	}
	for _, c := range []struct {
		src  Source
		want string
	}{
		{jsonl(`{"key":"a","value":"1"}`, `{"key":"b"}`), "record 2: neither value nor value_base64 is given"},
		{jsonl(`{"key":"a","key_base64":"YQ==","value":""}`), "record 1: key and key_base64 are both given"},
		{jsonl(`{"kee":"a","value":""}`), `unknown field "kee"`},
		{jsonl(`{"key":"a","value":""} {}`), "more than one JSON value"},
		{jsonl("{\"key\":\"\xff\",\"value\":\"\"}"), "not valid UTF-8"},
		{jsonl(`{"key":"\ud800","value":""}`), "stands alone"},
		{jsonl(`{"key":"\udc00\ud800","value":""}`), "stands alone"},
		{jsonl(`{"key":"","value":"x"}`), "the key is empty"},
		{jsonl(`[]`), "record 1: "},
		{NewCSVSource(strings.NewReader("a,b\n"), 0), "must name the columns"},
		{NewCSVSource(strings.NewReader("key,value,encoding\na,b,hex\n"), 0), `unknown encoding "hex"`},
		{NewCSVSource(strings.NewReader("key,value\na\n"), 0), "record 1: "},
		{NewCSVSource(strings.NewReader("key,value,encoding\n!,b,base64\n"), 0), "record 1: "},
	} {
		err := Import(t.Context(), newFakeDB(), c.src, ImportOptions{Parallel: 1, Checkpoint: noCheckpoint(), Progress: quiet})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	good := newFakeDB()
	err := Import(t.Context(), good, jsonl(`{"key":"\ud83d\ude00","value":"\\ud800"}`, "", "  "), ImportOptions{Parallel: 1, Checkpoint: noCheckpoint(), Progress: quiet})
	if err != nil || good.data["😀"] != `\ud800` {
		t.Errorf("a surrogate pair and an escaped backslash: %q, %v", good.data, err)
	}
}

func jsonl(lines ...string) Source {
	return NewJSONLSource(strings.NewReader(strings.Join(lines, "\n")), 0)
}

func FuzzJSONLine(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":"b"}`))
	f.Add([]byte(`{"key_base64":"AA==","value_base64":""}`))
	f.Add([]byte(`{"key":"\ud83d\ude00","value":"\\ud800"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		readsBack(t, NewJSONLSource(bytes.NewReader(line), 0), NewJSONLTarget, NewJSONLSource)
	})
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("key,value\na,b\n"))
	f.Add([]byte("encoding,value,key\nbase64,AA==,AA==\n,\"x\r\ny\",\"\"\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		readsBack(t, NewCSVSource(bytes.NewReader(in), 0), NewCSVTarget, NewCSVSource)
	})
}

// readsBack: what could be read can be written and read again as the same.
func readsBack(t *testing.T, src Source, target func(io.Writer) Target, source func(io.Reader, int64) Source) {
	var kvs []client.KV
	for rec, err := range src.Records("") {
		if err != nil {
			return
		}
		kvs = append(kvs, rec.KV)
	}
	var file bytes.Buffer
	w := target(&file)
	for _, kv := range kvs {
		if _, err := w.Write(kv); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	i := 0
	for rec, err := range source(&file, 0).Records("") {
		if err != nil || !bytes.Equal(rec.Key, kvs[i].Key) || !bytes.Equal(rec.Value, kvs[i].Value) {
			t.Fatalf("record %d: %q became %q, %v", i+1, kvs[i], rec.KV, err)
		}
		i++
	}
	if i != len(kvs) {
		t.Fatalf("%d records became %d", len(kvs), i)
	}
}
