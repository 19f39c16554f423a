package transfer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

// maxLineBytes bounds a line: a value of the largest size of which every byte is written as \u00NN, a key likewise, and
// some room.
const maxLineBytes = 6*(shard.MaxValueBytes+shard.MaxKeyBytes) + 1024

// jsonLine is one line. Of each pair exactly one field is there; base64 is for what is not valid UTF-8.
type jsonLine struct {
	Key         *string `json:"key,omitempty"`
	KeyBase64   []byte  `json:"key_base64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"value_base64,omitempty"`
}

// NewJSONLSource reads JSON lines from r, of which size bytes are expected (zero: not known).
func NewJSONLSource(r io.Reader, size int64) Source {
	in := bufio.NewReaderSize(r, 64<<10)
	return &lineSource{size: size, next: func() (Record, error) {
		var read int64
		for {
			line, err := readLine(in)
			read += int64(len(line))
			if len(line) == 0 && err != nil {
				return Record{}, err
			}
			if err != nil && err != io.EOF {
				return Record{}, err
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				kv, err := decodeJSONLine(line)
				return Record{KV: kv, Bytes: read}, err
			}
		}
	}}
}

// readLine reads up to and including the next newline, or the rest with io.EOF. The result is the caller's.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLineBytes {
			return nil, fmt.Errorf("the line is longer than %d bytes, more than the largest key and value need", maxLineBytes)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func decodeJSONLine(line []byte) (client.KV, error) {
	if !utf8.Valid(line) {
		return client.KV{}, errors.New("the line is not valid UTF-8; write such bytes as key_base64 or value_base64")
	}
	if loneSurrogate(line) {
		return client.KV{}, errors.New(`half of a surrogate pair (\ud800 to \udfff) stands alone; write such bytes as key_base64 or value_base64`)
	}
	var l jsonLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return client.KV{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return client.KV{}, errors.New("more than one JSON value on the line")
	}
	key, err := oneOf("key", l.Key, l.KeyBase64)
	if err != nil {
		return client.KV{}, err
	}
	value, err := oneOf("value", l.Value, l.ValueBase64)
	return client.KV{Key: key, Value: value}, err
}

func oneOf(name string, text *string, binary []byte) ([]byte, error) {
	switch {
	case text != nil && binary != nil:
		return nil, fmt.Errorf("%s and %s_base64 are both given; write one of them", name, name)
	case text != nil:
		return []byte(*text), nil
	case binary != nil:
		return binary, nil
	}
	return nil, fmt.Errorf("neither %s nor %s_base64 is given", name, name)
}

// loneSurrogate reports a \uD800–\uDFFF escape that is not half of a pair. encoding/json would silently turn it into
// U+FFFD, and another value than the one in the file would be stored.
func loneSurrogate(line []byte) bool {
	for i := 0; i+1 < len(line); i++ {
		if line[i] != '\\' {
			continue
		}
		i++ // the escaped byte is no backslash that begins another escape
		hi, ok := surrogate(line[i:])
		if !ok {
			continue
		}
		if hi >= 0xdc00 || i+5 >= len(line) || line[i+5] != '\\' {
			return true
		}
		if lo, ok := surrogate(line[i+6:]); !ok || lo < 0xdc00 {
			return true
		}
		i += 10
	}
	return false
}

// surrogate reads uNNNN if that is in the range of surrogates.
func surrogate(b []byte) (uint64, bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[1:5]), 16, 32)
	return n, err == nil && n >= 0xd800 && n < 0xe000
}

// jsonlTarget writes JSON lines.
type jsonlTarget struct {
	w   *bufio.Writer
	buf bytes.Buffer
	enc *json.Encoder
}

// NewJSONLTarget writes JSON lines to w. Close flushes and leaves w open.
func NewJSONLTarget(w io.Writer) Target {
	t := &jsonlTarget{w: bufio.NewWriterSize(w, 64<<10)}
	t.enc = json.NewEncoder(&t.buf)
	t.enc.SetEscapeHTML(false)
	return t
}

func (t *jsonlTarget) Write(kv client.KV) (int64, error) {
	k, v := output.MakeBinary(kv.Key), output.MakeBinary(kv.Value)
	t.buf.Reset()
	if err := t.enc.Encode(jsonLine{Key: k.Text, KeyBase64: k.Base64, Value: v.Text, ValueBase64: v.Base64}); err != nil {
		return 0, err
	}
	n, err := t.w.Write(t.buf.Bytes())
	return int64(n), err
}

func (t *jsonlTarget) Close() error { return t.w.Flush() }
