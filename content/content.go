// Package content embeds the rules and playbooks that Riposte ships.
package content

import "embed"

// Files holds rules/ and playbooks/, each file with its tests beside it.
//
//go:embed rules playbooks
var Files embed.FS
