// Package fault numbers what can go wrong. Each number stands for one cause that a person can do something about; the table
// says what it means, why it happens and what helps. Numbers never change their meaning and are not used again: people
// search for them, and alert on them.
//
// An error has a code if it, or an error that it wraps, has a method FaultCode. Typed errors have one; New makes sentinels
// that do, With gives one to any other error.
package fault

import "fmt"

// Code is a number as people see it: SK2003.
type Code string

// Coded is an error that knows its code.
type Coded interface{ FaultCode() Code }

// Of is the code of an error: the one that is met first on the way from the outermost error inwards, or "".
func Of(err error) Code {
	if err == nil {
		return ""
	}
	if c, ok := err.(Coded); ok {
		if code := c.FaultCode(); code != "" {
			return code
		}
	}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		return Of(w.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range w.Unwrap() {
			if code := Of(inner); code != "" {
				return code
			}
		}
	}
	return ""
}

// New makes a sentinel for errors.Is.
func New(code Code, text string) error { return &sentinel{code, text} }

type sentinel struct {
	code Code
	text string
}

func (s *sentinel) Error() string   { return s.text }
func (s *sentinel) FaultCode() Code { return s.code }

// With gives an error a code, unless it has one. With of nil is nil.
func With(code Code, err error) error {
	if err == nil || Of(err) != "" {
		return err
	}
	return &coded{code, err}
}

// Errorf is fmt.Errorf with a code, whatever the code of what it wraps with %w.
func Errorf(code Code, format string, args ...any) error {
	return &coded{code, fmt.Errorf(format, args...)}
}

type coded struct {
	code Code
	err  error
}

func (c *coded) Error() string   { return c.err.Error() }
func (c *coded) Unwrap() error   { return c.err }
func (c *coded) FaultCode() Code { return c.code }
