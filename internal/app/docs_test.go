package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/ledger"
	"github.com/riposte-sec/riposte/internal/secret"
)

// page reads a page of the manual.
func page(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// row is one of a table: the keys of its first cell, the default of the second, and all that it says.
type row struct {
	keys []string
	otherwise,
	text string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// table gives the rows of the page's table of keys.
func table(tb testing.TB) []row {
	tb.Helper()
	var rows []row
	_, text, _ := strings.Cut(page(tb, "docs/configuration.md"), "| key | default |")
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			if len(rows) > 0 {
				break
			}
			continue
		}
		one := row{otherwise: strings.TrimSpace(cells[2]), text: line}
		for _, found := range quoted.FindAllStringSubmatch(cells[1], -1) {
			one.keys = append(one.keys, found[1])
		}
		if len(one.keys) > 0 {
			rows = append(rows, one)
		}
	}
	if len(rows) < 20 {
		tb.Fatalf("found %d rows", len(rows))
	}
	return rows
}

// leaves gives the dotted keys of a type, without the names that people give in mappings and lists.
func leaves(t reflect.Type, at string) []string {
	itself := []any{secret.Secret{}, time.Time{}, time.Duration(0)}
	pointer := reflect.PointerTo(t)
	switch {
	case slices.ContainsFunc(itself, func(v any) bool { return reflect.TypeOf(v) == t }),
		pointer.Implements(reflect.TypeFor[document.Unmarshaler]()), pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return []string{at}
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		return leaves(t.Elem(), at)
	case t.Kind() != reflect.Struct:
		return []string{at}
	}
	var all []string
	for field := range t.Fields() {
		all = append(all, leaves(field.Type, strings.TrimPrefix(at+"."+field.Tag.Get("yaml"), "."))...)
	}
	return all
}

func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	rows, known := table(t), leaves(reflect.TypeFor[app.Config](), "")
	if len(known) < 60 {
		t.Fatalf("found %d keys: %v", len(known), known)
	}
	// A key is documented by its own row, or by that of a key above it which says it: by its end.
	for _, key := range known {
		documented := slices.ContainsFunc(rows, func(r row) bool {
			return slices.ContainsFunc(r.keys, func(above string) bool {
				if key == above {
					return true
				}
				below, is := strings.CutPrefix(key, above+".")
				_, last, _ := strings.Cut(below, ".")
				names := quoted.FindAllString(r.text, -1)
				return is && (slices.Contains(names, "`"+below+"`") || last != "" && slices.Contains(names, "`"+last+"`")) ||
					slices.Contains(names, "`"+key+"`")
			})
		})
		if !documented {
			t.Errorf("docs/configuration.md does not say what %s is", key)
		}
	}
	for _, r := range rows {
		for _, key := range r.keys {
			is := func(k string) bool { return k == key || strings.HasPrefix(k, key+".") }
			if !slices.ContainsFunc(known, is) {
				t.Errorf("docs/configuration.md documents %s, which there is not", key)
			}
		}
	}
}

func TestDocumentedDefaultsAreTheDefaults(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, r := range table(t) {
		var told []string
		for _, found := range quoted.FindAllStringSubmatch(r.otherwise, -1) {
			told = append(told, found[1])
		}
		if len(told) != len(r.keys) || quoted.ReplaceAllString(r.otherwise, "") != strings.Repeat(", ", len(told)-1) {
			continue // in words
		}
		for i, key := range r.keys {
			got := value(reflect.ValueOf(app.Defaults()), key)
			if took, err := time.ParseDuration(told[i]); err == nil {
				told[i] = took.String()
			}
			if !strings.EqualFold(got, told[i]) {
				t.Errorf("docs/configuration.md says that %s is %s by default; it is %s", key, told[i], got)
			}
			checked++
		}
	}
	if checked < 10 {
		t.Errorf("compared %d defaults; is the table another one now?", checked)
	}
}

// value gives what stands at a dotted key, as text.
func value(v reflect.Value, key string) string {
	name, below, deeper := strings.Cut(key, ".")
	for field, inner := range v.Fields() {
		if field.Tag.Get("yaml") == name {
			if deeper {
				return value(inner, below)
			}
			return fmt.Sprint(inner.Interface())
		}
	}
	return "not there"
}

func TestTheTableOfRolesIsTheTable(t *testing.T) {
	t.Parallel()
	text := page(t, "docs/configuration.md")
	names := make([]string, 0, len(auth.Roles()))
	for _, role := range auth.Roles() {
		names = append(names, "`"+string(role)+"`")
	}
	head := "| permission | " + strings.Join(names, " | ") + " |"
	if !strings.Contains(text, head) {
		t.Errorf("there is no table that begins %s", head)
	}
	for _, p := range auth.Permissions() {
		line := "| `" + string(p) + "`: "
		at := strings.Index(text, line)
		if at < 0 {
			t.Errorf("%s is not in the table", p)
			continue
		}
		told, _, _ := strings.Cut(text[at:], "\n")
		cells := strings.Split(strings.Trim(told, "|"), "|")[1:]
		for i, role := range auth.Roles() {
			if may := i < len(cells) && strings.TrimSpace(cells[i]) == "yes"; may != role.May(p) {
				t.Errorf("the table says of %s that %s may: %t", p, role, may)
			}
		}
	}
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// The examples of the manual are configurations that Riposte takes.
func TestExamplesAreTaken(t *testing.T) {
	key, err := ledger.GenerateKey("example")
	if err != nil {
		t.Fatal(err)
	}
	certificate, private := pair(t)
	t.Setenv("RIPOSTE_STORE", "postgres://riposte@db.example.com/riposte")
	t.Setenv("RIPOSTE_EXTERNAL_ID", "x")
	for _, name := range []string{"README.md", "docs/configuration.md"} {
		blocks := yamlBlock.FindAllStringSubmatch(page(t, name), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, block := range blocks {
			text := block[1]
			if indent, _, _ := strings.Cut(text, "#"); strings.TrimSpace(indent) == "" { // within a list
				text = strings.ReplaceAll(text, "\n"+indent, "\n")[len(indent):]
			}
			folder := files(t, map[string]string{
				"riposte.yaml": text, "ledger.key": key, "slack.url": "https://hooks.slack.com/services/x", "tls.crt": certificate, "tls.key": private,
			})
			if _, warnings, err := app.ReadConfig(filepath.Join(folder, "riposte.yaml")); err != nil || len(warnings) != 0 {
				t.Errorf("%s: the example is not taken: %v %v", name, warnings, err)
			}
		}
	}
}

// pair makes a certificate and its key.
func pair(tb testing.TB) (certificate, private string) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}
