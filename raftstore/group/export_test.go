package group

import "encoding/binary"

// MendFrame makes every sum of a frame right, as far as its records can be told apart.
func MendFrame(b []byte) []byte {
	for i := 1; i+recordHeaderBytes <= len(b); {
		end := uint64(i) + recordHeaderBytes + uint64(binary.BigEndian.Uint32(b[i:]))
		if end > uint64(len(b)) {
			binary.BigEndian.PutUint32(b[i:], uint32(len(b)-i-recordHeaderBytes))
			end = uint64(len(b))
		}
		binary.BigEndian.PutUint32(b[i+4:], crc(b[i+recordHeaderBytes:end]))
		i = int(end)
	}
	return b
}
