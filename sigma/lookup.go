package sigma

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	mostLists     = 1000
	mostListed    = 1 << 18 // values of one list
	mostInLists   = 1 << 20 // values of all lists together
	maxList       = 1 << 25 // bytes of one file
	longestListed = 1024    // bytes of one value
)

// LoadLookups reads the values of placeholders from the files of a folder, for [Options]. A file is named after
// the placeholder, and by its ending holds
//
//   - .txt: one value a line. Space around it is left out, and what follows a # at the beginning or after space;
//   - .csv: values in the first column, comments in lines that begin with #. There is no line of titles;
//   - .yaml, .yml, .json: one list of texts and numbers.
//
// Files whose names begin with a dot are left out. A list may be empty: nothing is one of its values then. What
// can't be read gives errors of type [*Error], joined; the other lists are returned beside them. Lists change
// without a restart in that they are read again, the rules with them, and both are put in the place of the old.
func LoadLookups(fsys fs.FS, dir string) (map[string][]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("read lookups: %w", err)
	}
	l := &lookups{fsys: fsys, lists: make(map[string][]string), files: make(map[string]string)}
	for _, entry := range entries {
		if !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			l.file(path.Join(dir, entry.Name()))
		}
	}
	return l.lists, errors.Join(l.mistakes...)
}

// lookups is lists that are being read.
type lookups struct {
	fsys     fs.FS
	lists    map[string][]string
	files    map[string]string // by list
	total    int
	mistakes []error
}

func (l *lookups) refuse(file string, line int, format string, args ...any) {
	if len(l.mistakes) < mostMistakes {
		l.mistakes = append(l.mistakes, &Error{File: file, Line: line, Problem: fmt.Sprintf(format, args...)})
	}
}

// listedValue is a value with its line.
type listedValue struct {
	text string
	line int
}

func (l *lookups) file(file string) {
	extension := path.Ext(file)
	name := strings.TrimSuffix(path.Base(file), extension)
	if name == "" || !placeholderName(name) {
		l.refuse(file, 0, "%q can't be the name of a placeholder: letters, digits, _, - and . only", name)
		return
	}
	if other, taken := l.files[name]; taken {
		l.refuse(file, 0, "is the list %s, as %s is", name, other)
		return
	}
	text, err := l.read(file)
	if err != nil {
		l.refuse(file, 0, "can't be read: %s", err)
		return
	}
	var values []listedValue
	line := 0
	switch extension {
	case ".txt":
		values = lines(text)
	case ".csv":
		values, line, err = firstColumn(text)
	case ".yaml", ".yml":
		values, line, err = yamlList(text)
	case ".json":
		values, line, err = jsonList(text)
	default:
		err = fmt.Errorf("%q is none of .txt, .csv, .yaml, .yml, .json", extension)
	}
	if err != nil {
		l.refuse(file, line, "%s", err)
		return
	}
	l.files[name] = file
	l.add(file, name, values)
}

// read reads a file that may not be long.
func (l *lookups) read(file string) ([]byte, error) {
	opened, err := l.fsys.Open(file)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(opened, maxList+1))
	if closing := opened.Close(); err == nil {
		err = closing
	}
	if err == nil && len(text) > maxList {
		return nil, fmt.Errorf("longer than %d bytes", maxList)
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), err
}

// add checks the values of a list and keeps each once.
func (l *lookups) add(file, name string, values []listedValue) {
	switch {
	case len(values) > mostListed:
		l.refuse(file, values[mostListed].line, "has more than %d values", mostListed)
		return
	case l.total+len(values) > mostInLists:
		l.refuse(file, 0, "all lists together have more than %d values", mostInLists)
		return
	case len(l.lists) >= mostLists:
		l.refuse(file, 0, "there are more than %d lists", mostLists)
		return
	}
	before := len(l.mistakes)
	seen := make(map[string]bool, len(values))
	list := make([]string, 0, len(values))
	for _, v := range values {
		switch {
		case v.text == "":
			l.refuse(file, v.line, "a value is empty")
		case len(v.text) > longestListed:
			l.refuse(file, v.line, "a value is longer than %d bytes", longestListed)
		case !utf8.ValidString(v.text):
			l.refuse(file, v.line, "a value isn't UTF-8")
		case !seen[v.text]:
			seen[v.text] = true
			list = append(list, v.text)
		}
	}
	if len(l.mistakes) == before {
		l.lists[name] = list
		l.total += len(values)
	}
}

