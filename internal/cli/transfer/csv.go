package transfer

import (
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/skerrydb/skerry/client"
)

// The columns of a CSV file. The first line names them, in any order. Where encoding is "base64", key and value of that
// row are written in base64; where it is empty or the column is missing they stand as they are.
const (
	keyColumn      = "key"
	valueColumn    = "value"
	encodingColumn = "encoding"
	base64Encoding = "base64"
)

// csvSource reads rows under a header.
type csvSource struct {
	r    *csv.Reader
	cols [3]int // of key, value, encoding in a row; -1: missing
	read int64
}

// NewCSVSource reads CSV from r, of which size bytes are expected (zero: not known).
func NewCSVSource(r io.Reader, size int64) Source {
	c := &csvSource{r: csv.NewReader(r)}
	c.r.ReuseRecord = true
	return &lineSource{size: size, next: c.next}
}

func (c *csvSource) next() (Record, error) {
	if c.read == 0 {
		if err := c.header(); err != nil {
			return Record{}, err
		}
	}
	row, err := c.r.Read()
	if err != nil {
		return Record{}, err
	}
	kv, err := c.decode(row)
	n := c.r.InputOffset() - c.read
	c.read += n
	return Record{KV: kv, Bytes: n}, err
}

func (c *csvSource) header() error {
	row, err := c.r.Read()
	if err != nil {
		return err // io.EOF: an empty file holds no records
	}
	row[0] = strings.TrimPrefix(row[0], "\ufeff") // spreadsheets begin a file with a byte order mark
	for i, name := range [...]string{keyColumn, valueColumn, encodingColumn} {
		c.cols[i] = slices.Index(row, name)
	}
	if c.cols[0] < 0 || c.cols[1] < 0 {
		return fmt.Errorf("the first line must name the columns, such as key,value or key,value,encoding; it is %q", strings.Join(row, ","))
	}
	c.read = c.r.InputOffset()
	return nil
}

func (c *csvSource) decode(row []string) (client.KV, error) {
	key, value := row[c.cols[0]], row[c.cols[1]]
	encoding := ""
	if c.cols[2] >= 0 {
		encoding = row[c.cols[2]]
	}
	switch encoding {
	case "":
		return client.KV{Key: []byte(key), Value: []byte(value)}, nil
	case base64Encoding:
		k, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			return client.KV{}, fmt.Errorf("the key is not base64, as its encoding says: %w", err)
		}
		v, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return client.KV{}, fmt.Errorf("the value is not base64, as its encoding says: %w", err)
		}
		return client.KV{Key: k, Value: v}, nil
	}
	return client.KV{}, fmt.Errorf("unknown encoding %q; write base64 or nothing", encoding)
}

// csvTarget writes rows of key, value, encoding.
type csvTarget struct {
	w     *csv.Writer
	count *countingWriter
	begun bool
}

// NewCSVTarget writes CSV to w. Close flushes and leaves w open.
func NewCSVTarget(w io.Writer) Target {
	count := &countingWriter{w: w}
	return &csvTarget{w: csv.NewWriter(count), count: count}
}

func (t *csvTarget) header() error {
	if t.begun {
		return nil
	}
	t.begun = true
	return t.w.Write([]string{keyColumn, valueColumn, encodingColumn})
}

func (t *csvTarget) Write(kv client.KV) (int64, error) {
	if err := t.header(); err != nil {
		return 0, err
	}
	row := []string{string(kv.Key), string(kv.Value), ""}
	if !plainCSV(row[0]) || !plainCSV(row[1]) {
		row = []string{base64.StdEncoding.EncodeToString(kv.Key), base64.StdEncoding.EncodeToString(kv.Value), base64Encoding}
	}
	if err := t.w.Write(row); err != nil {
		return 0, err
	}
	n := t.count.n
	t.count.n = 0
	return n, nil
}

// plainCSV reports whether a field comes back as it is. Readers turn \r\n into \n inside quotes, and what is not UTF-8
// is no text.
func plainCSV(s string) bool { return utf8.ValidString(s) && !strings.ContainsAny(s, "\r\x00") }

func (t *csvTarget) Close() error {
	if err := t.header(); err != nil {
		return err
	}
	t.w.Flush()
	return t.w.Error()
}

// countingWriter counts what goes through it.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
