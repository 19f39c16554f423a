// Package world is the simulated world: one seed decides which task runs, how fast clocks go and what every draw of
// randomness gives. Production code runs in it unchanged, by way of env.Env.
//
// Exactly one task of ours runs at a time. A task is a goroutine that holds the baton; it gives the baton away where it
// blocks in env (Event.Wait, Sleep, Call) and when it ends. Whoever gives it away picks the next task, by the strategy,
// and moves simulated time forward when nobody can run. So there is no scheduler goroutine, and a switch costs one
// hand-over between goroutines.
//
// What runs beside the baton, natively, are the goroutines of libraries (Pebble's flusher, flushes and compactions).
// Nothing that a task observes may depend on when they run; package simfs sees to that for disks.
//
// A machine (Machine) is a set of tasks with a clock of its own: it can be paused, its clock can drift, and it can
// crash, which ends its tasks where they stand.
package world
