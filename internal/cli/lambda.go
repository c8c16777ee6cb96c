package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/config"
	"github.com/riposte-sec/riposte/internal/lambda"
)

func (r *root) lambda() *cobra.Command {
	var margin time.Duration
	c := &cobra.Command{
		Use: "lambda", Short: "Run Riposte as an AWS Lambda function", Args: cobra.NoArgs,
		Long: "Answers the invocations of an AWS Lambda function: events of EventBridge, batches of an SQS queue, and ticks of a\n" +
			"schedule. State is in PostgreSQL; nothing listens. Lambda starts it; docs/operations.md says how to deploy it.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, warnings, err := app.ReadConfig(r.config)
			if err != nil {
				return err
			}
			if err := app.CheckErrand(settings); err != nil {
				return err
			}
			if config.Env("AWS_LAMBDA_RUNTIME_API", "") == "" {
				return fmt.Errorf("this is no AWS Lambda function: AWS_LAMBDA_RUNTIME_API is not set: %w; riposte serve runs anywhere", errUsage)
			}
			logger := r.logger(settings.Log)
			for _, w := range warnings {
				logger.WarnContext(c.Context(), "configuration", "warning", w)
			}
			options := app.Options{Logger: logger, Version: r.version, Now: time.Now}
			handler := &lambda.Handler{Margin: margin, Logger: logger, Open: func(ctx context.Context) (lambda.Riposte, error) {
				return app.OpenErrand(ctx, settings, options)
			}}
			handler.Run(c.Context())
			return nil
		},
	}
	c.Flags().DurationVar(&margin, "margin", 5*time.Second, "how long before an invocation's end the work stops")
	return c
}
