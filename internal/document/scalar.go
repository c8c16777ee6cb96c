package document

import (
	"math"
	"reflect"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/secret"
)

// The short tags that the YAML parser gives to scalars.
const (
	nullTag  = "!!null"
	boolTag  = "!!bool"
	intTag   = "!!int"
	floatTag = "!!float"
)

func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == nullTag }

// describe says what a node is. Texts are not quoted: they may be secret.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.DocumentNode, yaml.AliasNode, yaml.ScalarNode:
	}
	switch n.ShortTag() {
	case boolTag:
		return "true or false"
	case intTag, floatTag:
		return "the number " + n.Value
	case nullTag:
		return "nothing"
	}
	return "text"
}

func (d *decoding) isScalar(n *yaml.Node, path, want string) bool {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "", "is %s, not %s", describe(n), want)
		return false
	}
	return true
}

// scalar puts one word, number or text into v.
func (d *decoding) scalar(n *yaml.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if d.isScalar(n, path, "text") {
			v.SetString(n.Value)
		}
	case reflect.Bool:
		truth, ok := parseBool(n)
		if !ok {
			d.fail(n, path, "", "is %s, not true or false", describe(n))
		}
		v.SetBool(truth)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		number, ok := d.whole(n, path)
		if ok && v.OverflowInt(number) {
			d.fail(n, path, "", "%d is too large", number)
			return
		}
		v.SetInt(number)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		number, ok := d.whole(n, path)
		if ok && (number < 0 || v.OverflowUint(uint64(number))) {
			d.fail(n, path, "", "%d is out of range", number)
			return
		}
		v.SetUint(uint64(max(0, number)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(d.number(n, path))
	default:
		panic("document: " + v.Type().String() + " can't be read from a file")
	}
}

func parseBool(n *yaml.Node) (truth, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != boolTag {
		return false, false
	}
	truth, err := strconv.ParseBool(n.Value)
	return truth, err == nil
}

func (d *decoding) whole(n *yaml.Node, path string) (int64, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != intTag {
		d.fail(n, path, "", "is %s, not a whole number", describe(n))
		return 0, false
	}
	number, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || padded(n.Value) {
		d.fail(n, path, "", notDecimal)
		return 0, false
	}
	return number, true
}

const notDecimal = "write a number in decimal digits without leading zeros, or as text in quotes"

// padded reports whether a number begins with a zero that says nothing: an account id rather than a number.
func padded(text string) bool {
	return len(text) > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9'
}

func (d *decoding) number(n *yaml.Node, path string) float64 {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != intTag && n.ShortTag() != floatTag {
		d.fail(n, path, "", "is %s, not a number", describe(n))
		return 0
	}
	number, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsInf(number, 0) || math.IsNaN(number) || padded(n.Value) {
		d.fail(n, path, "", notDecimal)
		return 0
	}
	return number
}

// plain gives a node as what JSON can say: string, int, float64, bool, []any, map[string]any, or nil.
func (d *decoding) plain(n *yaml.Node, path string) any {
	switch n.Kind {
	case yaml.MappingNode:
		object := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			object[n.Content[i].Value] = d.plain(n.Content[i+1], Under(path, n.Content[i].Value))
		}
		return object
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			list = append(list, d.plain(item, At(path, i)))
		}
		return list
	case yaml.DocumentNode, yaml.AliasNode, yaml.ScalarNode:
	}
	switch n.ShortTag() {
	case nullTag:
		return nil
	case boolTag:
		truth, _ := parseBool(n)
		return truth
	case intTag:
		number, ok := d.whole(n, path)
		if ok && number == int64(int(number)) {
			return int(number)
		}
		return number
	case floatTag:
		return d.number(n, path)
	}
	return n.Value // dates too: whoever wants one parses it
}

func (d *decoding) duration(n *yaml.Node, path string) time.Duration {
	if !d.isScalar(n, path, "a duration such as 15m") {
		return 0
	}
	if n.ShortTag() == intTag && n.Value != "0" {
		d.fail(n, path, "", "%s of what? write a duration such as 15m or 90s", n.Value)
		return 0
	}
	length, err := time.ParseDuration(n.Value)
	if err != nil {
		d.fail(n, path, "", "%q is not a duration such as 90s, 15m or 24h", n.Value)
	}
	return length
}

// time reads RFC 3339, or a date, which is its first moment in UTC.
func (d *decoding) time(n *yaml.Node, path string) time.Time {
	if !d.isScalar(n, path, "a time such as 2026-12-31T18:00:00Z") {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if moment, err := time.Parse(layout, n.Value); err == nil {
			return moment
		}
	}
	d.fail(n, path, "", "%q is not a time such as 2026-12-31T18:00:00Z or a date such as 2026-12-31", n.Value)
	return time.Time{}
}

// secret reads {file: path}, {env: NAME} or the secret itself. Its mistakes never quote it.
func (d *decoding) secret(n *yaml.Node, path string) secret.Secret {
	if n.Kind == yaml.ScalarNode {
		return d.keep(path, secret.New(n.Value), true)
	}
	var from struct{ File, Env string }
	before := len(d.mistakes)
	d.value(n, reflect.ValueOf(&from).Elem(), path)
	switch {
	case len(d.mistakes) > before:
		return secret.Secret{}
	case from.File != "" && from.Env == "":
		return d.keep(path, secret.FromFile(from.File), false)
	case from.Env != "" && from.File == "":
		return d.keep(path, secret.FromEnv(from.Env), false)
	}
	d.fail(n, path, "", "a secret is written {file: path} or {env: NAME}")
	return secret.Secret{}
}

func (d *decoding) keep(path string, value secret.Secret, plain bool) secret.Secret {
	d.doc.secrets = append(d.doc.secrets, written{path: path, value: value, plain: plain})
	return value
}
