package awslog

// walker finds the end of one JSON value in a stream, byte by byte, without keeping it. It matches braces
// and strings; whether what lies between is JSON is for parse to say.
type walker struct {
	depth   int
	objects [Deepest + 1]bool // whether a level is an object; levels below the deepest are not known
	quoted  bool              // inside a string
	escaped bool              // after a backslash
	scalar  bool              // inside a number or a literal at level 0
	naming  bool              // a key is due
	naked   bool              // the string being read is a key of level 1
	name    []byte            // the last key of level 1, at most its first bytes
	top     bool              // at the top of a file: its list of records is entered, and what can't go on is told
	fresh   bool              // nothing but white space since a line began
	deep    bool              // deeper than Deepest
	closed  bool              // no list but that of records is entered
}

// outcome is what a byte meant.
type outcome uint8

const (
	more   outcome = iota
	done           // the byte ends the value
	over           // the value ended before the byte
	enter          // the byte opens a list at level 1 that may hold records
	broken         // the byte can't stand here
)

// records is the key whose list is a file's records.
const records = "Records"

// The keys of other lists that may be: see enters.
const (
	logEvents  = "logEvents"
	auditItems = "items"
)

// step takes one byte.
func (w *walker) step(c byte) outcome {
	if w.quoted {
		return w.inString(c)
	}
	switch c {
	case ' ', '\t', '\r', '\n':
		if w.scalar {
			return over
		}
		w.fresh = w.fresh || c == '\n'
		return more
	}
	result := w.token(c)
	if result != broken {
		w.fresh = false
	}
	return result
}

// token takes one byte that is neither white space nor inside a string.
func (w *walker) token(c byte) outcome {
	switch c {
	case '"':
		w.quoted, w.naked = true, w.naming && w.depth == 1
		if w.naked {
			w.name = w.name[:0]
		}
		w.naming = false
		return more
	case '{', '[':
		return w.open(c)
	case '}', ']':
		return w.close(c)
	case ',':
		if w.depth == 0 {
			return over
		}
		w.naming = w.level() && !w.deep
		w.name = w.name[:0]
		return more
	}
	if w.naming && w.top {
		return broken
	}
	w.scalar = w.depth == 0
	return more
}

func (w *walker) inString(c byte) outcome {
	switch {
	case w.escaped:
		w.escaped = false
	case c == '\\':
		w.escaped = true
	case c == '\n' && w.top:
		return broken
	case c == '"':
		w.quoted, w.naked = false, false
		if w.depth == 0 {
			return done
		}
		return more
	}
	if w.naked && len(w.name) <= len(logEvents) { // the longest key that is asked for
		w.name = append(w.name, c)
	}
	return more
}

func (w *walker) open(c byte) outcome {
	switch {
	case w.scalar:
		return over
	case w.naming && w.top:
		return broken
	case c == '[' && w.top && w.depth == 1 && w.objects[1] && w.enterable():
		return enter
	}
	return w.descend(c)
}

// enterable reports whether the list that begins may be one of records.
func (w *walker) enterable() bool {
	name := string(w.name)
	return name == records || !w.closed && (name == logEvents || name == auditItems || name == handedFindings)
}

// descend goes a level down.
func (w *walker) descend(c byte) outcome {
	w.depth++
	if w.depth > Deepest {
		w.deep = true
		return more
	}
	w.objects[w.depth] = c == '{'
	w.naming = c == '{'
	w.name = w.name[:0]
	return more
}

func (w *walker) close(c byte) outcome {
	switch {
	case w.depth == 0:
		return over
	case w.top && !w.deep && w.level() != (c == '}'):
		return broken
	}
	w.depth--
	w.naming = false
	if w.depth == 0 {
		return done
	}
	return more
}

// level reports whether the level the walker is at is an object.
func (w *walker) level() bool { return w.depth <= Deepest && w.objects[w.depth] }
