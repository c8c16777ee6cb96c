package sigma

import (
	"strconv"
	"strings"
)

// Error is one reason why a rule was refused.
type Error struct {
	File    string
	Line    int    // 1-based; 0 where it concerns the whole file
	Key     string // dotted path, such as detection.selection.eventName|contains
	Problem string
}

// Error names file, line, key and problem.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}
