package httpcall

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
)

// longestAddress bounds a call's address, in bytes.
const longestAddress = 8 << 10

var (
	placeholder = regexp.MustCompile(`\{([a-z][A-Za-z0-9_.]*)\}`)
	// pathForm is what a path may have in it beside placeholders: nothing that means something else when it is
	// decoded once more.
	pathForm = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,;=:@/-]*$`)
)

// placeholders lists the names in a path: /hosts/{host} has host.
func placeholders(path string) []string {
	var names []string
	for _, found := range placeholder.FindAllStringSubmatch(path, -1) {
		names = append(names, found[1])
	}
	return names
}

// below fills in a path. What comes out is escaped, begins with a slash unless it is empty, and stays below whatever
// it is put behind: whoever writes a finding may have written the values.
func below(path string, values map[string]string) (string, error) {
	fixed := placeholder.ReplaceAllString(path, "x")
	if !pathForm.MatchString(fixed) {
		return "", fault.New(fault.Invalid, "%.100q: a path has letters, digits and a few signs; what else is to be in it goes through {name} and values, "+
			"or into the query", path)
	}
	if hasDots(fixed) || strings.Contains(fixed, "//") {
		return "", fault.New(fault.Invalid, "%.100q: a path stays below the endpoint's URL: no . or .. and no //", path)
	}
	var failure error
	filled := placeholder.ReplaceAllStringFunc(path, func(found string) string {
		name := found[1 : len(found)-1]
		value, given := values[name]
		switch {
		case !given:
			failure = fault.New(fault.Invalid, "there is no value for {%s}", name)
		case value == "" || hasDots(value) || strings.ContainsFunc(value, unicode.IsControl):
			failure = fault.New(fault.Invalid, "%.100q can't stand for {%s}: it is empty, leads elsewhere or has control characters in it", value, name)
		}
		return url.PathEscape(value)
	})
	if failure != nil {
		return "", failure
	}
	if filled != "" && filled[0] != '/' {
		filled = "/" + filled
	}
	if hasDots(filled) { // a value beside a dot
		return "", fault.New(fault.Invalid, "%.100q: a path stays below the endpoint's URL: no . or ..", filled)
	}
	return filled, nil
}

// hasDots reports whether a part of a path is . or .., however the parts are divided.
func hasDots(path string) bool {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
	return slices.Contains(parts, ".") || slices.Contains(parts, "..")
}

// address is what a step calls: path, values and query of its parameters, below the endpoint's URL.
func (e endpoint) address(p action.Params) (string, error) {
	values, err := plains(p, "values")
	if err != nil {
		return "", err
	}
	path, err := below(p.String("path"), values)
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(placeholders(p.String("path")), name) {
			return "", fault.New(fault.Invalid, "values.%.50s: there is no {%.50s} in the path", name, name)
		}
	}
	query, err := plains(p, "query")
	if err != nil {
		return "", err
	}
	return e.join(path, query)
}

func (e endpoint) join(path string, query map[string]string) (string, error) {
	whole := e.base.String() + path
	if len(query) > 0 {
		asked := url.Values{}
		for name, value := range query {
			asked.Set(name, value)
		}
		whole += "?" + asked.Encode()
	}
	parsed, err := url.Parse(whole)
	if err != nil || parsed.Host != e.base.Host || parsed.Scheme != e.base.Scheme || !strings.HasPrefix(parsed.EscapedPath(), e.base.EscapedPath()) {
		return "", fault.New(fault.Invalid, "%.100q leads away from http endpoint %s", path, e.name)
	}
	if len(whole) > longestAddress {
		return "", fault.New(fault.Invalid, "an address of %d bytes is longer than %d", len(whole), longestAddress)
	}
	return whole, nil
}

// plains gives a parameter's mapping, whose values are texts, numbers or truth values, as texts.
func plains(p action.Params, name string) (map[string]string, error) {
	object, _ := p[name].(map[string]any)
	texts := make(map[string]string, len(object))
	for key, value := range object {
		text, ok := plain(value)
		if !ok {
			return nil, fault.New(fault.Invalid, "%s.%.50s is no text, number or truth value", name, key)
		}
		texts[key] = text
	}
	return texts, nil
}
