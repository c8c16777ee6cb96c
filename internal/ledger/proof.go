package ledger

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that one entry is in a ledger, without the other entries.
type Proof struct {
	Entry      json.RawMessage `json:"entry"` // canonical
	Hashes     []string        `json:"hashes"`
	Checkpoint string          `json:"checkpoint"` // signed
}

// Prove makes the proof of the entry seq, whose canonical form is data, under a signed checkpoint.
func Prove(ctx context.Context, in Hashes, seq int64, data, signed []byte, verifier string) (Proof, error) {
	checkpoint, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		return Proof{}, err
	}
	if seq < 0 || seq >= checkpoint.Size {
		return Proof{}, fmt.Errorf("entry %d is not among the %d entries of the checkpoint", seq, checkpoint.Size)
	}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) { return in.ReadHashes(ctx, indexes) })
	path, err := tlog.ProveRecord(checkpoint.Size, seq, reader)
	if err != nil {
		return Proof{}, fmt.Errorf("prove entry %d: %w", seq, err)
	}
	proof := Proof{Entry: data, Checkpoint: string(signed), Hashes: make([]string, 0, len(path))}
	for _, hash := range path {
		proof.Hashes = append(proof.Hashes, base64.StdEncoding.EncodeToString(hash[:]))
	}
	return proof, nil
}

// CheckProof checks a proof offline against a verifier key and gives the entry that it proves.
func CheckProof(p Proof, verifier string) (Entry, error) {
	checkpoint, err := OpenCheckpoint([]byte(p.Checkpoint), verifier)
	if err != nil {
		return Entry{}, err
	}
	entry, err := ParseEntry(p.Entry)
	if err != nil {
		return Entry{}, err
	}
	if entry.Seq < 0 || entry.Seq >= checkpoint.Size {
		return Entry{}, errors.New("the entry is not among those of the checkpoint")
	}
	path := make(tlog.RecordProof, 0, len(p.Hashes))
	for _, text := range p.Hashes {
		hash, err := parseHash(text)
		if err != nil {
			return Entry{}, err
		}
		path = append(path, hash)
	}
	if err := tlog.CheckRecord(path, checkpoint.Size, checkpoint.Root, entry.Seq, tlog.RecordHash(p.Entry)); err != nil {
		return Entry{}, fmt.Errorf("entry %d is not in the ledger: %w", entry.Seq, err)
	}
	return entry, nil
}
