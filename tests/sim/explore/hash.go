package explore

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/group"
)

// hasher is FNV-1a over words.
type hasher struct {
	sum  uint64
	seen []uintptr // pointers on the way down: raft refers back to itself
}

func newHasher() *hasher { return &hasher{sum: 14695981039346656037} }

func (h *hasher) number(vs ...uint64) {
	for _, v := range vs {
		h.sum = (h.sum ^ v&0xffffffff) * 1099511628211
		h.sum = (h.sum ^ v>>32) * 1099511628211
		h.sum ^= h.sum >> 29
	}
}

func (h *hasher) bytes(b []byte) {
	h.number(uint64(len(b)))
	for _, c := range b {
		h.sum = (h.sum ^ uint64(c)) * 1099511628211
	}
}

func (h *hasher) entries(es []*pb.Entry) {
	h.number(uint64(len(es)))
	for _, e := range es {
		h.number(e.GetIndex(), e.GetTerm(), uint64(e.GetType()))
		h.bytes(e.GetData())
	}
}

// each hashes a map in the order of its keys.
func (h *hasher) each(m map[uint64]uint64) { h.walk(reflect.ValueOf(m)) }

// value hashes all fields of a plain value.
func (h *hasher) value(v any) { h.walk(reflect.ValueOf(v)) }

// walkGroup hashes every field of a group and of the raft in it.
func (h *hasher) walkGroup(g *group.Group) { h.walk(reflect.ValueOf(g)) }

// skipped are types that hold no state: interfaces to the log on disk, which is hashed apart, and to loggers, functions,
// the settings, which all groups share, and what protobuf keeps beside a message.
func skipped(t reflect.Type) bool {
	return t == reflect.TypeFor[*group.Settings]() || t.Kind() == reflect.Func || t.Kind() == reflect.Chan || strings.HasPrefix(t.PkgPath(), "google.golang.org/protobuf") && t.Kind() == reflect.Struct ||
		t.Kind() == reflect.Interface && (t.Name() == "Storage" || t.Name() == "Logger" || t.Name() == "TraceLogger")
}

// walk hashes a value and everything that it refers to. It calls no method of it, so that fields that are not exported
// are no exception.
func (h *hasher) walk(v reflect.Value) {
	if !v.IsValid() {
		h.number(0)
		return
	}
	if skipped(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		h.number(boolean(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		h.number(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		h.number(v.Uint())
	case reflect.String:
		h.bytes([]byte(v.String()))
	case reflect.Interface:
		h.walk(v.Elem())
	case reflect.Pointer:
		h.pointer(v)
	case reflect.Slice, reflect.Array:
		h.list(v)
	case reflect.Struct:
		for i := range v.NumField() {
			h.walk(v.Field(i))
		}
	case reflect.Map:
		h.dict(v)
	default:
		panic("explore: a group holds a " + v.Type().String())
	}
}

func (h *hasher) pointer(v reflect.Value) {
	if v.IsNil() {
		h.number(0)
		return
	}
	if slices.Contains(h.seen, v.Pointer()) {
		h.number(2)
		return
	}
	h.seen = append(h.seen, v.Pointer())
	h.number(1)
	h.walk(v.Elem())
	h.seen = h.seen[:len(h.seen)-1]
}

func (h *hasher) list(v reflect.Value) {
	h.number(uint64(v.Len()))
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		h.bytes(v.Bytes())
		return
	}
	for i := range v.Len() {
		h.walk(v.Index(i))
	}
}

// dict hashes a map in the order of the hashes of its keys.
func (h *hasher) dict(v reflect.Value) {
	type pair struct{ k, v uint64 }
	var all []pair
	for it := v.MapRange(); it.Next(); {
		k, e := hasher{sum: 1, seen: h.seen}, hasher{sum: 1, seen: h.seen}
		k.walk(it.Key())
		e.walk(it.Value())
		all = append(all, pair{k.sum, e.sum})
	}
	slices.SortFunc(all, func(a, b pair) int { return cmp.Compare(a.k, b.k) })
	h.number(uint64(len(all)))
	for _, p := range all {
		h.number(p.k, p.v)
	}
}
