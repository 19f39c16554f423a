package engine

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store that is closed in order is sealed: the file SEAL names every file of the database with its size and, but for the
// tables, its checksum. The next start checks it and takes it away.
//
// Pebble checks every block of a table that it reads. But it takes a record of its log or manifest that does not fit for the
// end of what a crash left, and goes on without it and without a word: so it must, after a crash. After an orderly end
// nothing is torn, and a record that does not fit is damage: without the seal, one bit that flips in the manifest could
// bring back an older version of the store, and one in the log could take away what was promised to others.
//
// INVARIANT: whatever the seal covers is on disk before the seal is, and the seal is gone, on disk, before anything that it
// covers is changed.
const (
	sealFile = "SEAL"
	sealTemp = "SEAL.tmp"
	sealHead = "skerry seal 1"
)

// sealed is one file of the database.
type sealed struct {
	name string // relative to the store's directory, with "/"
	size int64
	sum  uint32
	data bool // a table: its blocks have checksums of their own, so sum is not taken
}

func (s *sealed) line() string {
	if s.data {
		return fmt.Sprintf("%d - %s\n", s.size, s.name)
	}
	return fmt.Sprintf("%d %08x %s\n", s.size, s.sum, s.name)
}

// look reads what a file is now, and syncs it if it is to be vouched for.
func (e *Engine) look(name string, sync bool) (sealed, error) {
	s := sealed{name: name, data: strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")}
	f, err := e.fs.Open(e.path(strings.Split(name, "/")...))
	if err != nil {
		return s, err
	}
	defer f.Close()
	if s.data {
		info, err := f.Stat()
		if err == nil {
			s.size = info.Size()
		}
		return s, err
	}
	sum := crc32.New(castagnoli)
	if s.size, err = io.Copy(sum, f); err != nil {
		return s, err
	}
	s.sum = sum.Sum32()
	if sync {
		err = f.Sync()
	}
	return s, err
}

// sealNames are the files that a seal covers, in order.
func (e *Engine) sealNames() ([]string, error) {
	names, err := e.fs.List(e.path(dbDir))
	if err != nil {
		return nil, err
	}
	out := []string{storeFile}
	for _, n := range names {
		if n != "LOCK" {
			out = append(out, dbDir+"/"+n)
		}
	}
	segments, err := e.segmentNames()
	if err != nil {
		return nil, err
	}
	for _, n := range segments {
		out = append(out, logDir+"/"+n)
	}
	slices.Sort(out)
	return out, nil
}

// seal writes the seal of a database that was closed.
func (e *Engine) seal() error {
	names, err := e.sealNames()
	if err != nil {
		return err
	}
	for _, d := range []string{dbDir, logDir} {
		if d == logDir && e.journal() == nil {
			continue
		}
		if err := syncDir(e.fs, e.path(d)); err != nil { // a file that was deleted must not come back
			return err
		}
	}
	var b strings.Builder
	b.WriteString(sealHead + "\n")
	for _, n := range names {
		s, err := e.look(n, true)
		if err != nil {
			return fmt.Errorf("seal %s: %w", n, err)
		}
		b.WriteString(s.line())
	}
	fmt.Fprintf(&b, "%08x\n", crc32.Checksum([]byte(b.String()), castagnoli))
	return e.writeFile(sealTemp, sealFile, b.String())
}

// checkSeal compares the files with the seal. There is none after a crash: then sealed is false.
func (e *Engine) checkSeal() (sealed bool, err error) {
	text, err := e.readFile(sealFile)
	if errors.Is(err, errNoFile) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	body, last := cutLastLine(text)
	if fmt.Sprintf("%08x\n", crc32.Checksum([]byte(body), castagnoli)) != last || !strings.HasPrefix(body, sealHead+"\n") {
		return true, fmt.Errorf("%w: the file %s does not hold together; %s", ErrCorruption, e.path(sealFile), restoreAdvice)
	}
	have := make(map[string]bool)
	names, err := e.sealNames()
	if err != nil {
		return true, err
	}
	for _, n := range names {
		have[n] = true
	}
	for _, want := range strings.SplitAfter(strings.TrimPrefix(body, sealHead+"\n"), "\n") {
		if want == "" {
			continue
		}
		name := strings.TrimSuffix(want[strings.LastIndexByte(want, ' ')+1:], "\n")
		if !have[name] {
			return true, fmt.Errorf("%w: the file %s is missing; %s", ErrCorruption, e.path(name), restoreAdvice)
		}
		delete(have, name)
		switch is, err := e.look(name, false); {
		case err != nil:
			return true, fmt.Errorf("read %s: %w", name, err)
		case is.line() != want:
			return true, fmt.Errorf("%w: the file %s is not what it was when the store was closed (now %s, then %s); %s", ErrCorruption, e.path(name),
				strings.TrimSpace(is.line()), strings.TrimSpace(want), restoreAdvice)
		}
	}
	for _, n := range names {
		if have[n] {
			return true, fmt.Errorf("%w: the file %s was not there when the store was closed; %s", ErrCorruption, e.path(n), restoreAdvice)
		}
	}
	return true, nil
}

// breakSeal checks the seal and takes it away for good.
func (e *Engine) breakSeal() error {
	ok, err := e.checkSeal()
	if err != nil || !ok {
		return err
	}
	if err := e.fs.Remove(e.path(sealFile)); err != nil {
		return err
	}
	return syncDir(e.fs, e.dir)
}

func cutLastLine(text string) (body, last string) {
	i := strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n') + 1
	return text[:i], text[i:]
}

var errNoFile = errors.New("no such file")

func (e *Engine) readFile(name string) (string, error) {
	names, err := e.fs.List(e.dir)
	if err != nil {
		return "", err
	}
	if !slices.Contains(names, name) {
		return "", errNoFile
	}
	f, err := e.fs.Open(e.path(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

// writeFile replaces a file whole, durably.
func (e *Engine) writeFile(temp, name, text string) error {
	tmp := e.path(temp)
	f, err := e.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = e.fs.Rename(tmp, e.path(name))
	}
	if err == nil {
		err = syncDir(e.fs, e.dir)
	}
	return err
}
