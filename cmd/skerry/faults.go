package main

import "github.com/skerrydb/skerry/internal/fault"

// Errors that people make at the command line. Every error that a command ends with has a code: TestErrorsHaveCodes.

// usagef says what is wrong with a command line, and how it would be right.
func usagef(format string, args ...any) error { return fault.Errorf(fault.BadUsage, format, args...) }

// settingsf says which settings do not fit together.
func settingsf(format string, args ...any) error {
	return fault.Errorf(fault.BadConfig, format, args...)
}

// unconfirmedf says what a command would do that cannot be undone.
func unconfirmedf(format string, args ...any) error {
	return fault.Errorf(fault.Unconfirmed, format, args...)
}

// goesOnf says what goes on although nobody waits for it any more.
func goesOnf(format string, args ...any) error { return fault.Errorf(fault.GoesOn, format, args...) }
