//go:build !linux

package engine

import "github.com/cockroachdb/pebble/v2/vfs"

// forgetPages does nothing where there is no such advice: what is read may come from the system's memory.
func forgetPages(vfs.File, int64, int64) {}
