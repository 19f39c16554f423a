package history

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestModel: the checker finds each kind of lie, and believes what is open.
func TestModel(t *testing.T) {
	put := func(v string) Input { return Input{Kind: Put, Value: v} }
	got := func(a, b string) Output { return Output{OK: true, Values: state{a, b}} }
	op := func(in Input, call int64, out Output, ret int64) porcupine.Operation {
		return porcupine.Operation{Input: in, Call: call, Output: out, Return: ret}
	}
	for name, c := range map[string]struct {
		want    porcupine.CheckResult
		history []porcupine.Operation
	}{
		"read your write": {porcupine.Ok, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(Input{Kind: Get}, 2, got("1", ""), 3)}},
		"stale read": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(Input{Kind: Get}, 2, got("", ""), 3)}},
		"open write seen": {porcupine.Ok, []porcupine.Operation{
			op(put("1"), 0, Output{Ambiguous: true}, 99), op(Input{Kind: Get}, 2, got("", ""), 3), op(Input{Kind: Get}, 4, got("1", ""), 5)}},
		"open write seen, then not": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, Output{Ambiguous: true}, 99), op(Input{Kind: Get}, 2, got("1", ""), 3), op(Input{Kind: Get}, 4, got("", ""), 5)}},
		"write executed twice": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(put("2"), 2, got("", ""), 3), op(Input{Kind: Get}, 4, got("1", ""), 5)}},
		"half a batch": {porcupine.Illegal, []porcupine.Operation{
			op(Input{Kind: Batch, Value: "1"}, 0, got("", ""), 9), op(Input{Kind: Scan}, 2, got("1", ""), 3)}},
		"failed condition that held": {porcupine.Illegal, []porcupine.Operation{
			op(put("1"), 0, got("", ""), 1), op(Input{Kind: CAS, Want: "1", Value: "2"}, 2, Output{Values: state{"1", ""}}, 3)}},
	} {
		if res := porcupine.CheckOperationsTimeout(Model, c.history, time.Second); res != c.want {
			t.Errorf("%s: %s, want %s", name, res, c.want)
		}
	}
}
