package call

// Completer takes the reply to an Ask. Complete is called exactly once for each, from any goroutine, perhaps before
// the call that took the Ask returns; it must not block. It keeps the reply's parts at most, not rep.
type Completer interface {
	Complete(id uint64, rep *Reply)
}

// Roomy is a Completer that knows whether one more answer to a read would be in vain, because the client does not take
// those that it has.
type Roomy interface {
	Completer
	Room() bool
}

// Ask is one request on its way to a store's replica, and who waits for the reply.
type Ask struct {
	ID  uint64 // the Completer's own number for it
	Req *Request
	To  Completer
}
