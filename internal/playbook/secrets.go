package playbook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/expr"
)

// credential is what secrets look like that people paste: a playbook's text is shown, journaled and hashed.
var credential = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY|` +
	`https://hooks\.slack\.com/(services|workflows)/|` +
	`\bxox[abeoprs]-[0-9A-Za-z-]{10,}|\bxapp-[0-9A-Za-z-]{10,}|` +
	`\bgh[opsur]_[0-9A-Za-z]{30,}|\bgithub_pat_[0-9A-Za-z_]{30,}|\bglpat-[0-9A-Za-z_-]{20,}|` +
	`\bwhsec_[0-9A-Za-z+/=]{16,}|\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.|` +
	`(?i:\baws_secret_access_key\b|\bauthorization:\s*(bearer|basic)\s)`)

// secretive are names by which people try to read what a playbook can't.
var secretive = []string{"secret", "secrets", "env", "environment", "config", "credentials", "os", "aws"} //nolint:gochecknoglobals // a constant list

var undeclared = regexp.MustCompile(`undeclared reference to '([^']*)'`)

// explained says of an error of an expression what its author can do about it.
func explained(err error) error {
	found := undeclared.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	name, _, _ := strings.Cut(found[1], ".")
	if slices.Contains(secretive, name) {
		return fmt.Errorf("a playbook can't read %s: it would be in messages and in the journal; "+
			"name a channel or an endpoint of the configuration, which has the secret", name)
	}
	known := make([]string, 0, len(expr.Variables()))
	for _, variable := range expr.Variables() {
		known = append(known, string(variable))
	}
	if near := document.Suggest(name, known); near != "" {
		return fmt.Errorf("%q is no name that expressions know; did you mean %q?", name, near)
	}
	return fmt.Errorf("%q is no name that expressions know; there are %s", name, strings.Join(known, ", "))
}
