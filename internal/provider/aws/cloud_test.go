package aws_test

import (
	"testing"

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
