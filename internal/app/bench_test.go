package app_test

import (
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
)

// BenchmarkLoadContent reads, checks and compiles all that is shipped, as every start does.
func BenchmarkLoadContent(b *testing.B) {
	c := app.Defaults()
	specs := app.AllSpecs(c)
	for b.Loop() {
		if _, err := app.LoadContent(c.Content, specs, specs, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
