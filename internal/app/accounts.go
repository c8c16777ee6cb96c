package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/health"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

// accountsFile is where the accounts are kept that were discovered last, in the data folder: a start while
// Organizations can't be asked goes on with them.
const accountsFile = "accounts.json"

// followOrganization discovers the accounts in which Riposte acts. Where that fails, those kept from before are
// in force; without any it is an error.
func (a *App) followOrganization(ctx context.Context) error {
	a.organization = a.cloud.Follow(a.options.Now, a.options.Logger)
	if a.organization == nil {
		return nil
	}
	a.board.Add(health.Part{Name: "accounts", Check: a.organization.Check, Note: a.organization.Note, Minor: true})
	file := filepath.Join(a.config.Data, accountsFile)
	kept, err := os.ReadFile(file) //nolint:gosec // in the data folder
	if err == nil {
		err = a.organization.Restore(kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.options.Logger.WarnContext(ctx, "the accounts kept from before can't be read", "file", file, "err", err.Error())
	}
	found, err := a.organization.Refresh(ctx)
	switch {
	case err == nil:
		a.keepAccounts(ctx, found)
	case a.organization.Known() == nil:
		return fmt.Errorf("aws.organization: discover accounts: %w", err)
	default:
		a.options.Logger.ErrorContext(ctx, "discover accounts; those kept from before are in force", "err", err.Error(),
			"accounts", len(a.organization.Known().In()))
	}
	return nil
}

// keepAccounts writes what was discovered for the next start.
func (a *App) keepAccounts(ctx context.Context, found *aws.Accounts) {
	text, err := found.Keep()
	if err == nil {
		err = replaceFile(filepath.Join(a.config.Data, accountsFile), text)
	}
	if err != nil {
		a.options.Logger.WarnContext(ctx, "keep the accounts for the next start", "err", err.Error())
	}
}

// replaceFile writes a file of this user's alone, all of it or nothing.
func replaceFile(path string, text []byte) error {
	made, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = made.Write(text)
	err = errors.Join(err, made.Close())
	if err == nil {
		err = os.Rename(made.Name(), path)
	}
	if err != nil {
		return fault.Wrap(fault.Transient, errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(made.Name())))
	}
	return nil
}

// followAccounts discovers again and again until ctx ends.
func (a *App) followAccounts(ctx context.Context) error {
	if a.organization == nil {
		return nil
	}
	return a.organization.Run(ctx, func(found *aws.Accounts) { a.keepAccounts(ctx, found) })
}
