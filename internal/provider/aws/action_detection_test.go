package aws_test

import (
	"maps"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	configtypes "github.com/aws/aws-sdk-go-v2/service/configservice/types"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"
	guardtypes "github.com/aws/aws-sdk-go-v2/service/guardduty/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws/awstest"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
)

const restoreDetector = "aws.guardduty.restore_detector"

func suspend(t *testing.T, api *guardduty.Client) string {
	t.Helper()
	made := must[*guardduty.CreateDetectorOutput](t)(api.CreateDetector(t.Context(), &guardduty.CreateDetectorInput{
		Enable: sdk.Bool(false), Tags: map[string]string{"owner": "audit"},
		Features: []guardtypes.DetectorFeatureConfiguration{{Name: guardtypes.DetectorFeatureS3DataEvents, Status: guardtypes.FeatureStatusDisabled}},
	}))
	return *made.DetectorId
}

// detectors tells how the region is watched, but not by a detector of which id: one that is made anew has another.
func detectors(t *testing.T, api *guardduty.Client) string {
	t.Helper()
	list := must[*guardduty.ListDetectorsOutput](t)(api.ListDetectors(t.Context(), &guardduty.ListDetectorsInput{}))
	all := []object{}
	for _, id := range list.DetectorIds {
		got := must[*guardduty.GetDetectorOutput](t)(api.GetDetector(t.Context(), &guardduty.GetDetectorInput{DetectorId: sdk.String(id)}))
		features := map[string]string{}
		for _, f := range got.Features {
			features[string(f.Name)] = string(f.Status)
		}
		all = append(all, object{"status": got.Status, "features": features})
	}
	return dump(t, all)
}

func TestRestoreDetector(t *testing.T) {
	for before, prepare := range map[string]func(t *testing.T, api *guardduty.Client){
		"deleted": func(*testing.T, *guardduty.Client) {}, "suspended": func(t *testing.T, api *guardduty.Client) { t.Helper(); suspend(t, api) },
	} {
		t.Run(before, func(t *testing.T) {
			l := newLab(t)
			api := guardduty.NewFromConfig(l.direct)
			prepare(t, api)
			providertest.Contract(t, providertest.Case{
				Action: l.action(t, restoreDetector), Input: l.input(action.Params{"features": []string{"S3_DATA_EVENTS"}}), Door: l.door,
				State: func(t *testing.T) string { t.Helper(); return detectors(t, api) },
				// It watches or not: who changes it makes the plan's change, or undoes it. Nothing is named that could be missing.
			})
		})
	}
}

func TestRestoreDetectorSaysWhatElseIsOff(t *testing.T) {
	l := newLab(t)
	id := suspend(t, guardduty.NewFromConfig(l.direct))
	change := l.plan(t, restoreDetector, action.Params{})
	if change.Target.Kind != entity.Detector || change.Target.ID != id || change.Tags["owner"] != "audit" {
		t.Errorf("got target %v and tags %v", change.Target, change.Tags)
	}
	if !strings.Contains(strings.Join(change.Impact, "\n"), "S3_DATA_EVENTS") {
		t.Errorf("the impact does not say which features are off: %v", change.Impact)
	}
	l.refuses(t, restoreDetector, action.Params{"features": []string{"S3_DATA_EVENTS; x"}}, fault.Invalid)
}

// Undo deletes the detector that the step made, and no other: its findings would be gone.
func TestUndoDeletesNoDetectorOfOthers(t *testing.T) {
	l := newLab(t)
	api := guardduty.NewFromConfig(l.direct)
	do := l.action(t, restoreDetector)
	change := l.plan(t, restoreDetector, action.Params{})
	made := must[*guardduty.CreateDetectorOutput](t)(api.CreateDetector(t.Context(), &guardduty.CreateDetectorInput{Enable: sdk.Bool(true)}))
	done := action.Applied{Change: change, Result: must[action.Result](t)(do.Apply(t.Context(), change))}
	if done.Result.Changed {
		t.Error("somebody else made the detector, and Apply says that it did")
	}
	if _, err := do.(action.Undoer).Undo(t.Context(), done, true); !fault.Is(err, fault.Conflict) {
		t.Errorf("undo: got %v, want an error of kind conflict", err)
	}
	must[*guardduty.GetDetectorOutput](t)(api.GetDetector(t.Context(), &guardduty.GetDetectorInput{DetectorId: made.DetectorId}))
}

