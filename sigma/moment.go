package sigma

import (
	"fmt"
	"strconv"
	"time"
)

// datePart returns a part of a date as it is written, and whether the text is a date that has it.
func datePart(text, part string) (string, bool) {
	if len(text) < len(time.DateOnly) || len(text) > 64 || text[4] != '-' {
		return "", false
	}
	t, timed := time.Time{}, false
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", time.DateTime, "2006-01-02T15:04Z07:00", time.DateOnly,
	} {
		read, err := time.Parse(layout, text)
		if err == nil {
			t, timed = read, layout != time.DateOnly
			break
		}
	}
	if t.IsZero() {
		return "", false
	}
	number := 0
	switch part {
	case "minute":
		number = t.Minute()
	case "hour":
		number = t.Hour()
	case "day":
		number = t.Day()
	case "week":
		_, number = t.ISOWeek()
	case "month":
		number = int(t.Month())
	case "year":
		number = t.Year()
	}
	return strconv.Itoa(number), timed || part != "minute" && part != "hour"
}

// checkPart refuses a number that the part of a date never is.
func checkPart(part, number string) error {
	low, high := 1, 9999
	switch part {
	case "minute":
		low, high = 0, 59
	case "hour":
		low, high = 0, 23
	case "day":
		high = 31
	case "week":
		high = 53
	case "month":
		high = 12
	}
	if n, err := strconv.Atoi(number); err != nil || n < low || n > high {
		return fmt.Errorf("%s must be a whole number from %d to %d, not %s", part, low, high, number)
	}
	return nil
}
