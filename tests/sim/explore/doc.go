// Package explore visits every order in which the few things of a tiny scenario can happen, up to a bound: stateless
// model checking of the code that ships (packages group and apply), in the manner of VeriSoft and CHESS. Where a world of
// package sim meets one order of many things, this meets all orders of a few.
//
// A scenario is some replicas of one shard whose group has a leader, and a budget of what may happen to them: candidacies,
// crashes, lost messages, proposals, reads, transfers, splits, questions for an outcome, time that passes. Between those,
// messages are delivered and disks finish, in the order in which they were asked to, but for a bounded number of
// deviations (Emmi, Qadeer, Rakamarić, "Delay-Bounded Scheduling", 2011): an event is put off until nothing else is left,
// or comes before that after all, or is lost, or something of the budget happens although not all is quiet. The bound
// grows by one until the time is over.
//
// A state that was visited before, with as many deviations left, is not visited again. What a state is made of is read by
// reflection, every field of groups and of raft, so that no two different ones are taken for the same but by a collision
// of 64-bit hashes.
//
// The shell around the groups (what is synced, sent, applied, and when) is a small twin of raftstore's; see replica.
package explore
