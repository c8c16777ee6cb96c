package entity_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/riposte-sec/riposte/internal/entity"
)

// Kinds is what expressions and subjects go by: it has every constant, once.
func TestKindsAreAll(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("entity.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^\t\w+ +Kind = "([a-z_]+)"`).FindAllStringSubmatch(string(text), -1)
	if len(declared) != len(entity.Kinds()) || len(declared) < 40 {
		t.Errorf("%d kinds are declared, %d listed", len(declared), len(entity.Kinds()))
	}
	for i, kind := range declared {
		if i < len(entity.Kinds()) && string(entity.Kinds()[i]) != kind[1] {
			t.Errorf("kind %d is %s, listed as %s", i, kind[1], entity.Kinds()[i])
		}
	}
	sorted := slices.Sorted(slices.Values(entity.Kinds()))
	if len(slices.Compact(sorted)) != len(entity.Kinds()) {
		t.Error("a kind is listed twice")
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		a, b entity.Entity
		same bool
	}{
		"a key is one everywhere": {
			entity.Entity{Kind: entity.AccessKey, ID: "AKIA1", Account: "1", Region: "eu-west-1", Part: entity.Actor},
			entity.Entity{Kind: entity.AccessKey, ID: "AKIA1", Part: entity.Target, Derived: true},
			true,
		},
		"a bucket is one everywhere": {
			entity.Entity{Kind: entity.Bucket, ID: "logs", Account: "1"}, entity.Entity{Kind: entity.Bucket, ID: "logs", Account: "2"}, true,
		},
		"a user is one within an account": {
			entity.Entity{Kind: entity.User, ID: "ann", Account: "1"}, entity.Entity{Kind: entity.User, ID: "ann", Account: "2"}, false,
		},
		"a user has no region": {
			entity.Entity{Kind: entity.User, ID: "ann", Account: "1", Region: "a"}, entity.Entity{Kind: entity.User, ID: "ann", Account: "1", Region: "b"}, true,
		},
		"a function is one within a region": {
			entity.Entity{Kind: entity.Function, ID: "f", Account: "1", Region: "a"}, entity.Entity{Kind: entity.Function, ID: "f", Account: "1", Region: "b"}, false,
		},
		"kinds differ":            {entity.Entity{Kind: entity.User, ID: "x"}, entity.Entity{Kind: entity.Role, ID: "x"}, false},
		"a place is not the name": {entity.Entity{Kind: entity.Volume, ID: "v", Account: "1", Region: ""}, entity.Entity{Kind: entity.Volume, ID: "v", Account: "", Region: "1"}, false},
	} {
		if same := test.a.Key() == test.b.Key(); same != test.same {
			t.Errorf("%s: keys %q and %q", name, test.a.Key(), test.b.Key())
		}
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind entity.Kind
		id   string
		want bool
	}{
		"a key":               {entity.AccessKey, "AKIA1", true},
		"an instance":         {entity.Instance, "i-1", true},
		"a kind to come":      {"satellite", "s-1", true},
		"nothing":             {entity.Instance, "", false},
		"an account":          {entity.Account, "111122223333", false},
		"a user agent":        {entity.UserAgent, "curl", false},
		"a network":           {entity.VPC, "vpc-1", false},
		"public address":      {entity.IP, "198.51.100.7", true},
		"public address of 6": {entity.IP, "2001:db8::1", true},
		"private address":     {entity.IP, "10.1.2.3", false},
		"private, of 6":       {entity.IP, "fd00::1", false},
		"private, 4 in 6":     {entity.IP, "::ffff:10.1.2.3", false},
		"this machine":        {entity.IP, "127.0.0.1", false},
		"link":                {entity.IP, "169.254.169.254", false},
		"everybody":           {entity.IP, "0.0.0.0", false},
		"all at once":         {entity.IP, "255.255.255.255", false},
		"a service of AWS":    {entity.IP, "cloudformation.amazonaws.com", false},
		"no address":          {entity.IP, "", false},
	} {
		if got := (entity.Entity{Kind: test.kind, ID: test.id}).Groups(); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}
