package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) watchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [START [END]]",
		Short: "print what transactions change, as they commit",
		Long: `Watch prints every change that transactions make to the keys from START up to, but not including, END, or to those that begin
with --prefix, in the order of their commits: a line each, the commit's timestamp, put or del, the key, and the value. It
begins now, or after the timestamp --from, and goes on until it is interrupted, or, with --catch-up, until the present.

--list prints the keys that are there first, as list, and watches from that moment: nothing is missed and nothing comes twice.
When it ends, it says from which timestamp on to go on. A timestamp below the cluster's safe point is too old (see
` + "`skerry ctl gc`" + `): list again.

Keys of put, del and import are not transactional: they have no commits, and cannot be watched. See ` + "`skerry txn`" + `.`,
		Example: `  skerry watch --prefix user/ --list
  skerry watch --from 470740696116756484 --catch-up -o json`,
		Args: cobra.MaximumNArgs(2),
	}
	var form byteForm
	form.flag(cmd)
	prefix := cmd.Flags().String("prefix", "", "only keys that begin with this `key`")
	from := cmd.Flags().Uint64("from", 0, "begin after this `timestamp` (default now)")
	list := cmd.Flags().Bool("list", false, "print what is there first")
	catchUp := cmd.Flags().Bool("catch-up", false, "end at the present")
	previous := cmd.Flags().Bool("previous", false, "also print what the keys held before")
	progress := cmd.Flags().Bool("progress", false, "also print up to when everything was printed")
	format := outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := scanRange(args, *prefix, &form)
		if err != nil {
			return err
		}
		if *list && *from != 0 {
			return usagef("--list begins now; it and --from exclude each other, give one of them")
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			w := watching{app: a, form: &form, out: bufio.NewWriter(a.out), json: *format == output.JSON, progress: *progress, previous: *previous}
			w.enc = json.NewEncoder(w.out)
			w.enc.SetEscapeHTML(false)
			err := w.run(ctx, s, r, client.Timestamp(*from), *list, *catchUp)
			err = errors.Join(err, w.out.Flush())
			if w.at != 0 {
				_, _ = fmt.Fprintf(a.err, "go on with --from %d\n", w.at)
			}
			return err
		})
	}
	return cmd
}

// watching prints a watch.
type watching struct {
	app                      *app
	form                     *byteForm
	out                      *bufio.Writer
	enc                      *json.Encoder
	json, progress, previous bool
	at                       client.Timestamp // everything up to it is printed
}

func (w *watching) run(ctx context.Context, s *session, r client.Range, from client.Timestamp, list, catchUp bool) error {
	now, err := s.Timestamp(ctx)
	if err != nil {
		return err
	}
	if from == 0 {
		from = now
	}
	if list {
		for kv, err := range s.At(from).Scan(ctx, r) {
			if err != nil {
				return err
			}
			if err := w.print("list", from, kv.Key, kv.Value, client.Found{}); err != nil {
				return err
			}
		}
	}
	w.at = from
	if err := w.out.Flush(); err != nil || catchUp && from >= now {
		return err
	}
	var opts []client.WatchOption
	if w.previous {
		opts = append(opts, client.WithPrevious())
	}
	for ev, err := range s.Watch(ctx, r, from, opts...) {
		if err != nil {
			if ctx.Err() != nil {
				return nil // interrupted
			}
			return err
		}
		if err := w.event(&ev); err != nil || catchUp && w.at >= now {
			return err
		}
	}
	return nil
}

func (w *watching) event(ev *client.Event) error {
	switch {
	case ev.Progress == 0 && ev.Deleted:
		return w.print("del", ev.Commit, ev.Key, nil, ev.Before)
	case ev.Progress == 0:
		return w.print("put", ev.Commit, ev.Key, ev.Value, ev.Before)
	}
	w.at = ev.Progress
	if w.progress {
		if err := w.print("progress", ev.Progress, nil, nil, client.Found{}); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// watchedLine is a line of JSON.
type watchedLine struct {
	TS   uint64 `json:"ts"`
	What string `json:"what"`
	*pair
	Before *pair `json:"before,omitempty"` // without a key
}

func (w *watching) print(what string, ts client.Timestamp, key, value []byte, before client.Found) error {
	if w.json {
		l := watchedLine{TS: uint64(ts), What: what}
		if key != nil {
			p := makePair(key, value, what == "del")
			l.pair = &p
		}
		if before.Found {
			p := makePair(nil, before.Value, false)
			p.Key = nil
			l.Before = &p
		}
		return w.enc.Encode(l)
	}
	_, err := fmt.Fprintf(w.out, "%d\t%s", ts, what)
	if key != nil {
		_, err = fmt.Fprintf(w.out, "\t%s", w.form.show(key))
	}
	if key != nil && what != "del" {
		_, err = fmt.Fprintf(w.out, "\t%s", w.form.show(value))
	}
	if w.previous && before.Found {
		_, err = fmt.Fprintf(w.out, "\twas\t%s", w.form.show(before.Value))
	}
	if err != nil {
		return err
	}
	return w.out.WriteByte('\n')
}
