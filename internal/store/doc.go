// Package store keeps the state of Riposte (incidents, findings, runs and their journals, guardrails, the
// ledger) in SQLite or PostgreSQL, with one schema and one set of queries.
//
// All writing goes through Update: a single goroutine executes the functions that wait together in one
// transaction, each within its own savepoint, and syncs to disk once for all of them. The records they
// append become part of the ledger in the same transaction. On PostgreSQL the writers of several nodes
// wait for each other at the ledger's head, so that every transaction sees all that was committed before
// it. docs/design/store.md tells why.
//
// Errors have kinds: NotFound, Conflict, and Transient for what passes by itself or by an operator's hand
// (a full disk, a lost server).
package store

//go:generate go tool -modfile=../../tools/go.mod sqlc generate
