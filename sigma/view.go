package sigma

import "strings"

// view is an event during one evaluation. It remembers what was looked up, for the other rules.
type view struct {
	event  *Event
	fields map[string]*found
	words  *found
}

// found is what an event has at a field.
type found struct {
	present bool // though it may be null or an empty list
	leaves  []leaf
}

// leaf is one value that a rule's values are held against. Lists have been taken apart.
type leaf struct {
	text    string // of a scalar
	node    *value // nil for a name
	compact string // of an object, once asked for
	folded  string // once asked for
	isFold  bool
	inner   *view // of the leaf as an event of its own, once asked for
}

func newView(e *Event) *view {
	return &view{event: e}
}

// field looks a field up. Without a name it is every key and scalar of the event.
func (v *view) field(name string) *found {
	if name == "" {
		return v.everything()
	}
	f, ok := v.fields[name]
	if !ok {
		if v.fields == nil {
			v.fields = make(map[string]*found)
		}
		f = &found{}
		f.collect(&v.event.root, name)
		v.fields[name] = f
	}
	return f
}

func (v *view) everything() *found {
	if v.words == nil {
		v.words = &found{present: true}
		v.words.gather(&v.event.root)
	}
	return v.words
}

// collect follows a path from a node: the literal key first, then the first step of a dotted path.
func (f *found) collect(n *value, path string) {
	switch n.kind {
	case kindList:
		for i := range n.kids {
			f.collect(&n.kids[i].value, path)
		}
	case kindObject:
		if child := n.member(path); child != nil {
			f.add(child)
			return
		}
		if head, rest, ok := strings.Cut(path, "."); ok {
			if child := n.member(head); child != nil {
				f.collect(child, rest)
			}
		}
	default: // a scalar holds nothing
	}
}

// add takes a value, and each member of a list.
func (f *found) add(n *value) {
	f.present = true
	if n.kind != kindList {
		f.leaves = append(f.leaves, leaf{text: n.text, node: n})
		return
	}
	for i := range n.kids {
		f.add(&n.kids[i].value)
	}
}

// gather takes every name and scalar below a node.
func (f *found) gather(n *value) {
	if n.kind != kindList && n.kind != kindObject {
		f.leaves = append(f.leaves, leaf{text: n.text, node: n})
		return
	}
	for i := range n.kids {
		kid := &n.kids[i]
		if n.kind == kindObject {
			f.leaves = append(f.leaves, leaf{text: kid.name})
		}
		f.gather(&kid.value)
	}
}

func (l *leaf) null() bool {
	return l.node != nil && l.node.kind == kindNull
}

// original is the text that is compared: a scalar's own, an object's compact JSON.
func (l *leaf) original() string {
	if l.node == nil || l.node.kind != kindObject {
		return l.text
	}
	if l.compact == "" {
		l.compact = string(appendCompact(nil, l.node))
	}
	return l.compact
}

func (l *leaf) fold() string {
	if !l.isFold {
		l.folded, l.isFold = fold(l.original()), true
	}
	return l.folded
}

// compared is the text of a comparison that minds case, or doesn't.
func (l *leaf) compared(cased bool) string {
	if cased {
		return l.original()
	}
	return l.fold()
}

// number is the text that equals that of a rule's number.
func (l *leaf) number() string {
	if l.node != nil && l.node.kind == kindNumber {
		return canonical(l.text)
	}
	return l.text
}
