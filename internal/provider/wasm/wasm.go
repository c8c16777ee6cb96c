// Package wasm runs WebAssembly functions of the user's own in a sandbox: JSON goes in, JSON comes out, and there is
// nothing else that they could reach.
package wasm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// Config says which modules there are.
type Config struct {
	// Modules is a folder: enrich.wasm in it is the module enrich.
	Modules string `yaml:"modules"`
	// Pins are the SHA-256 of modules by name. A module that isn't what its pin says is not run.
	Pins map[string]string `yaml:"pins"`
	// Timeout bounds one run; 5 s if zero.
	Timeout time.Duration `yaml:"timeout"`
	// Memory bounds what a module may use, in MiB; 64 if zero.
	Memory int `yaml:"memory"`
}

const (
	defaultTimeout, longestTimeout = 5 * time.Second, 30 * time.Second
	defaultMemory, largestMemory   = 64, 1024 // MiB
	// largestModule bounds a module's file, in bytes.
	largestModule = 32 << 20
	suffix        = ".wasm"
)

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// WASM runs the modules of a folder.
type WASM struct {
	modules map[string]*module
	sandbox *sandbox
}

// New looks which modules there are. It reads none: they are compiled when they are first run. Errors are Invalid and
// name the key.
func New(c Config) (*WASM, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	var errs []error
	if c.Timeout < 0 || c.Timeout > longestTimeout {
		errs = append(errs, fmt.Errorf("wasm.timeout: %s is not between 0 and %s", c.Timeout, longestTimeout))
	}
	if c.Memory < 0 || c.Memory > largestMemory {
		errs = append(errs, fmt.Errorf("wasm.memory: %d is not between 1 and %d, in MiB", c.Memory, largestMemory))
	}
	w := &WASM{modules: map[string]*module{}, sandbox: &sandbox{timeout: c.Timeout, memory: c.Memory}}
	if c.Modules != "" {
		found, err := list(c.Modules)
		if err != nil {
			errs = append(errs, fmt.Errorf("wasm.modules: %w", err))
		}
		w.modules = found
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pins)) {
		sum, err := hex.DecodeString(strings.ToLower(c.Pins[name]))
		of, there := w.modules[name]
		switch {
		case err != nil || len(sum) != 32:
			errs = append(errs, fmt.Errorf("wasm.pins.%s: it is no SHA-256, which has 64 hexadecimal digits", name))
		case !there:
			errs = append(errs, fmt.Errorf("wasm.pins.%s: there is no module of that name in wasm.modules", name))
		default:
			of.pin = hex.EncodeToString(sum)
		}
	}
	return w, fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// list gives the modules in a folder by name.
func list(folder string) (map[string]*module, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list the folder: %w", err)
	}
	found := map[string]*module{}
	for _, entry := range entries {
		name, is := strings.CutSuffix(entry.Name(), suffix)
		if !is || entry.Type()&fs.ModeDir != 0 {
			continue
		}
		if !nameForm.MatchString(name) {
			return nil, fault.New(fault.Invalid, "%q: a module's name has small letters, digits, - and _", entry.Name())
		}
		found[name] = &module{name: name, path: filepath.Join(folder, entry.Name())}
	}
	return found, nil
}

// names are the modules that playbooks can name.
func (w *WASM) names() []string { return slices.Sorted(maps.Keys(w.modules)) }

// Actions are what the package adds to an installation: none where there is no module.
func (w *WASM) Actions() []action.Action {
	if len(w.modules) == 0 {
		return nil
	}
	return []action.Action{&run{w}}
}
