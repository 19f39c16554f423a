package client

// slab copies values into memory that several of them share, 64 KiB at most.
type slab struct {
	free []byte
	left int // bytes that are still to be copied, about
}

const slabBytes = 64 << 10

// copy returns a copy of v, never nil.
func (s *slab) copy(v []byte) []byte {
	if s.free == nil || len(v) > len(s.free) {
		s.free = make([]byte, max(len(v), min(s.left, slabBytes)))
	}
	out := s.free[:len(v):len(v)]
	s.free = s.free[copy(out, v):]
	s.left -= len(v)
	return out
}
