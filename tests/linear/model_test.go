package linear

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestModel: the checker finds each kind of lie, and believes what is open.
func TestModel(t *testing.T) {
	put := func(v string) input { return input{kind: opPut, value: v} }
	got := func(a, b string) output { return output{ok: true, values: state{a, b}} }
	op := func(in input, call int64, out output, ret int64) porcupine.Operation {
		return porcupine.Operation{Input: in, Call: call, Output: out, Return: ret}
	}
	for name, c := range map[string]struct {
		want    porcupine.CheckResult
		history []porcupine.Operation
	}{
		"read your write": {porcupine.Ok, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(input{kind: opGet}, 2, got("1", ""), 3)}},
		"stale read": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(input{kind: opGet}, 2, got("", ""), 3)}},
		"open write seen": {porcupine.Ok, []porcupine.Operation{
			op(put("1"), 0, output{ambiguous: true}, 99), op(input{kind: opGet}, 2, got("", ""), 3), op(input{kind: opGet}, 4, got("1", ""), 5)}},
		"open write seen, then not": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, output{ambiguous: true}, 99), op(input{kind: opGet}, 2, got("1", ""), 3), op(input{kind: opGet}, 4, got("", ""), 5)}},
		"write executed twice": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(put("2"), 2, got("", ""), 3), op(input{kind: opGet}, 4, got("1", ""), 5)}},
		"half a batch": {porcupine.Illegal, []porcupine.Operation{
			op(input{kind: opBatch, value: "1"}, 0, got("", ""), 9), op(input{kind: opScan}, 2, got("1", ""), 3)}},
		"failed condition that held": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(input{kind: opCAS, want: "1", value: "2"}, 2, output{values: state{"1", ""}}, 3)}},
	} {
		if res := porcupine.CheckOperationsTimeout(model, c.history, time.Second); res != c.want {
			t.Errorf("%s: %s, want %s", name, res, c.want)
		}
	}
}
