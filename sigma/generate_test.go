package sigma_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// choices makes rules and events of bytes, each of which is one choice, so that a fuzzer that changes a byte
// changes a detail. After the last byte every choice is the first one.
type choices struct {
	bytes  []byte
	fields []string // the few that rules ask for and events have
	said   []string // texts and numbers that rules ask for
}

func (c *choices) below(n int) int {
	if len(c.bytes) == 0 {
		return 0
	}
	b := c.bytes[0]
	c.bytes = c.bytes[1:]
	return int(b) % n
}

// once in n reports true; after the last byte never.
func (c *choices) once(n int) bool {
	return c.below(n) == n-1
}

func (c *choices) of(list []string) string {
	return list[c.below(len(list))]
}

// Fields and keys share steps, so that paths meet: as names with dots, as steps, through lists. U+212A folds to
// k, but names mind case. The long ones differ beyond the first eight bytes.
var (
	fieldNames = []string{
		"a", "b", "a.b", "a.b.c", "a.c", "b.c", "c", "a.b.c.d", "k", "\u212a", "a.k", "x.", ".x", "a..b", "longname.one",
		"longname.two", "longname", "long name", "\ufffd", "a.\"q\"",
	}
	keys = []string{
		"a", "b", "c", "a.b", "b.c", "a.b.c", "k", "\u212a", "d", "x", "", "x.", ".x", ".b", "longname", "longname.one", "one", "two",
		"long name", "longer than eight", "\"q\"", "A", "\xff", "c.d", "b.c.d", "foo", "a\x00",
	}
	pieces = []string{
		"a", "b", "k", "K", "\u212a", "s", "S", "\u017f", "i", "I", "\u0130", "\u0131", "é", "É", "ß", "ẞ", "foo", "FOO", "bar", "-", "/", "–",
		"—", "1", "0", ".", " ", "\"", "\\", "*", "?", "\n", "\x00", "😀", "\ufffd", ":", ",", "{", "}", "[", "%", "null", "true", "abcdefgh",
	}
	words = []string{
		"foo", "Foo", "bar", "foobar", "x", "", "10.1.2.3", "10.0.0.0/8", "fe80::1", "2024-02-03T09:01:00Z", "::ffff:10.0.0.1", "2024-02-28T03:30:00Z", "2024-12-30",
		"2024-12-30 23:59:01", "-enc", "/ENC", "–enc", "true", "false", "null", "1", "16", "1.5", "007", "1.0", "1e3", "-0", "0x10",
		"9007199254740993", `{"b":"foo"}`, `{"b":1,"c":[null,true]}`, `"b":"foo"`, "straße", "STRAẞE", "\u212aelvin", "\u017ftop", "İstanbul",
		"stop", "kelvin", "a\u0000", "needle in a haystack that is long enough to be cut somewhere behind its sixty-fourth byte, or so",
		"needle in a haystack that is long enough to be cut somewhere behind its sixty-fourth byte, or not",
	}
	numbers = []string{
		"1", "0", "-0", "1.0", "1e0", "10e-1", "16", "1.6e1", "16.0", "1.5", "-1.5", "4624", "4.624e3", "9007199254740993", "9007199254740992",
		"1e30", "1E+30", "1e999", "-7", "100", "0.0", "12345678901234567890",
	}
	ruleNumbers = []string{"1", "0", "-0", "1.5", "16", "0x10", "1e3", "4624", "9007199254740993", "-7", "1e30", "0o17", "007", "1.0"}
	expressions = []string{
		"fo+", "^f.o$", "(foo|bar)", "[a-c]k", "k{2,3}", `\bfoo\b`, "x?foo", ".*", "", "(?i)k", "[[:alpha:]]+1", "fo*b|s", "(ab|c(d|e))f",
		"\u212a", "(?i:\u017f)top", "^$", "a.b", `\x00`, "[^a]", "^b", "(foo){2}", "(a|b|)k", `"b":"f`, "é", "1", "[kK]elvin", "(?i)straße",
	}
)

// text is a text of a rule or an event.
func (c *choices) text() string {
	switch c.below(4) {
	case 0, 1:
		return c.of(words)
	case 2:
		return c.of(words) + c.of(pieces)
	}
	var b strings.Builder
	for range c.below(5) {
		b.WriteString(c.of(pieces))
	}
	return b.String()
}

