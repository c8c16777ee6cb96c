package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/store"
)

func (r *root) ledger() *cobra.Command {
	c := &cobra.Command{Use: "ledger", Short: "Show, export and verify the record of all that was done"}
	c.AddCommand(r.ledgerShow(), r.ledgerExport(), r.ledgerVerify(), r.ledgerCheckpoint())
	return c
}

func (r *root) ledgerShow() *cobra.Command {
	var follow bool
	query := url.Values{}
	c := r.asking("show", "Show entries in their order", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		copyFlags(c, query, "from", "incident", "run", "kind", "limit")
		for {
			var page store.Page[ledger.Entry]
			if err := server.Get(c.Context(), "/v1/ledger", query, &page); err != nil {
				return err
			}
			if err := r.entries(page.Items); err != nil {
				return err
			}
			if len(page.Items) > 0 {
				query.Set("from", strconv.FormatInt(page.Items[len(page.Items)-1].Seq+1, 10))
			}
			if !follow {
				return nil
			}
			query.Set("wait", "20s")
		}
	})
	c.Flags().Int64("from", 0, "the first entry's number")
	c.Flags().String("incident", "", "about this incident")
	c.Flags().String("run", "", "about this run")
	c.Flags().String("kind", "", "of this kind, such as action.ended")
	c.Flags().Int("limit", 100, "how many at once")
	c.Flags().BoolVar(&follow, "follow", false, "wait for new entries and show them as they come")
	return c
}

// entries writes one a line: with --json as JSON lines, for a stream has no end.
func (r *root) entries(all []ledger.Entry) error {
	for _, e := range all {
		if r.json {
			text, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("write entry: %w", err)
			}
			fmt.Fprintf(r.Out, "%s\n", text)
			continue
		}
		r.line("%6d  %s  %-20s %-12s %s %s", e.Seq, when(e.Time), e.Kind, e.Actor, e.Step, brief(string(e.Body)))
	}
	return nil
}

func (r *root) ledgerExport() *cobra.Command {
	var out string
	c := r.asking("export", "Export the whole ledger for verification offline", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		if out == "-" {
			return server.Copy(c.Context(), "/v1/ledger/export", r.Out)
		}
		file, err := os.OpenFile(filepath.Clean(out), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fault.Wrap(fault.Invalid, fmt.Errorf("export: %w", err))
		}
		buffered := bufio.NewWriter(file)
		err = errors.Join(server.Copy(c.Context(), "/v1/ledger/export", buffered), buffered.Flush(), file.Sync(), file.Close())
		if err != nil {
			return err
		}
		return r.show(map[string]string{"file": out}, func() { r.line("%s is written; verify it by: riposte ledger verify %s", out, out) })
	})
	c.Flags().StringVarP(&out, "out", "o", "riposte-ledger.jsonl", "file to write; - is standard output")
	return c
}

func (r *root) ledgerVerify() *cobra.Command {
	var verifier, saved string
	c := &cobra.Command{
		Use: "verify [EXPORT]", Short: "Verify an export offline, or the ledger of the server in its place", Args: cobra.MaximumNArgs(1),
		Long: "Finds a changed byte, a deleted or added entry and a reordered pair by the hashes and the signed head. A cut tail\n" +
			"shows against a checkpoint that was kept elsewhere (--checkpoint; riposte ledger checkpoint writes one), a ledger\n" +
			"signed by somebody else against the public key (--key). Exits with 3 if the ledger was tampered with.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return r.verifyInPlace(c.Context())
			}
			options := ledger.VerifyOptions{Verifier: verifier}
			if saved != "" {
				text, err := os.ReadFile(filepath.Clean(saved))
				if err != nil {
					return fault.Wrap(fault.Invalid, fmt.Errorf("read checkpoint: %w", err))
				}
				options.Saved = text
			}
			return r.verifyExport(args[0], options)
		},
	}
	c.Flags().StringVar(&verifier, "key", "", "public key that must have signed; the export's own if not given")
	c.Flags().StringVar(&saved, "checkpoint", "", "file of an older checkpoint that was kept elsewhere")
	return c
}

func (r *root) verifyExport(path string, options ledger.VerifyOptions) error {
	from := r.In
	if path != "-" {
		file, err := os.Open(filepath.Clean(path))
		if err != nil {
			return fault.Wrap(fault.NotFound, fmt.Errorf("read export: %w", err))
		}
		defer func() { _ = file.Close() }() // it was only read
		from = file
	}
	report, err := ledger.Verify(from, options)
	verified := api.Verified{OK: err == nil, Report: report}
	if tampered, ok := errors.AsType[*ledger.TamperedError](err); ok {
		verified.Problem = tampered.Error()
		err = nil
	}
	if err != nil {
		return err
	}
	return r.verified(verified)
}

func (r *root) verifyInPlace(ctx context.Context) error {
	server, err := r.client()
	if err != nil {
		return err
	}
	var v api.Verified
	if err := server.Get(ctx, "/v1/ledger/verify", nil, &v); err != nil {
		return err
	}
	return r.verified(v)
}

func (r *root) verified(v api.Verified) error {
	err := r.show(v, func() {
		if !v.OK {
			r.line("TAMPERED WITH: %s", v.Problem)
			for _, p := range v.Report.Problems {
				if p.Seq < 0 {
					r.line("  %s", p.What)
					continue
				}
				r.line("  entry %d: %s", p.Seq, p.What)
			}
			return
		}
		r.line("the ledger is as it was written: %d entries, root %s", v.Report.Size, v.Report.Root)
		if !v.Report.Trusted {
			r.line("signed by %s (taken from the ledger itself; give --key to prove who signed)", v.Report.Verifier)
		}
	})
	if err == nil && !v.OK {
		return errFound
	}
	return err
}

func (r *root) ledgerCheckpoint() *cobra.Command {
	return r.asking("checkpoint", "Write the ledger's signed head, to keep elsewhere", "", cobra.NoArgs, func(c *cobra.Command, server *client.Client, _ []string) error {
		var head api.Checkpoint
		if err := server.Get(c.Context(), "/v1/ledger/checkpoint", nil, &head); err != nil {
			return err
		}
		return r.show(head, func() { fmt.Fprint(r.Out, head.Checkpoint) })
	})
}
