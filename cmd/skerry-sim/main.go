package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/skerrydb/skerry/tests/sim"
)

func main() {
	seed, _ := strconv.ParseUint(os.Args[1], 10, 64)
	o := sim.Options{Seed: seed}
	if len(os.Args) > 2 {
		o.Trace = os.Stdout
		o.Steps = len(os.Args) > 3
	}
	r := sim.Run(o)
	fmt.Println(r.Knobs)
	fmt.Printf("%x sim %s real %s steps %d ops %d amb %d ref %d msgs %d faults %v err %v\n", r.Fingerprint, r.Simulated, r.Elapsed, r.Steps, r.Operations, r.Ambiguous, r.Refused, r.Messages, r.Faults, r.Err)
}
