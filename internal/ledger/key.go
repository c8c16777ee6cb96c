package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/riposte-sec/riposte/internal/fault"
)

// originPrefix comes before the random id of a ledger that wasn't given a name.
const originPrefix = "riposte.dev/ledger/"

// Key signs a ledger's checkpoints. Nodes that append to one ledger share one key.
type Key struct {
	signer   note.Signer
	verifier string
}

// GenerateKey makes an ed25519 key for a ledger called origin, a schema-less URL without spaces or plus
// signs; with "" it gets a random name. The text is secret and what ParseKey reads.
func GenerateKey(origin string) (text string, err error) {
	if origin == "" {
		id := make([]byte, 8)
		if _, err := rand.Read(id); err != nil {
			return "", fmt.Errorf("name ledger: %w", err)
		}
		origin = originPrefix + hex.EncodeToString(id)
	}
	text, _, err = note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return "", fault.New(fault.Invalid, "generate ledger key for %q: %w", origin, err)
	}
	return text, nil
}

// ParseKey reads what GenerateKey wrote.
func ParseKey(text string) (*Key, error) {
	text = strings.TrimSpace(text)
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "not a ledger key: %w", err)
	}
	public, err := publicOf(text)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewEd25519VerifierKey(signer.Name(), public)
	if err != nil {
		return nil, fault.New(fault.Invalid, "not a ledger key: %w", err)
	}
	return &Key{signer: signer, verifier: verifier}, nil
}

// publicOf takes the public half from PRIVATE+KEY+<name>+<hash>+<base64 of algorithm and seed>.
func publicOf(text string) (ed25519.PublicKey, error) {
	fields := strings.SplitN(text, "+", 5)
	seed, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(fields) != 5 || len(seed) != 1+ed25519.SeedSize {
		return nil, fault.New(fault.Invalid, "not an ed25519 ledger key")
	}
	public, ok := ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("ed25519 has no public key")
	}
	return public, nil
}

// LoadOrCreateKey reads the key at path; where there is none, it makes one with a random origin, readable
// by the owner alone. Processes that start together agree on one key.
func LoadOrCreateKey(path string) (*Key, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator's path
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKey(path); err != nil {
			return nil, fmt.Errorf("create ledger key %s: %w", path, err)
		}
		text, err = os.ReadFile(path) //nolint:gosec // the operator's path
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger key: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("ledger key %s: %w", path, err)
	}
	return key, nil
}

// createKey writes a new key beside path and links it there, which fails if another was faster.
func createKey(path string) (err error) {
	text, err := GenerateKey("")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".ledger-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	_, writeErr := temp.WriteString(text + "\n")
	if err := errors.Join(writeErr, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Origin is the ledger's name.
func (k *Key) Origin() string { return k.signer.Name() }

// Verifier is the public key, as VerifyOptions takes it.
func (k *Key) Verifier() string { return k.verifier }