// event is a JSON text, mostly an object, with all the freedom that JSON's grammar leaves.
func (c *choices) event() []byte {
	text := c.object(nil, 1+c.below(3))
	if c.once(4) {
		text = c.object(c.padding(text), 2)
	}
	if c.once(16) && len(text) > 0 {
		text[c.below(len(text))] = byte(c.below(256))
	}
	if c.once(32) {
		text = text[:c.below(len(text)+1)]
	}
	return text
}

// padding makes a text so long that needles are looked for in several places at once.
func (c *choices) padding(text []byte) []byte {
	out := []byte(`{"pad":"`)
	for range 1 + c.below(8) {
		out = append(out, strings.Repeat(c.of([]string{"x", "fo", "needle ", "-"}), 40)...)
		out = append(out, c.of([]string{"", "foo", "stop", "kelvin", "bar1"})...)
	}
	out = append(out, `","a":`...)
	return append(append(out, text...), '}')
}

func (c *choices) space(out []byte) []byte {
	if c.once(8) {
		out = append(out, c.of([]string{" ", "\n", "\t ", "\r\n"})...)
	}
	return out
}

// object appends an object, or goes on with the one that out is. Names may be there twice.
func (c *choices) object(out []byte, depth int) []byte {
	if len(out) > 0 && out[0] == '{' && out[len(out)-1] == '}' {
		out = append(out[:len(out)-1], ',')
	} else {
		out = append(c.space(out), '{')
	}
	for i := range 1 + c.below(5) {
		if i > 0 {
			out = append(out, ',')
		}
		if !c.once(4) {
			out = c.placed(out, c.of(c.fields), depth)
			continue
		}
		out = c.value(c.named(out, c.of(keys)), depth-1)
	}
	return append(c.space(out), '}')
}

// named appends a name and its colon.
func (c *choices) named(out []byte, name string) []byte {
	return c.space(append(c.space(c.quoted(c.space(out), name)), ':'))
}

// placed appends a member that is a rule's field, or that holds it below.
func (c *choices) placed(out []byte, field string, depth int) []byte {
	head, rest, dotted := strings.Cut(field, ".")
	if !dotted || c.once(4) {
		return c.value(c.named(out, field), depth-1)
	}
	out = c.named(out, head)
	list := c.once(3)
	if list {
		out = append(out, c.of([]string{"[", "[[],", "[0,[", `[{"b":"foo"},`})...)
	}
	opened := len(out)
	out = c.placed(append(out, '{'), rest, depth)
	if c.once(3) {
		out = c.placed(append(out, ','), c.of(c.fields), depth-1)
	}
	out = append(out, '}')
	if list {
		if out[opened-1] == '[' && opened > 1 && out[opened-2] == ',' {
			out = append(out, ']')
		}
		out = append(out, ']')
	}
	return out
}

func (c *choices) value(out []byte, depth int) []byte {
	kind := c.below(12)
	if depth <= 0 && kind > 7 {
		kind = 0
	}
	switch kind {
	case 4:
		return append(out, c.of(numbers)...)
	case 5:
		return append(out, c.of([]string{"true", "false"})...)
	case 6:
		return append(out, "null"...)
	case 7:
		return append(out, c.of([]string{"[]", "{}", "[[]]", "[null]", `[{"b":{}}]`})...)
	case 8, 9:
		return c.object(append(out, ' '), depth)
	case 10, 11:
		out = append(out, '[')
		for i := range 1 + c.below(3) {
			if i > 0 {
				out = append(out, ',')
			}
			out = c.value(c.space(out), depth-1)
		}
		return append(c.space(out), ']')
	}
	text := c.text()
	if len(c.said) > 0 && !c.once(3) {
		text = c.varied(c.of(c.said))
		if c.once(3) && json.Valid([]byte(text)) && text[0] != '"' && text[0] != ' ' {
			return append(out, text...)
		}
	}
	switch {
	case c.once(10):
		text = base64.StdEncoding.EncodeToString([]byte(text))
	case c.once(10):
		var wide []byte
		for _, r := range text {
			wide = append(wide, byte(r), byte(r>>8))
		}
		text = "x" + base64.StdEncoding.EncodeToString(wide)
	}
	return c.quoted(out, text)
}

