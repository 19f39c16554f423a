package client

import (
	"context"
	"errors"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// partGets bounds the keys of one part of a GetMany.
const partGets = 1024

// Found is what GetMany found for one key.
type Found struct {
	Value []byte
	Found bool // false: the key does not exist
}

// GetMany reads keys, of all shards at once. Results are in the order of the keys. If some could not be read the error
// is a *BatchError, and the others' results are good. The keys of one shard are read at one moment, at most 1,024 of
// them; two shards are read at different ones. Values are the caller's; one that is kept keeps up to 64 KiB of others.
func (db *DB) GetMany(ctx context.Context, keys [][]byte, opts ...ReadOption) ([]Found, error) {
	out := make([]Found, len(keys))
	errs := make([]error, len(keys))
	items := make([]item, 0, len(keys))
	for i, k := range keys {
		if errs[i] = checkKey("get many", k); errs[i] == nil {
			items = append(items, item{pos: i, op: raw.Op{Key: shard.RawKey(k)}})
		}
	}
	g := getMany{batch: batch{db: db, ctx: ctx, what: "get many", errs: errs, maxOps: partGets}, follower: readOptionsOf(opts).follower, out: out}
	g.do = func(e *effort, part []item) error { return e.getPart(part, g.follower, out) }
	g.run(sortItems(items))
	return out, batchError("get many", errs)
}

// getMany is a GetMany under way.
type getMany struct {
	batch
	follower bool
	out      []Found
	answer   raw.Answer // its room is used for one after the other
}

// run sends the first attempts of all parts together, and goes on with those that are not done then, each for itself.
func (g *getMany) run(items []item) {
	if len(items) == 0 {
		return
	}
	first := g.effort(items[0].op.Key, nil)
	shots := g.aim(&first, g.cut(items, nil))
	for some := range slices.Chunk(shots, maxVolley) {
		first.volley(some)
	}
	var values slab
	for i := range shots {
		values.left += len(shots[i].rep.Body)
	}
	late := shots[:0]
	for i := range shots {
		if s := shots[i]; !g.take(&s, &values) {
			late = append(late, s)
		}
	}
	parallel(g.db.env, len(late), func(i int) {
		s := &late[i]
		e := g.effort(s.part[0].op.Key, &first)
		if s.aimed() {
			e.attempted(s.req.Shard, s.to)
		}
		g.ended(&e, s.part, g.goOn(&e, s))
	})
}

// aim makes the first attempt of each part. One whose store is not known is aimed at nobody.
func (g *getMany) aim(first *effort, pieces []piece) []shot {
	shots := make([]shot, len(pieces))
	keys, bytes := 0, 0
	for i := range pieces {
		keys += len(pieces[i].items)
	}
	all := make([]shard.Key, 0, keys)
	for i := range pieces {
		from := len(all)
		for j := range pieces[i].items {
			all = append(all, pieces[i].items[j].op.Key)
			bytes += len(all[len(all)-1]) + queryKeyBytes
		}
		shots[i] = shot{part: pieces[i].items, route: pieces[i].route, keys: all[from:]}
	}
	room := make([]byte, 0, bytes+len(pieces)*queryBytes)
	for i := range shots {
		room = first.aim(&shots[i], g.follower, room)
	}
	return shots
}

// take takes what the answer to a part's first attempt holds, and reports whether that was all.
func (g *getMany) take(s *shot, values *slab) (done bool) {
	if !s.aimed() || s.rep.Err != nil || g.answer.Decode(s.rep.Body) != nil {
		return false
	}
	n := takeRows(g.answer.Rows, s.part, g.out, values)
	s.part = s.part[n:]
	return len(s.part) == 0
}

// goOn reads what the first attempt of a part left.
func (g *getMany) goOn(e *effort, s *shot) error {
	follower := g.follower
	if s.aimed() && s.rep.Err != nil {
		if err := e.refused(&s.route, s.to, s.rep.Err, &follower); err != nil {
			return err
		}
	}
	return e.getPart(s.part, follower, g.out)
}

// getPart reads keys of one shard, in as many requests as their values need.
func (e *effort) getPart(part []item, follower bool, out []Found) error {
	for len(part) > 0 {
		q := raw.Query{Kind: raw.Get}
		for i := range part {
			q.Keys = append(q.Keys, part[i].op.Key)
		}
		t := target{first: part[0].op.Key, last: part[len(part)-1].op.Key}
		body, err := e.read(&t, q.Append(nil), follower)
		if err != nil {
			return err
		}
		a, err := e.answer(body)
		if err != nil {
			return err
		}
		n := takeRows(a.Rows, part, out, &slab{left: len(body)})
		if n == 0 {
			return e.fail(ErrInvalid, errors.New("the store answered with another number of rows than was asked for"))
		}
		part = part[n:]
	}
	return nil
}

// takeRows takes the rows of an answer, those of the first of part, and returns how many there are: zero if that cannot be.
func takeRows(rows []raw.Row, part []item, out []Found, values *slab) int {
	if len(rows) > len(part) {
		return 0
	}
	for i := range rows {
		row := &rows[i]
		out[part[i].pos] = Found{Found: row.Found}
		if row.Found {
			out[part[i].pos].Value = values.copy(row.Value)
		}
	}
	return len(rows)
}
