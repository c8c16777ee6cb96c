// Package cli is the command line: it serves, and it asks a server that runs.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/api/client"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/config"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/secret"
)

// Streams are where the command line reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// The exit codes: done, failed, used wrongly, and checked with mistakes found.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitFound  = 3
)

// errFound says that a check did its work and found mistakes, which it has told already.
var errFound = errors.New("mistakes were found")

// root is what all commands share.
type root struct {
	Streams
	version   string
	json      bool
	url       string
	tokenFile string
	config    string
}

// Main runs the command line and gives the exit code.
func Main(ctx context.Context, args []string, s Streams, version string) int {
	r := &root{Streams: s, version: version}
	command := r.command() //nolint:contextcheck // cobra hands it on
	command.SetArgs(args)
	err := command.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errFound):
		return exitFound
	case errors.Is(err, errLacking):
		return exitFailed
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitDone
	}
	fmt.Fprintln(s.Err, "riposte:", clean(err.Error()))
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

func (r *root) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "riposte",
		Short: "Detect security events in clouds and respond to them, safely",
		Long: "Riposte takes in security events, groups them into incidents, runs playbooks that contain the threat,\n" +
			"asks a person where it must, can undo what it did, and keeps a record that an auditor can verify.\n\n" +
			"  riposte demo     shows all of it on an emulated account (start it by make demo)\n" +
			"  riposte serve    runs it\n\n" +
			"All other commands ask a server that runs: --url says where it is, and --token-file or RIPOSTE_TOKEN who you are.\n" +
			"On the server's own machine the local administrator's token is found in riposte-data/.",
		SilenceUsage: true, SilenceErrors: true, Version: r.version,
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w for %s", err, errUsage, c.CommandPath())
	})
	flags := c.PersistentFlags()
	flags.BoolVar(&r.json, "json", false, "write JSON, for programs")
	flags.StringVar(&r.url, "url", config.Env("RIPOSTE_URL", "http://"+app.DefaultListen), "the server's address (RIPOSTE_URL)")
	flags.StringVar(&r.tokenFile, "token-file", config.Env("RIPOSTE_TOKEN_FILE", ""), "file of your token (RIPOSTE_TOKEN_FILE; or RIPOSTE_TOKEN)")
	flags.StringVar(&r.config, "config", config.Env("RIPOSTE_CONFIG", ""), "configuration file; the defaults without it (RIPOSTE_CONFIG)")
	c.AddGroup(&cobra.Group{ID: "work", Title: "Investigate and decide:"}, &cobra.Group{ID: "rails", Title: "Guardrails:"},
		&cobra.Group{ID: "record", Title: "The record:"}, &cobra.Group{ID: "code", Title: "Detection as code:"},
		&cobra.Group{ID: "run", Title: "Run and configure:"})
	in := func(group string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = group
			c.AddCommand(command)
		}
	}
	in("run", r.serve(), r.lambda(), r.demo(), r.check(), r.permissions(), r.preflight(), r.accounts(), r.tokens(), r.openAPI(), r.versions())
	in("work", r.incidents(), r.findings(), r.runs(), r.approvals(), r.approve(), r.deny(), r.undo(), r.letters(), r.onCall(), r.status())
	in("code", r.test(), r.plan(), r.replay(), r.coverage(), r.rules(), r.playbooks())
	in("rails", r.freeze(), r.unfreeze(), r.freezes(), r.protect(), r.unprotect(), r.protections())
	in("record", r.ledger())
	c.SetIn(r.In)
	c.SetOut(r.Out) // completion's commands keep it
	c.SetErr(r.Err)
	c.InitDefaultCompletionCmd()
	c.InitDefaultHelpCmd()
	strict(c)
	return c
}

// client makes a client of the server, as whoever the token says.
func (r *root) client() (*client.Client, error) {
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	return client.New(r.url, token, &http.Client{Timeout: 2 * time.Minute})
}

// token is the one that is named, or else the local administrator's.
func (r *root) token() (secret.Secret, error) {
	if text := config.Env("RIPOSTE_TOKEN", ""); text != "" && r.tokenFile == "" {
		return secret.New(text), nil
	}
	path := r.tokenFile
	if path == "" {
		path = filepath.Join(app.Defaults().Data, app.TokenFile)
		if r.config != "" {
			if c, _, err := app.ReadConfig(r.config); err == nil {
				path = filepath.Join(c.Data, app.TokenFile)
			}
		}
		if _, err := os.Stat(path); err != nil {
			return secret.Secret{}, nil //nolint:nilerr // the server says what is missing
		}
	}
	token := secret.FromFile(path)
	return token, token.Resolve(".", nil)
}

func (r *root) serve() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "serve", Short: "Run Riposte", Args: cobra.NoArgs,
		Long: "Runs Riposte until it is interrupted. Without --config it starts on the defaults: an embedded store in\n" +
			"riposte-data/, the shipped rules and playbooks, no cloud. docs/configuration.md describes every key.",
		RunE: func(c *cobra.Command, _ []string) error {
			if check {
				return r.checked(nil)
			}
			settings, warnings, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			logger := r.logger(settings.Log)
			for _, w := range warnings {
				logger.WarnContext(c.Context(), "configuration", "warning", w)
			}
			riposte, err := app.New(c.Context(), settings, app.Options{Logger: logger, Version: r.version, Now: time.Now})
			if err != nil {
				return err
			}
			return riposte.Run(c.Context())
		},
	}
	c.Flags().BoolVar(&check, "check", false, "check configuration, rules and playbooks, and stop")
	return c
}

func (r *root) logger(c app.LogConfig) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(r.Err, options))
	}
	return slog.New(slog.NewTextHandler(r.Err, options))
}

func (r *root) versions() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return r.show(map[string]string{"version": r.version}, func() { fmt.Fprintln(r.Out, "riposte", r.version) })
		},
	}
}

// mistakes lists what is wrong, one a line.
func mistakes(err error) []string {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, one := range many.Unwrap() {
			all = append(all, mistakes(one)...)
		}
		return all
	}
	if found := document.Errors(err); len(found) > 0 {
		var all []string
		for _, one := range found {
			all = append(all, one.Error())
		}
		return all
	}
	if wrapped, ok := errors.AsType[*fault.Error](err); ok && wrapped.Message == "" && wrapped.Err != nil && wrapped.Hint == "" {
		return mistakes(wrapped.Err)
	}
	return strings.Split(err.Error(), "\n")
}
