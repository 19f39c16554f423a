//go:build !linux

package still

import (
	"errors"
	"io"
)

func watch(io.Writer) error { return errors.New("it is known on Linux only") }
