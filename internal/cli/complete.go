package cli

import "github.com/spf13/cobra"

// completeFiles lets the shell complete a flag by files that end in one of some ways.
func completeFiles(c *cobra.Command, flag string, endings ...string) {
	if err := c.MarkFlagFilename(flag, endings...); err != nil {
		panic(err) // a flag that we did not define
	}
}
