package engine

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// identRecord is the name of the record that holds the store's Ident.
const identRecord = "ident"

// Ident says whose store this is. It is written once.
type Ident struct {
	Cluster shard.ClusterID
	Store   shard.StoreID
	// Format is the version of what the layers above write; the engine only keeps it.
	Format uint32
}

const identVersion = 1

func (i Ident) encode() []byte {
	b := codec.AppendUvarint([]byte{identVersion}, uint64(i.Cluster))
	b = codec.AppendUvarint(b, uint64(i.Store))
	return codec.AppendUvarint(b, uint64(i.Format))
}

func decodeIdent(v []byte) (Ident, error) {
	d := codec.Decoder{B: v}
	d.Version(identVersion)
	i := Ident{Cluster: shard.ClusterID(d.Uvarint()), Store: shard.StoreID(d.Uvarint())}
	f := d.Uvarint()
	i.Format = uint32(f)
	if d.Done() != nil || uint64(i.Format) != f {
		return Ident{}, corrupt(keys.Record(identRecord), "identity: %s", codec.ErrMalformed)
	}
	return i, nil
}

// Ident reads whose store this is; false if SetIdent was never called.
func (e *Engine) Ident() (Ident, bool, error) {
	v, ok, err := e.Record(identRecord)
	if err != nil || !ok {
		return Ident{}, false, err
	}
	i, err := decodeIdent(v)
	if err != nil {
		return Ident{}, false, e.fail(err)
	}
	return i, true, nil
}

// SetIdent writes whose store this is and syncs it. To write the same again is fine; to write another is refused and
// leaves the store as it is.
func (e *Engine) SetIdent(i Ident) error {
	have, ok, err := e.Ident()
	if err != nil {
		return err
	}
	if ok && have != i {
		return fmt.Errorf("engine: store in %s belongs to cluster %s as %s format %d, refusing to make it cluster %s %s format %d",
			e.dir, have.Cluster, have.Store, have.Format, i.Cluster, i.Store, i.Format)
	}
	if ok {
		return nil
	}
	return e.SetRecord(identRecord, i.encode())
}

// Record reads a small record of the store, copied; false if there is none of this name.
func (e *Engine) Record(name string) ([]byte, bool, error) {
	k := keys.Record(name)
	v, ok, err := e.get(k)
	if err != nil || !ok {
		return nil, false, err
	}
	if v, err = decodeRecord(k, v); err != nil {
		return nil, false, e.fail(err)
	}
	return v, true, nil
}

// SetRecord writes a small record of the store and syncs it.
func (e *Engine) SetRecord(name string, v []byte) error {
	k := keys.Record(name)
	b := e.db.NewBatch()
	err := e.write("write "+keys.Format(k), func() error {
		if err := b.Set(k, encodeRecord(k, v), nil); err != nil {
			return err
		}
		return b.Commit(pebble.Sync)
	})
	if err != nil {
		return err // whether Pebble still uses the batch is not known
	}
	e.noteSynced(e.seqOf(b))
	return b.Close()
}
