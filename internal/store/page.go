package store

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Page is a part of a list. Items that are added while somebody pages through neither repeat nor hide
// others.
type Page[T any] struct {
	Items []T `json:"items"`
	// Next is the cursor of the page after this one, "" at the end.
	Next string `json:"next,omitempty"`
}

const (
	defaultLimit = 50
	mostLimit    = 1000
)

// position is where a page begins: after the row that a cursor names. Rows are sorted by a time and an id,
// both falling.
type position struct {
	limit int
	given bool
	at    int64
	id    string
}

func paging(limit int, cursor string) (position, error) {
	p := position{limit: limit}
	if p.limit <= 0 {
		p.limit = defaultLimit
	}
	p.limit = min(p.limit, mostLimit)
	if cursor == "" {
		return p, nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(cursor)
	at, id, found := strings.Cut(string(plain), "|")
	p.at, p.id, p.given = 0, text(id), true
	if err == nil && found {
		p.at, err = strconv.ParseInt(at, 10, 64)
	}
	if err != nil || !found {
		return p, fault.New(fault.Invalid, "the cursor is not one of ours")
	}
	return p, nil
}

// after gives the condition for rows that come after the position.
func (p position) after(args *[]any, at, id string) []string {
	if !p.given {
		return nil
	}
	when, which := arg(args, p.at), arg(args, p.id)
	return []string{"(" + at + " < " + when + " OR (" + at + " = " + when + " AND " + id + " < " + which + "))", at + " <= " + when}
}

// page cuts what was read, one row more than asked for, to a page.
func page[T any](p position, found []T, key func(T) (int64, string)) Page[T] {
	if len(found) <= p.limit {
		return Page[T]{Items: found}
	}
	found = found[:p.limit]
	at, id := key(found[len(found)-1])
	return Page[T]{Items: found, Next: base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at, 10) + "|" + id))}
}

func where(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// eachState reads the first rows of each state by themselves and puts them together: so every state is
// read along its index, however rare or frequent it is.
func eachState[S ~string](choice, column string, states []S, conditions []string, order string, limit int, args *[]any) string {
	parts := make([]string, 0, len(states))
	most := arg(args, limit)
	for i, state := range states {
		one := append([]string{column + " = " + arg(args, string(state))}, conditions...)
		parts = append(parts, "SELECT * FROM ("+choice+where(one)+order+most+") s"+strconv.Itoa(i))
	}
	return "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") u ORDER BY at DESC, id DESC LIMIT " + most
}

// contains is the LIKE pattern, with ! as escape, of a text anywhere, in lower case.
func contains(part string) string {
	escaped := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(text(part)))
	return "%" + escaped + "%"
}
