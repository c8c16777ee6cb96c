package store

import (
	"context"
	"database/sql"
	"math/bits"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/store/query"
)

// list adds values to args and gives their placeholders for an IN list. The last value is repeated up to
// a power of two, so that there are few different statements to keep prepared.
func list[T any](args *[]any, values []T) string {
	full := 1 << bits.Len(uint(len(values)-1))
	names := make([]string, 0, full)
	for n := range full {
		names = append(names, arg(args, values[min(n, len(values)-1)]))
	}
	return strings.Join(names, ",")
}

// arg adds a value to args and gives its placeholder.
func arg(args *[]any, value any) string {
	*args = append(*args, value)
	return "$" + strconv.Itoa(len(*args))
}

// insert writes rows of width values each, many at once: on PostgreSQL each statement is a round trip. It
// uses few different lengths, so that the statements stay prepared.
func insert(ctx context.Context, db query.DBTX, into, after string, width int, values []any) error {
	for _, most := range []int{64, 8, 1} {
		for n := most * width; len(values) >= n; values = values[n:] {
			if _, err := db.ExecContext(ctx, into+placeholders(most, width)+after, values[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeholders gives ($1,$2),($3,$4) for two rows of two.
func placeholders(rows, width int) string {
	var b strings.Builder
	for n := range rows * width {
		switch {
		case n == 0:
			b.WriteString("($")
		case n%width == 0:
			b.WriteString("),($")
		default:
			b.WriteString(",$")
		}
		b.WriteString(strconv.Itoa(n + 1))
	}
	b.WriteByte(')')
	return b.String()
}

// many reads all rows of a query.
func many[T any](ctx context.Context, db query.DBTX, scan func(*sql.Rows) (T, error), statement string, args []any) ([]T, error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
