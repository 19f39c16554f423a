//go:build !bugs

package bug

// Built says whether this program holds the bugs.
const Built = false

// On reports whether the bug is planted in this run.
func (b Bug) On() bool { return false }

// Plant needs a build with the tag "bugs".
func Plant(Bug) { panic("bug: this program was built without planted bugs; build it with -tags bugs") }
