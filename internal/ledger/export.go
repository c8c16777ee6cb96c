package ledger

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Stored is an entry as a storage keeps it.
type Stored struct {
	Seq  int64
	Data []byte // canonical
	// Hashes were stored with the entry: its leaf hash, then those of the subtrees it completes.
	Hashes []tlog.Hash
	// Wrong says what the storage itself finds wrong with its row; "" is nothing.
	Wrong string
}

func (s Stored) leaf() tlog.Hash {
	if len(s.Hashes) == 0 {
		return tlog.Hash{}
	}
	return s.Hashes[0]
}

// exportVersion is the number of the export's format.
const exportVersion = 1

// Export writes a ledger as JSON lines: a header, an entry a line with its leaf hash, at last the signed
// checkpoint. Entries come in order and are written as they are stored, right or wrong: Verify judges.
func Export(w io.Writer, verifier string, signed []byte, entries iter.Seq2[Stored, error]) error {
	checkpoint, err := OpenCheckpoint(signed, verifier)
	if err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	out := bufio.NewWriterSize(w, 64<<10)
	line := appendHeader(nil, header{Origin: checkpoint.Origin, Size: checkpoint.Size, Verifier: verifier})
	if _, err := out.Write(line); err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	for entry, err := range entries {
		if err != nil {
			return fmt.Errorf("export ledger: %w", err)
		}
		line = appendEntry(line[:0], entry.Data, entry.leaf())
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("export ledger: %w", err)
		}
	}
	if _, err := out.Write(appendTrailer(line[:0], string(signed))); err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	return nil
}

type header struct {
	Origin   string `json:"origin"`
	Size     int64  `json:"size"`
	Verifier string `json:"verifier"`
	Version  int    `json:"version"`
}

func appendHeader(dst []byte, h header) []byte {
	dst = append(dst, `{"origin":`...)
	dst = appendString(dst, h.Origin)
	dst = append(dst, `,"size":`...)
	dst = strconv.AppendInt(dst, h.Size, 10)
	dst = append(dst, `,"verifier":`...)
	dst = appendString(dst, h.Verifier)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, exportVersion, 10)
	return append(dst, "}\n"...)
}

func appendEntry(dst, data []byte, leaf tlog.Hash) []byte {
	dst = append(dst, `{"entry":`...)
	dst = append(dst, data...)
	dst = append(dst, `,"hash":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, leaf[:])
	return append(dst, "\"}\n"...)
}

func appendTrailer(dst []byte, signed string) []byte {
	dst = append(dst, `{"checkpoint":`...)
	dst = appendString(dst, signed)
	return append(dst, "}\n"...)
}
