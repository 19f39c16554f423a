// Command etcdserver is etcd's server, built from its module and started as its own binary would be.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
