package aws_test

import (
	"net/http"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

func TestTerminateInstanceKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.do("aws.ec2.terminate_instance")
	in := l.input(do, map[string]any{"instance_id": instance})
	device := 'f'
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: missingInstance(in), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			found := l.instance(instance)
			return text(t, []any{found.State.Name, found.BlockDeviceMappings})
		},
		Change: func(*testing.T) {
			l.attach(instance, "/dev/sd"+string(device))
			device++
		},
	})
}

// What somebody protects is evidence: it is refused, not unprotected.
func TestTerminateInstanceRefusesWhatIsProtected(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	l.applies("aws.ec2.preserve_instance", map[string]any{"instance_id": instance})
	l.refuses("aws.ec2.terminate_instance", map[string]any{"instance_id": instance}, fault.Denied, "protected from termination")
}

func TestTerminateInstanceSaysWhatIsLost(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	volume := *l.instance(instance).BlockDeviceMappings[0].Ebs.VolumeId
	says(t, l.plans("aws.ec2.terminate_instance", map[string]any{"instance_id": instance}).Impact, volume, "NO snapshot")
	given(l.other.CreateSnapshot(t.Context(), &ec2.CreateSnapshotInput{VolumeId: &volume}))(t)
	says(t, l.plans("aws.ec2.terminate_instance", map[string]any{"instance_id": instance}).Impact, volume, "newest snapshot is of")
}

func (l *ec2Lab) elastic() *ec2.AllocateAddressOutput {
	l.t.Helper()
	return given(l.other.AllocateAddress(l.t.Context(), &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc}))(l.t)
}

func (l *ec2Lab) lead(address *ec2.AllocateAddressOutput, instance string) {
	l.t.Helper()
	port := l.instance(instance).NetworkInterfaces[0]
	given(l.other.AssociateAddress(l.t.Context(), &ec2.AssociateAddressInput{
		AllocationId: address.AllocationId, NetworkInterfaceId: port.NetworkInterfaceId, PrivateIpAddress: port.PrivateIpAddress,
		AllowReassociation: sdk.Bool(true),
	}))(l.t)
}

func TestDisassociateAddressKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	web := l.group("web")
	instance, other := l.launch(web), l.launch(web)
	address := l.elastic()
	l.lead(address, instance)
	do := l.do("aws.ec2.disassociate_address")
	in := l.input(do, map[string]any{"public_ip": *address.PublicIp})
	others := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "public_ip", "203.0.113.99"), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			found := given(l.other.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{AllocationIds: []string{*address.AllocationId}}))(t)
			return text(t, []any{found.Addresses[0].NetworkInterfaceId, found.Addresses[0].PrivateIpAddress})
		},
		Change: func(*testing.T) {
			others++
			l.lead(address, []string{instance, other}[others%2])
		},
	})
	l.refuses("aws.ec2.disassociate_address", map[string]any{"public_ip": "0.0.0.0/0"}, fault.Invalid, "not an IPv4 address")
}

func TestTagResourceKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	instance := l.launch(l.group("web"))
	do := l.do("aws.ec2.tag_resource")
	in := l.input(do, map[string]any{"resource_id": instance})
	others := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "resource_id", "i-0123456789abcdef0"), Door: l.door,
		State: func(t *testing.T) string { t.Helper(); return text(t, l.instance(instance).Tags) },
		Change: func(t *testing.T) {
			t.Helper()
			others++
			given(l.other.CreateTags(t.Context(), &ec2.CreateTagsInput{
				Resources: []string{instance}, Tags: []types.Tag{{Key: sdk.String("riposte:incident"), Value: sdk.String("INC-other-" + string(rune('a'+others)))}},
			}))(t)
		},
	})
}

