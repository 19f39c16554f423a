//go:build cgo

package node

// enginesUseC says that Pebble takes caches and memtables from C.
const enginesUseC = true
