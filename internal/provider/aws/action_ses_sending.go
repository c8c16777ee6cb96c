package aws

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/sesv2"

	"github.com/riposte-sec/riposte/internal/action"
)

// sending is whether an account sends mail by SES.
type sending struct {
	Sends bool `json:"sends"`

	last24h float64
}

// pauseSending makes aws.ses.pause_sending.
func pauseSending(c *Cloud) *placed[sending] {
	return setting(c, action.Setting[sending]{
		About: action.Spec{
			Name:    "aws.ses.pause_sending",
			Summary: "Pause all sending of mail by SES in a region",
			Doc: "Pauses sending for the whole account in the step's region: every identity, every configuration set. Mail that SES has accepted is still " +
				"delivered. What is sent meanwhile is refused, not kept; who sends must try again. A pause that AWS itself imposed can't be " +
				"lifted by undo.\n\nUndo lets the account send again if it did before.",
			Effect: action.Contain,
			Permissions: slices.Concat(
				reads("*", "ses:GetAccount"), writes("*", "ses:PutAccountSendingAttributes"), undoes("*", "ses:PutAccountSendingAttributes"),
			),
		},
		Target: c.accountTarget,
		Read: func(ctx context.Context, in action.Input) (sending, error) {
			api, err := service(c, in.Place, sesv2.NewFromConfig)
			if err != nil {
				return sending{}, err
			}
			got, err := api.GetAccount(ctx, &sesv2.GetAccountInput{})
			if err != nil {
				return sending{}, fmt.Errorf("read whether the account sends mail: %w", classify(err))
			}
			state := sending{Sends: got.SendingEnabled}
			if got.SendQuota != nil {
				state.last24h = got.SendQuota.SentLast24Hours
			}
			return state, nil
		},
		Want: func(action.Input, sending) (sending, error) { return sending{}, nil },
		Write: func(ctx context.Context, in action.Input, _, to sending) (sending, error) {
			api, err := service(c, in.Place, sesv2.NewFromConfig)
			if err != nil {
				return sending{}, err
			}
			if _, err := api.PutAccountSendingAttributes(ctx, &sesv2.PutAccountSendingAttributesInput{SendingEnabled: to.Sends}); err != nil {
				return sending{}, fmt.Errorf("set sending of mail to %t: %w", to.Sends, classify(err))
			}
			return to, nil
		},
		Calls: func(in action.Input, _, _ sending) []string {
			return []string{"ses:PutAccountSendingAttributes in " + c.here(in.Place).Region + ", SendingEnabled=false"}
		},
		Summary: func(in action.Input, _, _ sending) string {
			return fmt.Sprintf("Account %s sends no mail by SES in %s", c.here(in.Place).Account, c.here(in.Place).Region)
		},
		Facts: func(_ context.Context, _ action.Input, now sending, c *action.Change) error {
			c.Impact = []string{
				"all mail of the account in this region is refused: passwords, receipts and alarms too",
				fmt.Sprintf("it sent %.0f messages in the last 24 hours", now.last24h),
			}
			return nil
		},
	})
}
