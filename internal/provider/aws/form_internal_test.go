package aws

import (
	"regexp"
	"testing"
)

func TestFormsAreWellWritten(t *testing.T) {
	t.Parallel()
	if len(forms) < 40 {
		t.Fatalf("%d forms", len(forms))
	}
	for _, f := range forms {
		if _, err := regexp.Compile(f.text); err != nil {
			t.Error(err)
		}
	}
}
