// Package sigma reads Sigma 2.1 detection rules to match them against events.
//
// # Design
//
// This is the plain interpreter: a rule is compiled once, at load, into selections (an OR of groups, each an
// AND of items) and a condition over them; an event is a JSON tree; matching walks both. Nothing can go wrong
// at match time. What can't be compiled is refused at load, by file, line, key and reason, so that no rule
// is silently dead.
//
// Where the specification is silent:
//
//   - A field is looked up as a literal key first, then as a dotted path; both at each level, so that
//     labels.k8s.io/name finds the key k8s.io/name within labels.
//   - A list matches when any of its members does, also where a path leads through lists of objects.
//   - An object matches on its compact JSON text: members as written, no space, only the escapes JSON needs.
//   - null means that the field is absent or JSON null. exists tells only if it is present, null included.
//   - Strings compare case-folded (Unicode simple folding) unless cased; numbers, true and false match as the
//     text that they are written with, and a number in a rule matches a JSON number of the same value.
//   - A number that a rule writes with leading zeros is text.
//   - A keyword is looked for in each key and each scalar value of the event, by itself.
//   - windash makes each of the five dash characters of a value stand for any of them.
//   - neq is the negation of the item, and so it holds where the field is absent.
//   - Regular expressions are Go's (RE2): linear in time, without look-around or back references. They match
//     anywhere in a value. A rule that needs more is refused.
//   - The time modifiers read a date as it is written, without converting zones; week is the ISO week.
//   - utf16le and its relatives without base64 give text of one character a byte.
//
// A [Set] routes by log source. Keyword rules fire across sources otherwise. Within a source it evaluates only
// the rules of which a necessary condition holds: a set of field and literal pairs, one of which every
// matching event must have. It is drawn from the rule itself: an AND offers the best of its parts, an OR the
// union, a NOT nothing.
//
// Events are written by attackers. Their depth and the number of their values are bounded, large objects are
// indexed, wildcards match without backtracking over earlier stars, values reported in a [Match] are cut.
// fieldref with contains, startswith or endswith gives up after 64 MiB of comparisons in one event, and then
// doesn't match.
// Rules, sets and events are immutable once made, and safe for concurrent use.
package sigma