// varied is a text that a rule asks for, or nearly so.
func (c *choices) varied(text string) string {
	switch c.below(9) {
	case 8:
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return c.of([]string{fmt.Sprintf("%.1f", n), fmt.Sprintf("%e", n), fmt.Sprintf("%.0fe-1", n*10)})
		}
	case 3:
		text = strings.ToUpper(text)
	case 4:
		text = strings.NewReplacer("k", "\u212a", "s", "\u017f", "S", "\u017f", "é", "É", "i", "\u0131", "-", "–").Replace(text)
	case 5:
		text = strings.NewReplacer("*", c.of(pieces), "?", c.of(pieces), "-", "/").Replace(text)
	case 6:
		text = c.of(pieces) + text
	case 7:
		text += c.of(pieces)
	}
	return text
}

// quoted appends a string, each byte of it plainly or as one of its escapes.
func (c *choices) quoted(out []byte, text string) []byte {
	const short = "\"\\/\b\f\n\r\t"
	style := c.below(16)
	out = append(out, '"')
	for i, r := range text {
		at := strings.IndexRune(short, r)
		switch {
		case r == '\ufffd' && !strings.HasPrefix(text[i:], "\ufffd"):
			out = append(out, text[i]) // not UTF-8, and so it stays
		case r > 0xffff && style > 4:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case style == 7 && r <= 0xffff, r < ' ' && at < 0:
			out = fmt.Appendf(out, `\u%04x`, r)
		case style == 6 && r <= 0xffff && c.once(2):
			out = fmt.Appendf(out, `\u%04X`, r)
		case r == '"' || r == '\\' || r < ' ' || r == '/' && style > 4:
			out = append(out, '\\', `"\/bfnrt`[at])
		default:
			out = append(out, string(r)...)
		}
	}
	if c.once(12) {
		out = append(out, c.of([]string{`\ud83d`, `\ude00`, `\ud83d\ud83d\ude00`, "\xff\xfe", "\xc3", "\xff", `\ud83dx`})...)
	}
	return append(out, '"')
}

// choose takes the few fields that rules and events are about.
func (c *choices) choose() {
	for range 1 + c.below(4) {
		c.fields = append(c.fields, c.of(fieldNames))
	}
}

// rule is the text of a rule. It may be one that is refused.
func (c *choices) rule(id int) string {
	sources := []string{"product: aws", "product: aws, service: cloudtrail", "category: x", "product: azure", "service: cloudtrail, category: x"}
	var b strings.Builder
	fmt.Fprintf(&b, "title: T\nid: r%d\nlogsource: {%s}\ndetection:\n", id, c.of(sources))
	count := 1 + c.below(4)
	for i := range count {
		fmt.Fprintf(&b, "  %s:", selectionName(i))
		c.selection(&b)
	}
	fmt.Fprintf(&b, "  condition: %s\n", c.condition(count, 3))
	return b.String()
}

func selectionName(i int) string {
	return []string{"s1", "s2", "filter_1", "filter_2"}[i]
}

func (c *choices) selection(b *strings.Builder) {
	switch c.below(10) {
	case 7: // keywords
		fmt.Fprintf(b, " [%s]\n", c.values("", 3))
	case 8: // keywords with modifiers
		modifiers := c.of([]string{"|all", "|re", "|startswith", "|cased", "|endswith|cased", "|contains|all", "|windash", "|re|i", "|base64offset", "|neq"})
		fmt.Fprintf(b, "\n    %s: [%s]\n", quoteYAML(modifiers), c.values(modifiers, 2))
	case 9: // one of several
		for range 1 + c.below(3) {
			b.WriteString("\n    - ")
			c.items(b, "      ")
		}
		b.WriteString("\n")
	default:
		b.WriteString("\n    ")
		c.items(b, "    ")
		b.WriteString("\n")
	}
}

// items writes the items of a group, each of another field.
func (c *choices) items(b *strings.Builder, indent string) {
	had := make(map[string]bool)
	for i := range 1 + c.below(3) {
		field := c.of(c.fields)
		if had[field] {
			continue
		}
		had[field] = true
		if i > 0 {
			b.WriteString("\n" + indent)
		}
		if c.once(16) {
			fmt.Fprintf(b, "%s: {%s: [%s]}", quoteYAML(field+c.of([]string{"|element", "|element|neq"})), quoteYAML(c.of(c.fields)), c.values("", 3))
			continue
		}
		modifiers := c.of(fieldModifiers)
		fmt.Fprintf(b, "%s: [%s]", quoteYAML(field+modifiers), c.values(modifiers, 4))
	}
}