func lines(text []byte) []listedValue {
	var values []listedValue
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		for i := range len(line) {
			if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
				line = line[:i]
				break
			}
		}
		if line = strings.TrimSpace(line); line != "" {
			values = append(values, listedValue{line, number})
		}
	}
	return values
}

func firstColumn(text []byte) ([]listedValue, int, error) {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comment, reader.FieldsPerRecord, reader.ReuseRecord = '#', -1, true
	var values []listedValue
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return values, 0, nil
		}
		if wrong, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, wrong.Line, fmt.Errorf("isn't CSV: %w", wrong.Err)
		}
		if err != nil {
			return nil, 0, err
		}
		line, _ := reader.FieldPos(0)
		values = append(values, listedValue{strings.Clone(strings.TrimSpace(record[0])), line})
	}
}

func yamlList(text []byte) ([]listedValue, int, error) {
	d := &document{}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		d.malformed(err)
		wrong, _ := errors.AsType[*Error](d.mistakes[0])
		return nil, wrong.Line, errors.New(wrong.Problem)
	}
	if len(root.Content) == 0 {
		return nil, 0, nil
	}
	list := root.Content[0]
	if list.Kind != yaml.SequenceNode {
		return nil, list.Line, fmt.Errorf("must be a list, not %s", kindOf(list))
	}
	values := make([]listedValue, 0, len(list.Content))
	for _, n := range list.Content {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Tag == "!!binary" {
			return nil, n.Line, fmt.Errorf("a value must be text or a number, not %s", kindOf(n))
		}
		values = append(values, listedValue{n.Value, n.Line})
	}
	return values, 0, nil
}

func jsonList(text []byte) ([]listedValue, int, error) {
	var list []any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(&list)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more after the list")
		}
	}
	if err != nil {
		at := decoder.InputOffset()
		if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = wrong.Offset
		}
		return nil, 1 + bytes.Count(text[:at], []byte{'\n'}), fmt.Errorf("isn't a list in JSON: %w", err)
	}
	values := make([]listedValue, 0, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case string:
			values = append(values, listedValue{text: v})
		case json.Number:
			values = append(values, listedValue{text: v.String()})
		default:
			return nil, 0, fmt.Errorf("value %d is neither text nor a number", i+1)
		}
	}
	return values, 0, nil
}

// manyListed is from how many values on a list is looked up as a whole.
const manyListed = 256

// list compiles a value that is one placeholder and nothing else, with many values: as a set, or as ranges of
// addresses. It reports false where the values must be compiled one by one.
func (d *document) list(text string, m modifiers) ([]atom, bool, error) {
	literal, name, rest := nextPlaceholder(text)
	values := d.options.Placeholders[name]
	if literal != "" || rest != "" || len(values) < manyListed || m.all || m.windash || len(m.encodings) > 0 {
		return nil, false, nil
	}
	switch m.operator {
	case equals:
		return setAtoms(text, values, m), true, nil
	case within:
		all, err := rangesAtom(text, values)
		return all, true, err
	default:
		return nil, false, nil
	}
}

// setAtoms makes one atom of all values without wildcards, and one of each other.
func setAtoms(text string, values []string, m modifiers) []atom {
	set := make(map[string]struct{}, len(values))
	var all []atom
	for _, value := range values {
		list := tokens(value)
		if slices.Contains(list, anyText) || slices.Contains(list, anyRune) {
			one := patternAtom(text, list, m)
			all = append(all, one)
			continue
		}
		if value = string(list); !m.cased {
			value = fold(value)
		}
		set[value] = struct{}{}
	}
	return append(all, atom{written: text, find: onLeaf(func(l *leaf) bool {
		_, ok := set[l.compared(m.cased)]
		return ok
	})})
}

// nothing is an atom that no value fits, of a list that is empty.
func nothing(written string) atom {
	return atom{written: written, find: func(*view, *found) (*leaf, bool) { return nil, false }}
}
