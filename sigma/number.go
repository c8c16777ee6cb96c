package sigma

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// canonical writes a JSON number in the one way that equal numbers share.
func canonical(n string) string {
	if isInteger(n) {
		if n == "-0" {
			return "0"
		}
		return n
	}
	f, err := strconv.ParseFloat(n, 64)
	if err != nil {
		return n
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// compareNumbers orders two decimal numbers; it reports false when one isn't a number. Integers of any length
// are compared exactly.
func compareNumbers(a, b string) (int, bool) {
	if isInteger(a) && isInteger(b) {
		return compareIntegers(a, b), true
	}
	x, xOK := float(a)
	y, yOK := float(b)
	return cmp.Compare(x, y), xOK && yOK
}

func compareIntegers(a, b string) int {
	x, xNegative := magnitude(a)
	y, yNegative := magnitude(b)
	if xNegative != yNegative {
		if xNegative {
			return -1
		}
		return 1
	}
	order := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
	if xNegative {
		return -order
	}
	return order
}

// magnitude cuts sign and leading zeros off. Zero has no sign.
func magnitude(n string) (string, bool) {
	digits := strings.TrimLeft(strings.TrimPrefix(n, "-"), "0")
	return digits, n[0] == '-' && digits != ""
}

func isInteger(n string) bool {
	digits := strings.TrimPrefix(n, "-")
	return digits != "" && strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

func float(n string) (float64, bool) {
	if n == "" || strings.Trim(n, "0123456789.eE+-") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(n, 64)
	return f, err == nil
}
