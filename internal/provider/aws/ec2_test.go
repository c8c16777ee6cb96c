package aws_test

import (
	"encoding/json"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/provider/aws"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

// ec2Lab is an account's EC2 at the emulator: Riposte's actions on it, and somebody else who uses it too.
type ec2Lab struct {
	t     *testing.T
	door  *providertest.Door // between Riposte and the emulator
	cloud *aws.Cloud
	other *ec2.Client // somebody else, past the door
	vpc   string
	net   string // subnet
}

func newEC2Lab(t *testing.T) *ec2Lab {
	t.Helper()
	return newEC2LabBehind(t, func(emulator string) string { return emulator })
}

// newEC2LabBehind is a lab where something stands between the door and the emulator.
func newEC2LabBehind(t *testing.T, between func(emulator string) string) *ec2Lab {
	t.Helper()
	emulator := awstest.Emulator(t)
	awstest.Credentials(t)
	door := providertest.NewDoor(t, between(emulator))
	cloud, err := aws.Connect(t.Context(), aws.Config{Enabled: true, Region: awstest.Region, Endpoint: door.URL})
	if err != nil {
		t.Fatal(err)
	}
	reach, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(awstest.Region), config.WithBaseEndpoint(emulator))
	if err != nil {
		t.Fatal(err)
	}
	l := &ec2Lab{t: t, door: door, cloud: cloud, other: ec2.NewFromConfig(reach)}
	vpc := given(l.other.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: sdk.String("10.0.0.0/16")}))(t)
	l.vpc = *vpc.Vpc.VpcId
	net := given(l.other.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: &l.vpc, CidrBlock: sdk.String("10.0.1.0/24")}))(t)
	l.net = *net.Subnet.SubnetId
	return l
}

// given ends a test where a call that it prepares with failed.
func given[V any](value V, err error) func(testing.TB) V {
	return func(tb testing.TB) V {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return value
	}
}

func (l *ec2Lab) action(name string) action.Action { //nolint:ireturn // what is tested are actions
	l.t.Helper()
	for _, do := range aws.EC2Actions(l.cloud) {
		if do.Spec().Name == name {
			return do
		}
	}
	l.t.Fatalf("no action is called %s", name)
	return nil
}

// input is what a run gives to an action.
func (l *ec2Lab) input(do action.Action, params map[string]any) action.Input {
	l.t.Helper()
	bound := given(action.Bind(do.Spec(), params))(l.t)
	return action.Input{
		Place: action.Place{Account: awstest.Home, Region: awstest.Region}, Params: bound,
		Incident: "INC-7", Run: "run-1", Step: "contain", Reason: "Riposte playbook test, incident INC-7", Token: l.t.Name(),
	}
}

func (l *ec2Lab) group(name string) string {
	l.t.Helper()
	made := given(l.other.CreateSecurityGroup(l.t.Context(), &ec2.CreateSecurityGroupInput{
		GroupName: &name, Description: sdk.String("of a test"), VpcId: &l.vpc,
	}))(l.t)
	return *made.GroupId
}

// launch launches an instance in groups, with a tag. They are given with its interface: the emulator counts groups that
// are the instance's own as those of all its interfaces for good.
func (l *ec2Lab) launch(groups ...string) string {
	l.t.Helper()
	started := given(l.other.RunInstances(l.t.Context(), &ec2.RunInstancesInput{
		ImageId: sdk.String("ami-12c6146b"), MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), InstanceType: types.InstanceTypeT3Micro,
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: sdk.Int32(0), SubnetId: &l.net, Groups: groups}},
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance,
			Tags:         []types.Tag{{Key: sdk.String("service"), Value: sdk.String("shop")}},
		}},
	}))(l.t)
	return *started.Instances[0].InstanceId
}

func (l *ec2Lab) instance(id string) types.Instance {
	l.t.Helper()
	found := given(l.other.DescribeInstances(l.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}}))(l.t)
	return found.Reservations[0].Instances[0]
}

// text is a state for comparison, one value a line.
func text(t *testing.T, state any) string {
	t.Helper()
	return string(given(json.MarshalIndent(state, "", " "))(t))
}

func missingInstance(in action.Input) *action.Input {
	in.Params = action.Params{"instance_id": "i-0123456789abcdef0"}
	return &in
}

func TestPopulationCountsInstancesAndGroups(t *testing.T) {
	l := newEC2Lab(t)
	l.launch(l.group("counted"))
	for _, do := range aws.EC2Actions(l.cloud) {
		counter, ok := do.(action.Counter)
		if !ok {
			if do.Spec().Effect.Changes() {
				t.Errorf("%s changes things and is no action.Counter", do.Spec().Name)
			}
			continue
		}
		number := given(counter.Population(t.Context(), action.Place{}))(t)
		if number < 1 {
			t.Errorf("%s: got a population of %d, want at least 1", do.Spec().Name, number)
		}
		l.door.Seen()
		given(counter.Population(t.Context(), action.Place{}))(t)
		if again := l.door.Seen(); len(again) > 0 {
			t.Errorf("%s: counted again within a minute: %v", do.Spec().Name, again)
		}
	}
}

func TestPlanWithoutPlaceIsOfTheHomeAccountAndRegion(t *testing.T) {
	l := newEC2Lab(t)
	id := l.launch(l.group("homeless"))
	for _, name := range []string{"aws.ec2.isolate_instance", "aws.ec2.snapshot_volumes", "aws.ec2.describe_instance"} {
		do := l.action(name)
		in := l.input(do, map[string]any{"instance_id": id})
		in.Place = action.Place{}
		change := given(do.Plan(t.Context(), in))(t)
		if want := (action.Place{Account: awstest.Home, Region: awstest.Region}); change.Place != want || change.Target.Account != want.Account {
			t.Errorf("%s: got place %v and target %v, want %v", name, change.Place, change.Target, want)
		}
		if change.Tags["service"] != "shop" {
			t.Errorf("%s: got tags %v, want the instance's", name, change.Tags)
		}
	}
}
