// Package ledger proves what happened: an append-only log of records, hashed into a Merkle tree whose
// head is signed, that anybody can verify offline.
//
// The leaf data of the tree is the canonical JSON of an Entry. Hashes are laid out and computed as in
// golang.org/x/mod/sumdb/tlog (RFC 6962), tree heads are signed notes in the form of C2SP's
// tlog-checkpoint, so that other tools can check both. docs/design/ledger.md says what this proves and
// what it can't.
package ledger
