package aws_test

import (
	"testing"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
)

// connect gives a cloud at the emulator. Accounts other than awstest.Home are reached by a role.
func connect(tb testing.TB) *aws.Cloud {
	tb.Helper()
	endpoint := awstest.Emulator(tb)
	awstest.Credentials(tb)
	cloud, err := aws.Connect(tb.Context(), aws.Config{
		Enabled: true, Region: awstest.Region, Endpoint: endpoint, AssumeRole: "riposte-responder",
	})
	if err != nil {
		tb.Fatal(err)
	}
	return cloud
}

func TestConnectTellsWhoWeAre(t *testing.T) {
	cloud := connect(t)
	if got := cloud.Self().Account; got != awstest.Home {
		t.Errorf("got account %s, want %s", got, awstest.Home)
	}
	if err := cloud.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRegionsOfStrangersAreRefused has a finding name a region that would lead to somebody else's host.
func TestRegionsOfStrangersAreRefused(t *testing.T) {
	cloud := connect(t)
	for _, act := range cloud.Actions() {
		if act.Spec().Name != "aws.ec2.describe_instance" {
			continue
		}
		for _, region := range []string{"eu-central-1.example.com/#", "eu-central-1@example.com", "global", "eu", "EU-CENTRAL-1", "eu-central-1\n"} {
			params, err := action.Bind(act.Spec(), map[string]any{"instance_id": "i-0123456789abcdef0"})
			if err != nil {
				t.Fatal(err)
			}
			_, err = act.Plan(t.Context(), action.Input{Params: params, Place: action.Place{Account: awstest.Home, Region: region}})
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("region %q: got %v, want an error of kind invalid", region, err)
			}
		}
		return
	}
	t.Fatal("there is no such action")
}