// Policies and protections go by tags: a key that decides something is none that an event may set.
func TestTagResourceRefusesKeysThatDecide(t *testing.T) {
	l := newEC2Lab(t)
	group := l.group("web")
	instance := l.launch(group)
	for _, key := range []string{"Environment", "aws:autoscaling:groupName", "riposte:quarantine", "riposte:token", "riposte:", "Riposte:x"} {
		l.refuses("aws.ec2.tag_resource", map[string]any{"resource_id": instance, "key": key}, fault.Invalid, "key")
	}
	l.refuses("aws.ec2.tag_resource", map[string]any{"resource_id": "i-1; drop"}, fault.Invalid, "resource_id")
	l.refuses("aws.ec2.tag_resource", map[string]any{"resource_id": instance, "value": "a\nb"}, fault.Invalid, "value")
	found := l.instance(instance)
	for _, id := range []string{group, *found.BlockDeviceMappings[0].Ebs.VolumeId, *found.NetworkInterfaces[0].NetworkInterfaceId} {
		l.applies("aws.ec2.tag_resource", map[string]any{"resource_id": id})
		if !l.plans("aws.ec2.tag_resource", map[string]any{"resource_id": id}).Noop {
			t.Errorf("%s is not tagged", id)
		}
	}
}

func (l *ec2Lab) image() string {
	l.t.Helper()
	made := given(l.other.CreateImage(l.t.Context(), &ec2.CreateImageInput{InstanceId: sdk.String(l.launch(l.group("web"))), Name: sdk.String("of " + l.t.Name())}))(l.t)
	return *made.ImageId
}

func (l *ec2Lab) shareImage(id string, with ...types.LaunchPermission) {
	l.t.Helper()
	given(l.other.ModifyImageAttribute(l.t.Context(), &ec2.ModifyImageAttributeInput{
		ImageId: &id, LaunchPermission: &types.LaunchPermissionModifications{Add: with},
	}))(l.t)
}

func TestUnshareImageKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	id := l.image()
	l.shareImage(id, types.LaunchPermission{Group: types.PermissionGroupAll}, types.LaunchPermission{UserId: sdk.String("111122223333")},
		types.LaunchPermission{UserId: sdk.String("222233334444")},
		types.LaunchPermission{OrganizationArn: sdk.String("arn:aws:organizations::111122223333:organization/o-abcdefghij")})
	do := l.do("aws.ec2.unshare_image")
	in := l.input(do, map[string]any{"image_id": id, "keep": []string{"222233334444"}})
	others := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "image_id", "ami-0123456789abcdef0"), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			found := given(l.other.DescribeImageAttribute(t.Context(), &ec2.DescribeImageAttributeInput{
				ImageId: &id, Attribute: types.ImageAttributeNameLaunchPermission,
			}))(t)
			return sorted(t, found.LaunchPermissions)
		},
		Change: func(*testing.T) {
			others++
			l.shareImage(id, types.LaunchPermission{UserId: sdk.String("33334444555" + string(rune('0'+others)))})
		},
	})
	l.refuses("aws.ec2.unshare_image", map[string]any{"image_id": "ami-12c6146b"}, fault.Denied, "belongs to account") // the image it was launched from
	l.refuses("aws.ec2.unshare_image", map[string]any{"image_id": id, "keep": []string{"*"}}, fault.Invalid, "keep")
}

// sorted gives a list as text, whose order the provider doesn't promise.
func sorted[T any](t *testing.T, list []T) string {
	t.Helper()
	lines := make([]string, 0, len(list))
	for _, each := range list {
		lines = append(lines, text(t, each))
	}
	return text(t, slices.Sorted(slices.Values(lines)))
}

func (l *ec2Lab) snapshotOfOne() string {
	l.t.Helper()
	volume := *l.instance(l.launch(l.group("web"))).BlockDeviceMappings[0].Ebs.VolumeId
	return *given(l.other.CreateSnapshot(l.t.Context(), &ec2.CreateSnapshotInput{VolumeId: &volume}))(l.t).SnapshotId
}

func (l *ec2Lab) shareSnapshot(id string, groups []string, accounts ...string) {
	l.t.Helper()
	given(l.other.ModifySnapshotAttribute(l.t.Context(), &ec2.ModifySnapshotAttributeInput{
		SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: types.OperationTypeAdd,
		GroupNames: groups, UserIds: accounts,
	}))(l.t)
}

func TestUnshareSnapshotKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	id := l.snapshotOfOne()
	l.shareSnapshot(id, []string{"all"}, "111122223333", "222233334444")
	do := l.do("aws.ebs.unshare_snapshot")
	in := l.input(do, map[string]any{"snapshot_id": id, "keep": []string{"222233334444"}})
	others := 0
	providertest.Contract(t, providertest.Case{
		Action: do, Input: in, Missing: absent(in, "snapshot_id", "snap-0123456789abcdef0"), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			found := given(l.other.DescribeSnapshotAttribute(t.Context(), &ec2.DescribeSnapshotAttributeInput{
				SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission,
			}))(t)
			return sorted(t, found.CreateVolumePermissions)
		},
		Change: func(*testing.T) {
			others++
			l.shareSnapshot(id, nil, "33334444555"+string(rune('0'+others)))
		},
	})
	change := l.plans("aws.ebs.unshare_snapshot", map[string]any{"snapshot_id": id})
	says(t, change.Impact, "EVERYBODY", "stay theirs")
	says(t, change.Impact, "GiB", "not encrypted")
}

func TestEncryptByDefaultKeepsTheContract(t *testing.T) {
	l := newEC2Lab(t)
	do := l.do("aws.ebs.encrypt_by_default")
	providertest.Contract(t, providertest.Case{ // it is on or off: nobody makes a plan no longer fit
		Action: do, Input: l.input(do, nil), Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			return text(t, given(l.other.GetEbsEncryptionByDefault(t.Context(), &ec2.GetEbsEncryptionByDefaultInput{}))(t).EbsEncryptionByDefault)
		},
	})
}

// publicBlock is a small fake of the account's block of public snapshots, which the emulator doesn't have.
func publicBlock(state *string) *protocol {
	say := func(operation string) string {
		return `<` + operation + `Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>1</requestId><state>` + *state + `</state></` + operation + `Response>`
	}
	return &protocol{answers: map[string]func(map[string]any) (any, *refusal){
		"GetSnapshotBlockPublicAccessState": func(map[string]any) (any, *refusal) { return say("GetSnapshotBlockPublicAccessState"), nil },
		"EnableSnapshotBlockPublicAccess": func(body map[string]any) (any, *refusal) {
			asked, ok := body["State"].(string)
			if !ok || asked != "block-all-sharing" && asked != "block-new-sharing" {
				return nil, &refusal{http.StatusBadRequest, "InvalidParameterValue"}
			}
			*state = asked
			return say("EnableSnapshotBlockPublicAccess"), nil
		},
		"DisableSnapshotBlockPublicAccess": func(map[string]any) (any, *refusal) {
			*state = "unblocked"
			return say("DisableSnapshotBlockPublicAccess"), nil
		},
	}}
}

// The emulator lacks the operations of the block; a small fake answers them.
func TestBlockPublicSnapshotsKeepsTheContract(t *testing.T) {
	flip := map[string]string{"unblocked": "block-new-sharing", "block-new-sharing": "unblocked"}
	state, before := "unblocked", "unblocked"
	fake := publicBlock(&state)
	fake.answers["DescribeSnapshots"] = func(map[string]any) (any, *refusal) { // the emulator takes its time
		return `<DescribeSnapshotsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><snapshotSet/></DescribeSnapshotsResponse>`, nil
	}
	l := newEC2LabBehind(t, fake.before(t))
	do := l.do("aws.ebs.block_public_snapshots")
	providertest.Contract(t, providertest.Case{
		Action: do, Input: l.input(do, nil), Door: l.door,
		State: func(*testing.T) string { return state },
		Change: func(*testing.T) {
			before = flip[before]
			state = before
		},
		ChangeAfter: func(*testing.T) { state = flip[before] },
	})
}

func TestBlockPublicSnapshotsCountsThem(t *testing.T) {
	state := "unblocked"
	l := newEC2LabBehind(t, publicBlock(&state).before(t))
	change := l.plans("aws.ebs.block_public_snapshots", nil)
	says(t, change.Impact, "public snapshot")
	if change.Target.ID != change.Account || change.Noop {
		t.Errorf("got target %v and noop %t", change.Target, change.Noop)
	}
	state = "block-all-sharing"
	if change = l.plans("aws.ebs.block_public_snapshots", nil); !change.Noop {
		t.Errorf("there is something to do for what is blocked: %v", change.Calls)
	}
}
