package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skerrydb/skerry/tests/history"
)

// patience is how long the checker of histories may take for one group of keys, by the real clock. What it cannot decide
// is a failure of the world's making: its clients asked too much at once.
const patience = 20 * time.Second

// checkHistory asks of every group whether what the clients saw could have happened one operation after the other.
func (c *cluster) checkHistory() error {
	for _, ops := range history.Model.Partition(c.ops) {
		switch porcupine.CheckOperationsTimeout(history.Model, ops, patience) {
		case porcupine.Illegal:
			return fmt.Errorf("history: group %d is not linearizable:\n%s", ops[0].Input.(history.Input).Group, shortest(ops))
		case porcupine.Unknown:
			return fmt.Errorf("history: whether group %d is linearizable could not be decided (%d operations)", ops[0].Input.(history.Input).Group, len(ops))
		}
	}
	return nil
}

// shortest describes the end of the shortest beginning of a history that is not linearizable.
func shortest(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	lo, hi := 1, len(ops)
	for lo < hi {
		mid := (lo + hi) / 2
		if porcupine.CheckOperationsTimeout(history.Model, opened(ops[:mid]), patience) == porcupine.Illegal {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	var b strings.Builder
	for _, op := range ops[max(0, lo-14):lo] {
		end := fmt.Sprint(op.Return)
		if op.Return == math.MaxInt64 {
			end = "open"
		}
		fmt.Fprintf(&b, "  %d to %s: c%d %s\n", op.Call, end, op.ClientId, history.Model.DescribeOperation(op.Input, op.Output))
	}
	return b.String()
}

// opened makes a beginning of a history a history: what ends after its last beginning is open.
func opened(ops []porcupine.Operation) []porcupine.Operation { return slices.Clone(ops) }
