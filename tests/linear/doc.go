// Package linear asks whether what clients saw could have happened one operation after the other, while a nemesis
// crashes stores, cuts links, hangs disks and moves leaders of an in-process cluster.
package linear
