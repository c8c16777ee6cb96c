package cli

import "github.com/spf13/cobra"

// completeFiles lets the shell complete a flag by files that end in one of some ways.
func completeFiles(c *cobra.Command, flag string, endings ...string) {
	known(c.MarkFlagFilename(flag, endings...))
}

// completeFolders lets the shell complete a flag by folders.
func completeFolders(c *cobra.Command, flag string) {
	known(c.MarkFlagDirname(flag))
}

// completeWords lets the shell complete a flag by words.
func completeWords(c *cobra.Command, flag string, words ...string) {
	known(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
}

// known is what naming a flag gives that was defined.
func known(err error) {
	if err != nil {
		panic(err)
	}
}
