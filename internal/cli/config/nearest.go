package config

import "strings"

// Nearest is the known key that takes the fewest edits to get to from key. A key inside tables of a file is compared by
// its last part as well, because sections are the commonest mistake. The first of equals wins, so it is deterministic.
func Nearest(key string, known []string) string {
	key = strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	forms := []string{key}
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		forms = append(forms, key[i+1:])
	}
	best, bestEdits := "", -1
	for _, k := range known {
		for _, f := range forms {
			if e := edits(f, k); bestEdits < 0 || e < bestEdits {
				best, bestEdits = k, e
			}
		}
	}
	return best
}

// edits is how many bytes must be inserted, deleted, replaced or swapped with their neighbour to make b out of a
// (optimal string alignment).
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
