// Package bug is the list of bugs that are planted in Skerry to prove that the simulator finds them. Each is a place in
// production code that does the wrong thing if its bug is on. In a build without the tag "bugs" On is the constant
// false, and the compiler leaves nothing of them.
//
// A planted bug is one that somebody made, or nearly made, in a system of this kind: what it stands for is said beside
// its name.
package bug

// Bug is one of the list.
type Bug uint8

// Info says what a bug is.
type Info struct {
	Name string // of the bug, on the command line
	What string // goes wrong
}

// All lists the bugs in their order.
func All() []Info { return append([]Info(nil), list[1:]...) }

// Find returns the bug with a name.
func Find(name string) (Bug, bool) {
	for i := range list {
		if i > 0 && list[i].Name == name {
			return Bug(i), true
		}
	}
	return None, false
}
