package beat

import "github.com/skerrydb/skerry/shard"

// Rates is what a shard is asked for in a second, about, where it is led.
type Rates struct {
	Reads, Writes         float32 // requests
	ReadBytes, WriteBytes float32 // of answers and of commands
}

// WorkBytes is how many bytes weigh as much as a request does.
const WorkBytes = 4096

// Work is all of it as one number: requests a second, with WorkBytes of what they carry as another one.
func (r Rates) Work() float64 {
	return float64(r.Reads) + float64(r.Writes) + (float64(r.ReadBytes)+float64(r.WriteBytes))/WorkBytes
}

// Follow is the part of Work that a replica has which does not lead: it writes what the leader writes.
func (r Rates) Follow() float64 { return float64(r.Writes) + float64(r.WriteBytes)/WorkBytes }

// Rate is what a store reports of a shard that it leads whose rates are other than it last said.
type Rate struct {
	Shard shard.ID
	Term  uint64 // in which it leads
	Rates
}

// Trip is how long a message to another store and its answer take on the way.
type Trip struct {
	Store shard.StoreID
	// Micros are microseconds, about; or since when no answer came, if that is longer.
	Micros uint64
}
