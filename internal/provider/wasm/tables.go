package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

const (
	// mostTables and mostEntries bound a module's tables, which no limit of the runtime's does: a table without a
	// bound of its own could grow until the process dies. An entry has 8 bytes.
	mostTables, mostEntries = 4, 1 << 20
	// tableSection is the id of the section that declares tables; header is what a binary begins with.
	tableSection = 4
	header       = "\x00asm\x01\x00\x00\x00"
)

var errMalformed = errors.New("it is no WebAssembly module of version 1")

// capTables gives every table of a module a bound: its own, if that is within ours, else what it begins with. The
// format is that of the WebAssembly core specification, 5.5.
func capTables(module []byte) ([]byte, error) {
	rest, is := bytes.CutPrefix(module, []byte(header))
	if !is {
		return nil, errMalformed
	}
	capped := slices.Grow([]byte(header), len(module))
	for len(rest) > 0 {
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || n > 5 || size > uint64(len(rest)) {
			return nil, errMalformed
		}
		until := 1 + n + int(size) //nolint:gosec // the section is no longer than the module
		if until > len(rest) {
			return nil, errMalformed
		}
		whole := rest[:until]
		if id != tableSection {
			capped = append(capped, whole...)
		} else {
			content, err := capSection(whole[1+n:])
			if err != nil {
				return nil, err
			}
			capped = append(binary.AppendUvarint(append(capped, id), uint64(len(content))), content...)
		}
		rest = rest[len(whole):]
	}
	return capped, nil
}

// capSection bounds the tables in the content of a section.
func capSection(section []byte) ([]byte, error) {
	read := bytes.NewReader(section)
	count, err := binary.ReadUvarint(read)
	if err != nil || count > mostTables {
		return nil, errors.New("it has too many tables")
	}
	capped := binary.AppendUvarint(nil, count)
	for range count {
		kind, err := read.ReadByte()
		bound, bounding := read.ReadByte() // 1: there is a maximum, 0: there is none
		least, counting := binary.ReadUvarint(read)
		if errors.Join(err, bounding, counting) != nil || bound > 1 {
			return nil, errors.New("it has a table of a kind that is not run here")
		}
		most := least
		if bound == 1 {
			if most, err = binary.ReadUvarint(read); err != nil {
				return nil, errMalformed
			}
		}
		if least > mostEntries {
			return nil, errors.New("it has a table that is too large")
		}
		capped = append(capped, kind, 1)
		capped = binary.AppendUvarint(capped, least)
		capped = binary.AppendUvarint(capped, max(least, min(most, mostEntries)))
	}
	if read.Len() > 0 {
		return nil, errMalformed
	}
	return capped, nil
}