var fieldModifiers = []string{
	"", "", "", "|contains", "|contains", "|startswith", "|endswith", "|contains|all", "|all", "|cased", "|contains|cased", "|startswith|cased",
	"|endswith|cased", "|re", "|re|i", "|re|m|s", "|re|all", "|cidr", "|exists", "|neq", "|contains|neq", "|lt", "|lte", "|gt", "|gte", "|gt|neq",
	"|contains|windash", "|windash", "|base64", "|base64offset|contains", "|wide|base64offset|contains", "|utf16be", "|utf16|base64", "|wide",
	"|fieldref", "|fieldref|neq", "|fieldref|contains", "|fieldref|cased|endswith", "|fieldref|startswith|all", "|hour", "|minute|lt", "|day",
	"|week|gte", "|month", "|year|neq", "|expand", "|expand|contains", "|cidr|expand", "|re|neq", "|cidr|neq", "|base64offset|contains|all",
}

// values lists values as suit modifiers.
func (c *choices) values(modifiers string, most int) string {
	if strings.Contains(modifiers, "exists") {
		return c.of([]string{"true", "false"})
	}
	var all []string
	for range 1 + c.below(most) {
		all = append(all, c.ruleValue(modifiers))
	}
	return strings.Join(all, ", ")
}

func (c *choices) ruleValue(modifiers string) string {
	text, quoted := c.plainValue(modifiers)
	if quoted && len(c.said) > 0 && c.once(2) && !strings.ContainsAny(modifiers, "bfirw") {
		text = c.of(c.said) // items of other modifiers that say the same
	}
	c.said = append(c.said, text)
	if quoted {
		return quoteYAML(text)
	}
	return text
}

// plainValue is a value, and whether it is text for certain.
func (c *choices) plainValue(modifiers string) (text string, quoted bool) {
	has := func(modifier string) bool { return strings.Contains(modifiers, modifier) }
	switch {
	case has("cidr|expand"):
		return "%nets%", true
	case has("expand"):
		return c.of([]string{"%list%", "x%list%", "%list%%one%", "%one%", `\%list%`}), true
	case has("re"):
		if !has("ref") {
			return c.of(expressions), true
		}
		return c.of(c.fields), true
	case has("cidr"):
		return c.of([]string{"10.0.0.0/8", "10.1.2.3", "fe80::/10", "0.0.0.0/0", "::/0"}), true
	case has("year"):
		return c.of([]string{"2024", "2023"}), false
	case has("hour"), has("minute"), has("day"), has("week"), has("month"):
		return c.of([]string{"3", "9", "2", "12", "1"}), false
	case has("|lt"), has("|gt"):
		return c.of(ruleNumbers[:10]), false
	case has("base64"), has("wide"), has("utf16"):
		return strings.NewReplacer("*", "", "?", "").Replace(c.of(pieces) + c.of(pieces) + c.of(words)), true
	}
	if modifiers == "" || modifiers == "|all" || modifiers == "|neq" {
		switch c.below(8) {
		case 5:
			return c.of(ruleNumbers), false
		case 6:
			return c.of([]string{"true", "false"}), false
		case 7:
			return "null", false
		}
	}
	text = c.text()
	if c.once(6) {
		text = c.of([]string{"*", "?", "*?", ""}) + text + c.of([]string{"", "*", "?", "*o"})
	}
	return text, true
}

// condition is a condition over the first selections.
func (c *choices) condition(count, depth int) string {
	kind := c.below(10)
	if depth == 0 {
		kind = 0
	}
	switch kind {
	case 3, 4:
		return c.condition(count, depth-1) + " and " + c.condition(count, depth-1)
	case 5:
		return c.condition(count, depth-1) + " or " + c.condition(count, depth-1)
	case 6:
		return "not " + c.condition(count, depth-1)
	case 7:
		return "(" + c.condition(count, depth-1) + " or not " + c.condition(count, depth-1) + ")"
	case 8:
		return c.of([]string{"1 of them", "all of them", "1 of s*", "all of s*"})
	case 9:
		return c.condition(count, depth-1) + " and not 1 of " + c.of([]string{"s*", "them"})
	}
	return selectionName(c.below(count))
}

// quoteYAML writes a text as YAML does in double quotes, which for valid UTF-8 is as JSON does.
func quoteYAML(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(quoted)
}
