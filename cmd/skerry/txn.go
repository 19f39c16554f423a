package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) txnCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "txn",
		Short: "run a transaction, line by line",
		Long: `Txn reads lines from standard input and runs them in one transaction:

  get KEY            print the value
  lock KEY           lock the key, wait for others, and print its newest value
  put KEY VALUE      set the key to the rest of the line
  del KEY            remove it
  add KEY N          add to a counter of 8 bytes
  scan PREFIX        print keys and values
  commit             commit, and end
  rollback           give up, and end

Words are separated by one space, and keys written as everywhere, \x20 for a space. The end of the input without commit gives
the transaction up. Errors end a script; a conflict has the exit code of other errors, and nothing was written.`,
		Example: `  printf 'put a 1\nput b 2\ncommit\n' | skerry txn`,
		Args:    cobra.NoArgs,
	}
	var form byteForm
	form.flag(cmd)
	pessimistic := cmd.Flags().Bool("pessimistic", false, "lock every key when it is read or written")
	serializable := cmd.Flags().Bool("serializable", false, "validate what was read when it commits")
	trace := traceFlag(cmd)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var opts []client.TxnOption
		if *pessimistic {
			opts = append(opts, client.Pessimistic())
		}
		if *serializable {
			opts = append(opts, client.Serializable())
		}
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			return a.traced(ctx, *trace, output.Table, func(ctx context.Context) error { return a.runTxn(ctx, s, &form, opts) })
		})
	}
	return cmd
}

// runTxn runs the lines of the input in one transaction.
func (a *app) runTxn(ctx context.Context, s *session, form *byteForm, opts []client.TxnOption) error {
	tx, err := s.Begin(ctx, opts...)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	x := txnScript{app: a, tx: tx, form: form}
	in := bufio.NewScanner(a.in)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		over, err := x.line(in.Text())
		if over || err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.err, "rolled back: the input ended without commit")
	return err
}

// txnScript runs the lines of a transaction.
type txnScript struct {
	app  *app
	tx   *client.Txn
	form *byteForm
}

// txnWords is how many arguments each word takes.
var txnWords = map[string]int{"get": 1, "lock": 1, "put": 2, "del": 1, "add": 2, "scan": 1, "commit": 0, "rollback": 0}

func (x *txnScript) line(text string) (over bool, err error) {
	f := strings.Fields(text)
	if len(f) > 2 && f[0] == "put" {
		f = strings.SplitN(strings.TrimSpace(text), " ", 3) // a value may have spaces
	}
	if len(f) == 0 || strings.HasPrefix(f[0], "#") {
		return false, nil
	}
	n, ok := txnWords[f[0]]
	if !ok || n != len(f)-1 {
		return false, usagef("%q is no line of a transaction; see `skerry txn --help`", text)
	}
	switch f[0] {
	case "commit":
		if err := x.tx.Commit(); err != nil {
			return true, err
		}
		_, err = fmt.Fprintf(x.app.err, "committed at %d\n", x.tx.CommitTS())
		return true, err
	case "rollback":
		return true, x.tx.Rollback()
	}
	key, err := x.form.key(f[1])
	if err != nil {
		return false, err
	}
	return false, x.do(f, key)
}

func (x *txnScript) do(f []string, key []byte) error {
	switch f[0] {
	case "get":
		return x.print(x.tx.Get(key))
	case "lock":
		return x.print(x.tx.GetForUpdate(key))
	case "put":
		value, err := x.form.value(f[2])
		if err != nil {
			return err
		}
		return x.tx.Put(key, value)
	case "del":
		return x.tx.Delete(key)
	case "add":
		n, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return usagef("%q is no number; write a whole one, such as 1 or -1", f[2])
		}
		return x.tx.Add(key, n)
	}
	for kv, err := range x.tx.Scan(client.Prefix(key)) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(x.app.out, "%s\t%s\n", x.form.show(kv.Key), x.form.show(kv.Value)); err != nil {
			return err
		}
	}
	return nil
}

func (x *txnScript) print(value []byte, err error) error {
	if errors.Is(err, client.ErrNotFound) {
		_, err = fmt.Fprintln(x.app.out, "(none)")
		return err
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(x.app.out, x.form.show(value))
	return err
}
