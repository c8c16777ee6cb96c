package app

import (
	"time"

	"github.com/riposte-sec/riposte/internal/guardrail"
)

// ProtectionsOf gives what a configuration protects.
func ProtectionsOf(c Config) ([]guardrail.Protection, error) { return c.protections(time.Time{}) }
