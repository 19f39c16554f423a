package main

import (
	"net"
	"os"
	"strings"
)

// notify tells the service manager how the node is (sd_notify(3)): a datagram to the socket that it named. Without one,
// which is everywhere but under systemd, it does nothing; a manager that does not listen is not worth an error.
func notify(lines ...string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:] // an abstract one
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(strings.Join(lines, "\n")))
}