func TestSuppressFinding(t *testing.T) {
	l := newLab(t)
	api := guardduty.NewFromConfig(l.direct)
	detector := suspend(t, api)
	const name = "aws.guardduty.suppress_finding"
	params := action.Params{
		"detector_id": detector, "finding_type": "Recon:EC2/Portscan", "owner": "ada; <x>", "until": "2026-12-31",
		"criteria": map[string]any{"resource.instanceDetails.instanceId": []any{"i-0123456789abcdef0"}},
	}
	filter := sdk.String(l.plan(t, name, params).Outputs["filter"].(string))
	gone := maps.Clone(params)
	gone["detector_id"] = "0123"
	missing := l.input(gone)
	write := func(description string) {
		_, err := api.GetFilter(t.Context(), &guardduty.GetFilterInput{DetectorId: sdk.String(detector), FilterName: filter})
		criteria := &guardtypes.FindingCriteria{Criterion: map[string]guardtypes.Condition{"severity": {GreaterThan: sdk.Int64(3), Equals: []string{description}}}}
		if err != nil {
			must[*guardduty.CreateFilterOutput](t)(api.CreateFilter(t.Context(), &guardduty.CreateFilterInput{
				DetectorId: sdk.String(detector), Name: filter, Description: sdk.String(description), FindingCriteria: criteria, Action: guardtypes.FilterActionNoop,
			}))
			return
		}
		must[*guardduty.UpdateFilterOutput](t)(api.UpdateFilter(t.Context(), &guardduty.UpdateFilterInput{
			DetectorId: sdk.String(detector), FilterName: filter, Description: sdk.String(description), FindingCriteria: criteria,
		}))
	}
	more := ""
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(params), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got, err := api.GetFilter(t.Context(), &guardduty.GetFilterInput{DetectorId: sdk.String(detector), FilterName: filter})
			if err != nil {
				return "none"
			}
			return dump(t, object{"action": got.Action, "description": got.Description, "criteria": got.FindingCriteria})
		},
		Change: func(t *testing.T) { t.Helper(); more += "x"; write(more) },
	})
	change := l.plan(t, name, params)
	for _, says := range []string{"owner: ada_ _x_", "until: 2026-12-31", "incident: INC-1"} {
		if !strings.Contains(string(change.After), says) {
			t.Errorf("the description does not say %q: %s", says, change.After)
		}
	}
	for key, bad := range map[string]any{
		"finding_type": "*", "until": "some day", "criteria": map[string]any{}, "detector_id": "../x",
	} {
		given := maps.Clone(params)
		given[key] = bad
		l.refuses(t, name, given, fault.Invalid)
	}
}

// The emulator's Security Hub has no tags: it is tested against a small server of our own.
func TestEnableHub(t *testing.T) {
	f := newLacking(t)
	l := labAt(t, f.URL, awstest.Home)
	do := l.action(t, "aws.securityhub.enable_hub")
	input := l.input(action.Params{"default_standards": false})
	providertest.Contract(t, providertest.Case{
		Action: do, Input: input, Door: l.door, State: f.state,
		// It is on or not: who changes it makes the plan's change, or undoes it. Nothing is named that could be missing.
	})

	change := must[action.Change](t)(do.Plan(t.Context(), input))
	f.change(func() { f.hub = map[string]string{"owner": "audit"} })(t)
	if _, err := do.(action.Undoer).Undo(t.Context(), action.Applied{Change: change}, true); !fault.Is(err, fault.Conflict) {
		t.Errorf("undo of what somebody else enabled: got %v, want an error of kind conflict", err)
	}
	if f.hub == nil {
		t.Error("undo disabled what somebody else enabled")
	}
}

