package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/configservice"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

var recorderForm = shaped(`^[A-Za-z0-9_.-]{1,256}$`)

// recording is whether AWS Config's recorder records.
type recording struct {
	Recording bool `json:"recording"`
}

// startRecorder makes aws.config.start_recorder.
func startRecorder(c *Cloud) *placed[recording] {
	return setting(c, action.Setting[recording]{
		About: startRecorderSpec(),
		Target: func(in action.Input) entity.Entity {
			at := c.here(in.Place)
			return entity.Entity{
				Kind: entity.Recorder, ID: in.Params.String("recorder"), Part: entity.Target, Provider: "aws", Account: at.Account, Region: at.Region,
			}
		},
		Read: c.readRecorder,
		Want: func(action.Input, recording) (recording, error) { return recording{Recording: true}, nil },
		Write: func(ctx context.Context, in action.Input, _, to recording) (recording, error) {
			api, err := service(c, in.Place, configservice.NewFromConfig)
			if err != nil {
				return recording{}, err
			}
			name := aws.String(in.Params.String("recorder"))
			if to.Recording {
				_, err = api.StartConfigurationRecorder(ctx, &configservice.StartConfigurationRecorderInput{ConfigurationRecorderName: name})
			} else {
				_, err = api.StopConfigurationRecorder(ctx, &configservice.StopConfigurationRecorderInput{ConfigurationRecorderName: name})
			}
			if err != nil {
				return recording{}, fmt.Errorf("set recording of %s to %t: %w", *name, to.Recording, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ recording) []string {
			return []string{"config:StartConfigurationRecorder " + in.Params.String("recorder")}
		},
		Summary: func(in action.Input, from, _ recording) string {
			return fmt.Sprintf("AWS Config's recorder %s records%s", in.Params.String("recorder"), flip(from.Recording, "", " again"))
		},
		Facts: c.recorderFacts,
	})
}

func startRecorderSpec() action.Spec {
	const recorders = "arn:{partition}:config:{region}:{account}:configuration-recorder/*"
	return action.Spec{
		Name:    "aws.config.start_recorder",
		Summary: "Start AWS Config's recorder again",
		Doc: "Starts the recorder. What it records is not changed: the plan says whether that is everything, so that people see what else was " +
			"tampered with. One that was deleted, or whose delivery channel was, is not made anew.\n\n" +
			"**Undo stops the recorder** if it was stopped before. It is seldom what you want.",
		Effect: action.Contain,
		Params: []action.Param{
			{Name: "recorder", Type: action.String, Required: true, Entity: entity.Recorder, Doc: "name of the recorder, mostly default"},
		},
		Permissions: slices.Concat(
			reads("*", "config:DescribeConfigurationRecorders", "config:DescribeConfigurationRecorderStatus"),
			writes(recorders, "config:StartConfigurationRecorder"), undoes(recorders, "config:StopConfigurationRecorder"),
		),
	}
}

func (c *Cloud) readRecorder(ctx context.Context, in action.Input) (recording, error) {
	name := in.Params.String("recorder")
	if !recorderForm.MatchString(name) {
		return recording{}, fault.New(fault.Invalid, "recorder: %q is no name of a recorder", shorten(name))
	}
	api, err := service(c, in.Place, configservice.NewFromConfig)
	if err != nil {
		return recording{}, err
	}
	got, err := api.DescribeConfigurationRecorderStatus(ctx,
		&configservice.DescribeConfigurationRecorderStatusInput{ConfigurationRecorderNames: []string{name}})
	if err != nil {
		return recording{}, fmt.Errorf("read status of recorder %s: %w", name, classify(err))
	}
	for _, status := range got.ConfigurationRecordersStatus {
		if aws.ToString(status.Name) == name {
			return recording{Recording: status.Recording}, nil
		}
	}
	return recording{}, fault.New(fault.NotFound, "there is no recorder %s", name)
}

func (c *Cloud) recorderFacts(ctx context.Context, in action.Input, _ recording, change *action.Change) error {
	api, err := service(c, in.Place, configservice.NewFromConfig)
	if err != nil {
		return err
	}
	name := in.Params.String("recorder")
	got, err := api.DescribeConfigurationRecorders(ctx,
		&configservice.DescribeConfigurationRecordersInput{ConfigurationRecorderNames: []string{name}})
	if err != nil {
		return fmt.Errorf("read recorder %s: %w", name, classify(err))
	}
	change.Impact = []string{"AWS Config costs money for what it records", "changes of the time while it was stopped are not recorded"}
	for _, recorder := range got.ConfigurationRecorders {
		if recorder.RecordingGroup == nil || !recorder.RecordingGroup.AllSupported {
			change.Impact = append(change.Impact, "it does not record every kind of resource; look whether that was narrowed: this action leaves it so")
		}
		change.Target.ARN = aws.ToString(recorder.Arn)
	}
	return nil
}
