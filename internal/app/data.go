package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/ledger"
)

// ledgerKey is the configured one, or one that is made once and kept in the data folder.
func ledgerKey(c Config) (*ledger.Key, error) {
	if c.Store.LedgerKey.IsZero() {
		return ledger.LoadOrCreateKey(filepath.Join(c.Data, "ledger.key"))
	}
	key, err := ledger.ParseKey(c.Store.LedgerKey.Reveal())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("store.ledger_key: %w", err))
	}
	return key, nil
}

// state is where a part keeps its state: the one PostgreSQL, or a file of its own.
func (a *App) state(file string) string {
	if !a.config.Store.URL.IsZero() {
		return a.config.Store.URL.Reveal()
	}
	return filepath.Join(a.config.Data, file)
}

// private makes a file of the embedded store before the part does that it is for, so that others on this
// machine can't read it even where they can read the data folder.
func (a *App) private(name string) error {
	if !a.config.Store.URL.IsZero() {
		return nil
	}
	file, err := os.OpenFile(a.state(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(file.Chmod(0o600), file.Close())
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("data: %w", err))
	}
	return nil
}

// TokenFile is where the local administrator's token is, in the data folder.
const TokenFile = "admin.token"

func (a *App) localToken() (hash string, err error) {
	a.token = filepath.Join(a.config.Data, TokenFile)
	kept, err := os.ReadFile(a.token)
	if err == nil {
		token := strings.TrimSpace(string(kept))
		if err := auth.CheckForm(token); err != nil {
			return "", fault.WithHint(fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", a.token, err)), "delete it to get a new one")
		}
		return auth.Hash(token), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read token: %w", err)
	}
	token, hash, err := auth.Generate()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(a.token, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write token: %w", err)
	}
	return hash, nil
}

// nodeName is the configured name, or one that is made once and kept in the data folder.
func nodeName(c Config) (string, error) {
	if c.Node != "" {
		return c.Node, nil
	}
	file := filepath.Join(c.Data, "node")
	kept, err := os.ReadFile(file) //nolint:gosec // in the data folder
	if err == nil && strings.TrimSpace(string(kept)) != "" {
		return strings.TrimSpace(string(kept)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read node's name: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	name := host + "-" + strings.ToLower(newID()[16:])
	if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write node's name: %w", err)
	}
	return name, nil
}
