package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkpointVersion is the form of a checkpoint file.
const checkpointVersion = 1

// Checkpoint says up to where an import is done.
type Checkpoint struct {
	Version int    `json:"schema_version"`
	Cluster string `json:"cluster"` // its id, so that another or a fresh cluster gets everything
	Source  string `json:"source"`  // what is imported: absolute path and format
	Prefix  []byte `json:"prefix_base64"`
	// Pos is the Record.Pos up to which, and including which, everything is written. It may be any bytes: a path of a
	// tree need not be UTF-8, and a string of JSON must.
	Pos  []byte `json:"pos_base64"`
	Keys int64  `json:"keys"` // written so far
}

// CheckpointFile keeps a Checkpoint. The zero value keeps nothing.
type CheckpointFile struct {
	path  string
	state Checkpoint
}

// OpenCheckpoint reads path if it is there. Its content must be of the same import as want.
func OpenCheckpoint(path string, want Checkpoint) (*CheckpointFile, error) {
	want.Version = checkpointVersion
	c := &CheckpointFile{path: path, state: want}
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	var have Checkpoint
	if err := json.Unmarshal(b, &have); err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w; remove it to import from the beginning", path, err)
	}
	if have.Version != want.Version || have.Cluster != want.Cluster || have.Source != want.Source || string(have.Prefix) != string(want.Prefix) {
		return nil, fmt.Errorf("checkpoint %s is of another import (%s, prefix %q, cluster %s); remove it or name another file",
			path, have.Source, have.Prefix, have.Cluster)
	}
	c.state = have
	return c, nil
}

// State is the last Checkpoint.
func (c *CheckpointFile) State() Checkpoint { return c.state }

// save replaces the file in one step, so that a crash leaves the old or the new one.
func (c *CheckpointFile) save(pos string, keys int64) error {
	c.state.Pos, c.state.Keys = []byte(pos), keys
	if c.path == "" {
		return nil
	}
	b, err := json.Marshal(c.state)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), filepath.Base(c.path)+".*")
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write checkpoint %s: %w", c.path, err)
	}
	return nil
}

// remove deletes the file once everything is imported.
func (c *CheckpointFile) remove() error {
	if c.path == "" {
		return nil
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