func TestStartRecorder(t *testing.T) {
	l := newLab(t)
	api := configservice.NewFromConfig(l.direct)
	must[*configservice.PutConfigurationRecorderOutput](t)(api.PutConfigurationRecorder(t.Context(), &configservice.PutConfigurationRecorderInput{
		ConfigurationRecorder: &configtypes.ConfigurationRecorder{
			Name: sdk.String("default"), RoleARN: sdk.String("arn:aws:iam::" + l.account + ":role/config"),
			RecordingGroup: &configtypes.RecordingGroup{ResourceTypes: []configtypes.ResourceType{configtypes.ResourceTypeBucket}},
		},
	}))
	must[*configservice.PutDeliveryChannelOutput](t)(api.PutDeliveryChannel(t.Context(), &configservice.PutDeliveryChannelInput{
		DeliveryChannel: &configtypes.DeliveryChannel{Name: sdk.String("default"), S3BucketName: sdk.String("config")},
	}))
	const name = "aws.config.start_recorder"
	missing := l.input(action.Params{"recorder": "gone"})
	change := l.plan(t, name, action.Params{"recorder": "default"})
	if !strings.Contains(strings.Join(change.Impact, "\n"), "every kind") {
		t.Errorf("the impact does not say that the recorder was narrowed: %v", change.Impact)
	}
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"recorder": "default"}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*configservice.DescribeConfigurationRecorderStatusOutput](t)(api.DescribeConfigurationRecorderStatus(t.Context(),
				&configservice.DescribeConfigurationRecorderStatusInput{}))
			return dump(t, got.ConfigurationRecordersStatus[0].Recording)
		},
		// It records or not: who changes it makes the plan's change, or undoes it.
	})
	l.refuses(t, name, action.Params{"recorder": "a b"}, fault.Invalid)
}

func TestEnableValidation(t *testing.T) {
	l := newLab(t)
	api, arn := trail(t, l, "eu-west-1")
	const name = "aws.cloudtrail.enable_validation"
	missing := l.input(action.Params{"trail": "gone"})
	providertest.Contract(t, providertest.Case{
		Action: l.action(t, name), Input: l.input(action.Params{"trail": arn}), Missing: &missing, Door: l.door,
		State: func(t *testing.T) string {
			t.Helper()
			got := must[*cloudtrail.DescribeTrailsOutput](t)(api.DescribeTrails(t.Context(), &cloudtrail.DescribeTrailsInput{}))
			return dump(t, got.TrailList[0].LogFileValidationEnabled)
		},
		// They are signed or not: who changes it makes the plan's change, or undoes it.
	})
	if change := l.plan(t, name, action.Params{"trail": "main"}); change.Tags["owner"] != "audit" || change.Target.ARN != arn {
		t.Errorf("got tags %v and target %v", change.Tags, change.Target)
	}
}

