package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/riposte-sec/riposte/internal/fault"
)

//go:embed schema/*.sql
var schema embed.FS

// migrate brings the tables to the form this binary knows. Nodes that start together do it one after
// another.
func migrate(ctx context.Context, db *sql.DB, engine string) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	dialect := goose.DialectSQLite3
	options := []goose.ProviderOption{goose.WithTableName("schema_version"), goose.WithDisableGlobalRegistry(true)}
	if engine == enginePostgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	is, known, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if is > known {
		return fault.WithHint(
			fault.New(fault.Invalid, "the store's schema is version %d, this binary knows up to %d", is, known),
			"it was opened by a newer Riposte; use that one, or restore an older backup")
	}
	return nil
}
