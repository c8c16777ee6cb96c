package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// ProtectionsOf gives what a configuration protects.
func ProtectionsOf(c Config) ([]guardrail.Protection, error) { return c.protections(time.Time{}) }

// CheckShipped holds the shipped playbooks against all actions of this build.
func CheckShipped() error {
	c := Defaults()
	specs := AllSpecs(c)
	books, _, err := loadPlaybooks(c.Content, &disabled{met: map[string]bool{}})
	errs := []error{err}
	for _, book := range books {
		errs = append(errs, playbook.Check(book.Playbook, playbook.Installation{Actions: specs, Roles: roles(), Rotations: rotations(specs)}))
	}
	if len(books) < 50 {
		errs = append(errs, fmt.Errorf("only %d playbooks are shipped", len(books)))
	}
	return errors.Join(errs...)
}