func TestRestoreSelectors(t *testing.T) {
	objects := []types.DataResource{{Type: sdk.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::payroll/"}}}
	category := func(value string, more ...types.AdvancedFieldSelector) []types.AdvancedFieldSelector {
		return append([]types.AdvancedFieldSelector{{Field: sdk.String("eventCategory"), Equals: []string{value}}}, more...)
	}
	readOnly := types.AdvancedFieldSelector{Field: sdk.String("readOnly"), Equals: []string{"true"}}
	lambda := types.AdvancedFieldSelector{Field: sdk.String("resources.type"), Equals: []string{"AWS::Lambda::Function"}}
	for narrowed, put := range map[string]*cloudtrail.PutEventSelectorsInput{
		"basic": {EventSelectors: []types.EventSelector{
			{ReadWriteType: types.ReadWriteTypeReadOnly, IncludeManagementEvents: sdk.Bool(true), ExcludeManagementEventSources: []string{"kms.amazonaws.com"}},
			{ReadWriteType: types.ReadWriteTypeWriteOnly, IncludeManagementEvents: sdk.Bool(false), DataResources: objects},
		}},
		"advanced": {AdvancedEventSelectors: []types.AdvancedEventSelector{
			{Name: sdk.String("reads"), FieldSelectors: category("Management", readOnly)}, {Name: sdk.String("calls"), FieldSelectors: category("Data", lambda)},
		}},
	} {
		t.Run(narrowed, func(t *testing.T) {
			l := newLab(t)
			api, arn := trail(t, l, "eu-west-1")
			put.TrailName = sdk.String("main")
			must[*cloudtrail.PutEventSelectorsOutput](t)(api.PutEventSelectors(t.Context(), put))
			const name = "aws.cloudtrail.restore_selectors"
			missing := l.input(action.Params{"trail": "gone"})
			more := ""
			do := l.action(t, name)
			providertest.Contract(t, providertest.Case{
				Action: do, Input: l.input(action.Params{"trail": arn}), Missing: &missing, Door: l.door,
				State: func(t *testing.T) string {
					t.Helper()
					got := must[*cloudtrail.GetEventSelectorsOutput](t)(api.GetEventSelectors(t.Context(), &cloudtrail.GetEventSelectorsInput{TrailName: sdk.String("main")}))
					return dump(t, object{"basic": got.EventSelectors, "advanced": got.AdvancedEventSelectors})
				},
				Change: func(t *testing.T) {
					t.Helper()
					more += "x"
					other := &cloudtrail.PutEventSelectorsInput{TrailName: sdk.String("main")}
					if put.EventSelectors != nil {
						other.EventSelectors = []types.EventSelector{{
							ReadWriteType: types.ReadWriteTypeReadOnly, IncludeManagementEvents: sdk.Bool(true),
							ExcludeManagementEventSources: []string{more + ".amazonaws.com"},
						}}
					} else {
						source := types.AdvancedFieldSelector{Field: sdk.String("eventSource"), NotEquals: []string{more + ".amazonaws.com"}}
						other.AdvancedEventSelectors = []types.AdvancedEventSelector{{Name: sdk.String("some"), FieldSelectors: category("Management", source)}}
					}
					must[*cloudtrail.PutEventSelectorsOutput](t)(api.PutEventSelectors(t.Context(), other))
				},
			})
		})
	}
}

// Data events that a trail logs stay; what chose among management events goes.
func TestRestoreSelectorsKeepsDataEvents(t *testing.T) {
	l := newLab(t)
	api, _ := trail(t, l, "eu-west-1")
	data := func(n int) (list []types.EventSelector) {
		for range n {
			list = append(list, types.EventSelector{
				ReadWriteType: types.ReadWriteTypeWriteOnly, IncludeManagementEvents: sdk.Bool(true),
				DataResources: []types.DataResource{{Type: sdk.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::payroll/"}}},
			})
		}
		return list
	}
	put := func(list []types.EventSelector) {
		must[*cloudtrail.PutEventSelectorsOutput](t)(api.PutEventSelectors(t.Context(),
			&cloudtrail.PutEventSelectorsInput{TrailName: sdk.String("main"), EventSelectors: list}))
	}
	put(data(1))
	const name = "aws.cloudtrail.restore_selectors"
	const want = `{"basic":[{"read_write":"All","management":true},` +
		`{"read_write":"WriteOnly","management":false,"data":[{"type":"AWS::S3::Object","values":["arn:aws:s3:::payroll/"]}]}]}`
	if got := string(l.plan(t, name, action.Params{"trail": "main"}).After); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	put(data(5)) // there is no room for a sixth
	l.refuses(t, name, action.Params{"trail": "main"}, fault.Invalid)
}
