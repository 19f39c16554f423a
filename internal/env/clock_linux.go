package env

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now goes on while the machine is suspended, as CLOCK_BOOTTIME does: a lease must not survive a suspended lid.
func (Real) Now() Time { return machine.now() }

var machine = suspendClock{clocks: &systemClocks{origin: time.Now()}}

type systemClocks struct{ origin time.Time }

func (s *systemClocks) both() (mono, wall int64) {
	t := time.Now()
	return int64(t.Sub(s.origin)), t.UnixNano()
}

func (s *systemClocks) boot() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("env: clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // Linux has it since 2.6.39
	}
	return ts.Nano()
}
